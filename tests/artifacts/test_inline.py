"""Blobs that lie inside the catalogue: no file, one rule for every way in and out, and no less trust in their bytes."""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path

import pytest

from paglets.artifacts.appending import Appending
from paglets.artifacts.local import LocalArtifactStore
from paglets.artifacts.store import ArtifactWrite, UploadState, WriteOutcome
from paglets.config import StoreSettings
from paglets.digest import Digest
from paglets.errors import NotFoundError
from tests.artifacts.support import (
    INLINE_BYTES,
    Clock,
    armed,
    assert_consistent,
    eventually,
    is_empty,
    names_in,
    opened,
    pieces,
    put,
    read_all,
    refused,
    settings,
)

DATA = b"small things"


def bounds(quota_bytes: int | None = None) -> StoreSettings:
    """Small blobs lie in the catalogue."""
    return settings(inline_bytes=INLINE_BYTES, quota_bytes=quota_bytes)


def inline_bytes(root: Path) -> list[bytes]:
    """What lies in the catalogue."""
    with closing(sqlite3.connect(root / "artifacts.db")) as rows:
        return [data for (data,) in rows.execute("SELECT data FROM inline_blobs ORDER BY number")]


def damage(root: Path) -> None:
    """Flips a bit of every blob that lies in the catalogue."""
    with closing(sqlite3.connect(root / "artifacts.db")) as rows:
        for number, data in rows.execute("SELECT number, data FROM inline_blobs").fetchall():
            wrong = bytes([data[0] ^ 1]) + data[1:]
            rows.execute("UPDATE inline_blobs SET data = ? WHERE number = ?", (wrong, number))
        rows.commit()


async def used(store: LocalArtifactStore) -> tuple[int, int]:
    """The host's counters."""
    usage = (await store.usage()).host
    return usage.used, usage.reserved


@asynccontextmanager
async def reopened(root: Path, bounds: StoreSettings) -> AsyncGenerator[LocalArtifactStore]:
    """The store in a folder, held against itself when it is closed."""
    async with opened(root, bounds=bounds) as store:
        yield store
    assert_consistent(root)


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("size", [0, 1, 4096, INLINE_BYTES])
async def test_small_blobs_have_no_file(root: Path, inline: LocalArtifactStore, size: int, *, declared: bool) -> None:
    """Up to 16 KiB nothing is written but the catalogue, and what was written is read."""
    data = os.urandom(size)
    created: list[str] = []
    with armed(created.append):
        write = ArtifactWrite(artifact_id="a", size_bytes=size if declared else None)
        ref = (await inline.create_from_chunks(write, pieces(data[:5], data[5:]))).ref
    assert not {"artifact.part.after", "artifact.rename.after", "artifact.intent.after"} & set(created)
    assert is_empty(root)
    assert ref.digest == Digest.of(data)
    assert (await read_all(inline, "a"), await used(inline)) == (data, (size, 0))
    assert_consistent(root)


@pytest.mark.parametrize("size", [INLINE_BYTES + 1, 3 * INLINE_BYTES])
@pytest.mark.parametrize("declared", [True, False])
async def test_larger_blobs_have_one(root: Path, inline: LocalArtifactStore, size: int, *, declared: bool) -> None:
    """One byte more is a file, also where nobody knew before."""
    data = os.urandom(size)
    write = ArtifactWrite(artifact_id="a", size_bytes=size if declared else None)
    await inline.create_from_chunks(write, pieces(data[:1000], data[1000:INLINE_BYTES], data[INLINE_BYTES:]))
    assert inline_bytes(root) == []
    assert (await inline.blob_path("a")).read_bytes() == data == await read_all(inline, "a")
    assert_consistent(root)


async def test_a_small_upload_takes_two_commits(inline: LocalArtifactStore) -> None:
    """One that admits it and one that makes it visible; the disk is asked for nothing else."""
    steps: list[str] = []
    with armed(steps.append):
        await inline.create_from_chunks(ArtifactWrite(size_bytes=len(DATA)), pieces(DATA))
    assert steps == ["artifact.admit.before", "artifact.admit.after", "artifact.write.after", "artifact.commit.after"]


async def test_same_bytes_lie_there_once(root: Path, inline: LocalArtifactStore) -> None:
    """Two artifacts of the same bytes are one blob; it goes with the last of them, at once."""
    first = await inline.create_from_chunks(ArtifactWrite(artifact_id="a"), pieces(DATA))
    second = await inline.create_from_chunks(ArtifactWrite(artifact_id="b"), pieces(DATA))
    assert (first.outcome, second.outcome) == (WriteOutcome.COMMITTED, WriteOutcome.DEDUPLICATED)
    assert (inline_bytes(root), await used(inline)) == ([DATA], (len(DATA), 0))
    assert await inline.delete("a")
    assert await read_all(inline, "b") == DATA
    assert await inline.delete("b")
    assert (inline_bytes(root), await used(inline)) == ([], (0, 0))
    assert_consistent(root)


async def test_bytes_of_another_owner_lie_there_once(root: Path, inline: LocalArtifactStore) -> None:
    """Who may not read them is told that they are new, as if they were; they are kept and counted once."""
    for owner in ("one", "two"):
        made = await inline.create_from_chunks(ArtifactWrite(owner=owner), pieces(DATA))
        assert made.outcome is WriteOutcome.COMMITTED
    assert (inline_bytes(root), await used(inline)) == ([DATA], (len(DATA), 0))
    assert_consistent(root)


async def test_a_known_digest_is_spared(root: Path, inline: LocalArtifactStore) -> None:
    """Bytes in the catalogue that the owner may read are not wanted again."""
    await put(inline, DATA)
    write = ArtifactWrite(artifact_id="b", expected_digest=Digest.of(DATA))
    async with await inline.open_upload(write) as upload:
        assert upload.is_complete
        assert (await upload.finish()).outcome is WriteOutcome.DEDUPLICATED
    assert await read_all(inline, "b") == DATA
    assert_consistent(root)


async def test_what_is_wanted_as_a_file_is_one(root: Path, inline: LocalArtifactStore) -> None:
    """A small artifact that is written as a file has a path; others of its bytes point there, too."""
    await put(inline, DATA, artifact_id="before")
    made = await inline.create_from_chunks(ArtifactWrite(artifact_id="a", as_file=True), pieces(DATA))
    assert made.outcome is WriteOutcome.COMMITTED
    await put(inline, DATA, artifact_id="after")
    assert inline_bytes(root) == []
    assert {(await inline.blob_path(name)).read_bytes() for name in ("a", "before", "after")} == {DATA}
    assert await used(inline) == (len(DATA), 0)
    assert_consistent(root)
    for name in ("a", "before", "after"):
        await inline.delete(name)
    assert await used(inline) == (0, 0)
    assert_consistent(root)


async def test_a_known_digest_is_wanted_as_a_file(inline: LocalArtifactStore) -> None:
    """Bytes that lie in the catalogue are wanted again where a file is to be made of them."""
    await put(inline, DATA)
    write = ArtifactWrite(artifact_id="a", as_file=True, expected_digest=Digest.of(DATA))
    async with await inline.open_upload(write) as upload:
        assert not upload.is_complete
        await upload.write(0, DATA)
        await upload.finish()
    assert (await inline.blob_path("a")).read_bytes() == DATA


async def test_no_path_to_what_has_no_file(inline: LocalArtifactStore) -> None:
    """Nobody is given a path at which nothing is."""
    error = await refused(inline.blob_path(await put(inline, DATA)))
    assert error.reason == "SOURCE_NOT_A_FILE"


async def test_export(inline: LocalArtifactStore, tmp_path: Path) -> None:
    """What lies in the catalogue becomes a file of its reader's."""
    await inline.export_to_path(await put(inline, DATA), tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == DATA


async def test_rotten_bytes_reach_nobody(root: Path, inline: LocalArtifactStore, tmp_path: Path) -> None:
    """Bytes that changed in the catalogue are refused, spare nobody theirs, and are healed by whoever sends them."""
    await put(inline, DATA, artifact_id="a")
    damage(root)
    assert (await refused(read_all(inline, "a"))).reason == "STORED_BLOB_CORRUPT"
    assert (await inline.ref("a")).corrupt
    assert (await refused(inline.export_to_path("a", tmp_path / "out"))).reason == "STORED_BLOB_CORRUPT"
    made = await inline.create_from_chunks(ArtifactWrite(expected_digest=Digest.of(DATA)), pieces(DATA))
    assert made.outcome is WriteOutcome.COMMITTED
    assert await read_all(inline, "a") == DATA
    assert_consistent(root)


async def test_rotten_bytes_spare_nobody_theirs(root: Path, inline: LocalArtifactStore) -> None:
    """Bytes are in hand: they are dropped only for others that were read and found right."""
    await put(inline, DATA, artifact_id="a")
    damage(root)
    await put(inline, DATA, artifact_id="b")
    assert (await read_all(inline, "a"), await read_all(inline, "b")) == (DATA, DATA)
    assert_consistent(root)


async def test_rot_is_found_unasked(root: Path, clock: Clock) -> None:
    """The scrubber reads the catalogue, too."""
    async with opened(root, clock, bounds()) as store:
        await put(store, DATA, artifact_id="a")
    damage(root)
    clock.now += 30 * 86_400.0
    async with opened(root, clock, bounds()) as store:

        async def found() -> bool:
            return (await store.ref("a")).corrupt

        await eventually(found)


async def test_a_restart_keeps_them(root: Path) -> None:
    """What lies in the catalogue is there after a restart, also with other settings, and may be shared then."""
    async with reopened(root, bounds()) as store:
        await put(store, DATA, artifact_id="a")
    async with reopened(root, settings()) as store:
        assert await read_all(store, "a") == DATA
        await put(store, DATA, artifact_id="b")
        assert await read_all(store, "b") == DATA
        await put(store, b"a file", artifact_id="c")
        assert (await store.blob_path("c")).read_bytes() == b"a file"


async def test_quota(root: Path) -> None:
    """They count as files do: what does not fit is refused before its bytes, and a deletion makes room at once."""
    async with opened(root, bounds=bounds(quota_bytes=100)) as store:
        await put(store, b"x" * 60, artifact_id="a")
        write = ArtifactWrite(artifact_id="b", size_bytes=60)
        assert (await refused(store.open_upload(write))).reason == "QUOTA_EXCEEDED"
        await store.delete("a")
        await put(store, b"y" * 60, artifact_id="b")
        assert await used(store) == (60, 0)


async def test_a_pause_keeps_what_came(root: Path, inline: LocalArtifactStore) -> None:
    """What a writer leaves becomes a partial, with which he goes on; in the end no file is left of it."""
    write = ArtifactWrite(upload_id="u", artifact_id="a")
    async with await inline.open_upload(write) as upload:
        await upload.write(0, DATA[:5])
        assert names_in(root / "parts") == set()
    info = await inline.upload("u")
    assert (info.committed_size, info.prefix) == (5, Digest.of(DATA[:5]))
    assert names_in(root / "parts") == {"u.part"}
    async with await inline.open_upload(write, prefix=Digest.of(DATA[:5])) as upload:
        await upload.write(5, DATA[5:])
        await upload.finish(Digest.of(DATA))
    assert (await read_all(inline, "a"), inline_bytes(root)) == (DATA, [DATA])
    assert_consistent(root)


async def test_a_partial_that_grows_becomes_a_file(root: Path, inline: LocalArtifactStore) -> None:
    """A partial of a few bytes is gone on with past what the catalogue takes."""
    data, write = os.urandom(2 * INLINE_BYTES), ArtifactWrite(upload_id="u", artifact_id="a")
    for start, end in ((0, 7), (7, 500), (500, INLINE_BYTES + 1)):
        async with await inline.open_upload(write) as upload:
            assert upload.committed_size == start
            await upload.write(start, data[start:end])
            await upload.pause()
    async with await inline.open_upload(write) as upload:
        await upload.write(INLINE_BYTES + 1, data[INLINE_BYTES + 1 :])
        await upload.finish(Digest.of(data))
    assert await read_all(inline, "a") == data
    assert_consistent(root)


async def test_what_is_told_to_be_here_is_on_the_disk(root: Path, inline: LocalArtifactStore) -> None:
    """Whoever asks how far an upload has come is told nothing that dies with the process."""
    async with await inline.open_upload(ArtifactWrite(upload_id="u")) as upload:
        await upload.write(0, DATA)
        assert (await inline.upload("u")).committed_size == len(DATA)
        assert (root / "parts" / "u.part").read_bytes() == DATA
        await upload.finish(Digest.of(DATA))
    assert_consistent(root)


async def test_a_finished_upload_is_told_again(inline: LocalArtifactStore) -> None:
    """The same upload id with the same bytes answers that it was committed."""
    write = ArtifactWrite(upload_id="u")
    made = await inline.create_from_chunks(write, pieces(DATA))
    again = await inline.create_from_chunks(write, pieces(DATA))
    assert (again.outcome, again.ref) == (WriteOutcome.ALREADY_COMMITTED, made.ref)
    assert (await inline.upload("u")).state is UploadState.COMMITTED


async def test_wrong_bytes_leave_nothing(root: Path, inline: LocalArtifactStore) -> None:
    """A digest that is not that of the bytes refuses them."""
    write = ArtifactWrite(upload_id="u", artifact_id="a", expected_digest=Digest.of(b"small thingS"))
    assert (await refused(inline.create_from_chunks(write, pieces(DATA)))).reason == "DIGEST_MISMATCH"
    with pytest.raises(NotFoundError):
        await inline.upload("u")
    assert (inline_bytes(root), await used(inline)) == ([], (0, 0))
    assert_consistent(root)


async def test_a_read_survives_the_deletion(inline: LocalArtifactStore) -> None:
    """Who has begun to read reads to the end."""
    artifact_id = await put(inline, DATA)
    async with inline.open_reader(artifact_id) as reader:
        await inline.delete(artifact_id)
        assert b"".join([piece async for piece in reader]) == DATA


async def test_a_full_disk_takes_nothing_away(
    root: Path, inline: LocalArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks how far an upload has come when the disk is full does not make it lose what came."""
    write, failures = ArtifactWrite(upload_id="u", artifact_id="a"), [OSError(errno.ENOSPC, "full")]
    append = Appending.append

    def full_once(self: Appending, data: bytes | memoryview) -> None:
        if failures:
            raise failures.pop()
        append(self, data)

    monkeypatch.setattr(Appending, "append", full_once)
    async with await inline.open_upload(write) as upload:
        await upload.write(0, DATA[:5])
        assert (await refused(inline.upload("u"))).reason == "UPLOAD_IN_PROGRESS"
    async with await inline.open_upload(write) as upload:
        await upload.write(upload.committed_size, DATA[upload.committed_size :])
        await upload.finish(Digest.of(DATA))
    assert await read_all(inline, "a") == DATA
    assert_consistent(root)


async def test_a_writer_who_leaves_at_the_end_leaves_no_file(root: Path, inline: LocalArtifactStore) -> None:
    """A small upload that was begun in a file has none any more when it is an artifact, whoever was cancelled."""
    write = ArtifactWrite(upload_id="u", artifact_id="a")
    async with await inline.open_upload(write) as upload:
        await upload.write(0, DATA[:5])
        await upload.pause()
    async with await inline.open_upload(write) as upload:
        await upload.write(5, DATA[5:])
        finishing = asyncio.create_task(upload.finish(Digest.of(DATA)))

        def leave(step: str) -> None:
            if step == "artifact.commit.after":
                finishing.cancel()

        with armed(leave), pytest.raises(asyncio.CancelledError):
            await finishing
    assert await read_all(inline, "a") == DATA
    assert names_in(root / "parts") == set()
    assert_consistent(root)


async def test_a_digest_with_another_size_is_not_known(inline: LocalArtifactStore) -> None:
    """A declaration that contradicts itself spares nobody his bytes: it is refused when they are there."""
    await put(inline, DATA)
    wrong = replace(Digest.of(DATA), size_bytes=len(DATA) + 1)
    async with await inline.open_upload(ArtifactWrite(expected_digest=wrong)) as upload:
        assert not upload.is_complete
        await upload.write(0, DATA)
        assert (await refused(upload.finish())).reason == "SIZE_MISMATCH"
