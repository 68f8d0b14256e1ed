"""Uploads that are cut and gone on with: who may, from where, and that nothing is spliced."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from paglets.artifacts import blobs
from paglets.artifacts.local import LocalArtifactStore
from paglets.artifacts.store import ArtifactWrite, UploadState, WriteOutcome
from paglets.artifacts.upload import LocalUpload
from paglets.digest import Digest
from paglets.errors import (
    AlreadyExistsError,
    ConflictError,
    NotFoundError,
    OutOfRangeError,
    PreconditionError,
    Resource,
)
from tests.artifacts.support import (
    Clock,
    assert_consistent,
    bytes_on_disk,
    cancel_all,
    eventually,
    is_empty,
    opened,
    pieces,
    put,
    read_all,
    refused,
    settings,
)

WRITE = ArtifactWrite(upload_id="u", artifact_id="a")
HALF, WHOLE = b"the first half", b"the first half, and the second"


async def begun(store: LocalArtifactStore, write: ArtifactWrite = WRITE, *, writer_epoch: int = 0) -> LocalUpload:
    """An upload with its first half."""
    upload = await store.open_upload(write, writer_epoch=writer_epoch)
    assert isinstance(upload, LocalUpload)
    await upload.write(0, HALF)
    return upload


async def cut(store: LocalArtifactStore, write: ArtifactWrite = WRITE) -> None:
    """Leaves a partial with the first half."""
    async with await begun(store, write):
        pass


async def test_a_partial_is_described(root: Path, clock: Clock) -> None:
    """What is known of a partial: its prefix, its writer's number, what is reserved, and when it goes."""
    async with opened(root, clock) as store:
        write = ArtifactWrite(upload_id="u", artifact_id="a", name="n", owner="o", size_bytes=100)
        await cut(store, write)
        info = await store.upload("u")
        assert (info.state, info.committed_size, info.prefix) == (UploadState.OPEN, len(HALF), Digest.of(HALF))
        assert (info.writer_epoch, info.writing, info.ref) == (1, False, None)
        assert (info.name, info.owner, info.artifact_id) == ("n", "o", "a")
        assert (info.expected_size, info.reserved_bytes) == (100, 100)
        assert (info.created_at, info.expires_at) == (clock.now, clock.now + 86400)
        await cancel_all(store)


async def test_while_it_is_written_it_is_described_too(local: LocalArtifactStore) -> None:
    """What is committed is what is on the disk, and its digest."""
    async with await begun(local) as upload:
        info = await local.upload("u")
        assert (info.committed_size, info.prefix, info.writing) == (len(HALF), Digest.of(HALF), True)
        assert info.expires_at is None
        await upload.finish()
    info = await local.upload("u")
    assert (info.state, info.committed_size) == (UploadState.COMMITTED, len(HALF))
    assert info.ref == await local.ref("a")


@pytest.mark.parametrize("restarted", [False, True])
async def test_goes_on(root: Path, *, restarted: bool) -> None:
    """The next writer begins where the last one ended, in the same process or after a restart."""
    async with opened(root) as store:
        await cut(store)
        if not restarted:
            await _go_on(store)
    if restarted:
        async with opened(root) as store:
            await _go_on(store)
    assert_consistent(root)


async def _go_on(store: LocalArtifactStore) -> None:
    async with await store.open_upload(WRITE, writer_epoch=2, prefix=Digest.of(HALF)) as upload:
        assert (upload.committed_size, upload.writer_epoch) == (len(HALF), 2)
        await upload.write(len(HALF), WHOLE[len(HALF) :])
        result = await upload.finish(Digest.of(WHOLE))
    assert result.outcome is WriteOutcome.COMMITTED
    assert await read_all(store, "a") == WHOLE


async def test_another_prefix_is_never_gone_on_with(local: LocalArtifactStore, root: Path) -> None:
    """Whoever says that the first bytes are others is told so, and the partial stays for whom it fits."""
    await cut(local)
    error = await refused(local.open_upload(WRITE, prefix=Digest.of(HALF.upper())))
    assert (type(error), error.reason) == (PreconditionError, "PREFIX_MISMATCH")
    assert error.metadata == {
        "expected": str(Digest.of(HALF)),
        "actual": str(Digest.of(HALF.upper())),
        "committed_size": str(len(HALF)),
    }
    for claimed in (HALF[:5], WHOLE):
        error = await refused(local.open_upload(WRITE, prefix=Digest.of(claimed)))
        assert (type(error), error.reason) == (OutOfRangeError, "OFFSET_MISMATCH")
        assert error.metadata == {"expected_offset": str(len(HALF)), "provided_offset": str(len(claimed))}
    error = await refused(local.create_from_chunks(WRITE, pieces(b"The first half", b" of something else")))
    assert error.reason == "PREFIX_MISMATCH"
    await local.create_from_chunks(WRITE, pieces(WHOLE[:3], WHOLE[3:]))
    assert await read_all(local, "a") == WHOLE
    assert_consistent(root)


async def test_a_prefix_of_nothing(local: LocalArtifactStore) -> None:
    """A writer who says that much is here of an upload that is not, is told that nothing is."""
    error = await refused(local.open_upload(WRITE, prefix=Digest.of(HALF)))
    assert error.metadata == {"expected_offset": "0", "provided_offset": str(len(HALF))}
    assert (await local.uploads()).uploads == ()


async def test_a_higher_epoch_takes_over(local: LocalArtifactStore, root: Path) -> None:
    """The first writer is woken and fenced, and none of his bytes land."""
    first = await begun(local, writer_epoch=3)
    woken, woken_late = asyncio.Event(), asyncio.Event()
    first.when_lost(woken.set)
    second = await local.open_upload(WRITE, writer_epoch=4, prefix=Digest.of(HALF))
    assert woken.is_set()
    first.when_lost(woken_late.set)
    assert woken_late.is_set()
    for step in (first.write(len(HALF), b"of mine"), first.finish(), first.pause()):
        error = await refused(step)
        assert (type(error), error.reason) == (ConflictError, "WRITER_FENCED")
        assert (error.resource, error.metadata) == (Resource("upload", "u"), {"current_epoch": "4"})
    await first.leave()
    await second.write(len(HALF), WHOLE[len(HALF) :])
    await second.finish()
    assert await read_all(local, "a") == WHOLE
    assert_consistent(root)


@pytest.mark.parametrize(
    ("epoch", "reason"), [(0, "UPLOAD_IN_PROGRESS"), (3, "UPLOAD_IN_PROGRESS"), (2, "WRITER_FENCED")]
)
async def test_a_writer_is_not_disturbed(local: LocalArtifactStore, epoch: int, reason: str) -> None:
    """No number, the same or a lower one takes nothing from whoever writes."""
    async with await begun(local, writer_epoch=3) as upload:
        error = await refused(local.open_upload(WRITE, writer_epoch=epoch))
        assert (type(error), error.reason) == (ConflictError, reason)
        await upload.finish()


async def test_who_asks_wrongly_disturbs_nobody(local: LocalArtifactStore) -> None:
    """A higher number with another prefix, or for another artifact, is refused before anybody is fenced."""
    async with await begun(local) as upload:
        error = await refused(local.open_upload(WRITE, writer_epoch=9, prefix=Digest.of(b"other bytes ..")))
        assert error.reason == "PREFIX_MISMATCH"
        error = await refused(local.open_upload(ArtifactWrite(upload_id="u", name="n"), writer_epoch=9))
        assert error.reason == "REQUEST_ID_REUSED"
        await upload.finish()


@pytest.mark.parametrize(("epoch", "granted"), [(0, 6), (5, 5), (7, 7)])
async def test_epochs_of_a_partial(root: Path, epoch: int, granted: int) -> None:
    """Numbers survive a restart; where nobody writes the same one goes on, and none takes the next."""
    async with opened(root) as store, await begun(store, writer_epoch=5):
        pass
    async with opened(root) as store:
        assert (await refused(store.open_upload(WRITE, writer_epoch=4))).metadata == {"current_epoch": "5"}
        async with await store.open_upload(WRITE, writer_epoch=epoch) as upload:
            assert upload.writer_epoch == granted
            await upload.finish()
    assert_consistent(root)


async def test_an_upload_without_bytes_leaves_nothing(local: LocalArtifactStore, root: Path) -> None:
    """A stream that is cut before its first byte is forgotten; one that was paused is not."""
    async with await local.open_upload(ArtifactWrite(upload_id="u", size_bytes=9)):
        pass
    assert (await refused(local.upload("u"))).reason == "UPLOAD_NOT_FOUND"
    assert_consistent(root)
    async with await local.open_upload(ArtifactWrite(upload_id="u", size_bytes=9)) as upload:
        assert await upload.pause() == 0
    assert (await local.upload("u")).reserved_bytes == 9
    await cancel_all(local)


async def test_a_partial_of_unknown_size_keeps_what_it_has(root: Path) -> None:
    """What was reserved beyond its bytes goes back while it rests; it grows again when it goes on."""
    async with opened(root, bounds=settings(quota_bytes=100)) as store:
        async with await store.open_upload(WRITE) as upload:
            for offset in (0, 10, 20, 40):
                await upload.write(offset, bytes(10 if offset < 20 else 20))
            assert (await store.usage()).host.reserved == 80
        assert (await store.usage()).host.reserved == 60
        async with await store.open_upload(WRITE) as upload:
            await upload.write(60, bytes(40))
            assert (await refused(upload.write(100, b"x"))).reason == "QUOTA_EXCEEDED"
        assert (await store.usage()).host.reserved == 100
        async with await store.open_upload(WRITE) as upload:
            await upload.finish(Digest.of(bytes(100)))
    assert_consistent(root)


async def test_cancel(local: LocalArtifactStore, root: Path) -> None:
    """What is cancelled is gone, its writer is told, and its id is free; a finished upload cannot be."""
    upload = await begun(local)
    woken = asyncio.Event()
    upload.when_lost(woken.set)
    assert await local.cancel_upload("u")
    assert woken.is_set()
    error = await refused(upload.write(len(HALF), b"more"))
    assert (type(error), error.reason) == (ConflictError, "UPLOAD_CANCELLED")
    await upload.leave()
    assert not await local.cancel_upload("u")
    await cut(local)
    assert await local.cancel_upload("u")
    assert_consistent(root)
    await local.create_from_chunks(WRITE, pieces(b"new"))
    assert not await local.cancel_upload("u")
    assert await read_all(local, "a") == b"new"
    error = await refused(local.upload("never"))
    assert (type(error), error.reason, error.resource) == (
        NotFoundError,
        "UPLOAD_NOT_FOUND",
        Resource("upload", "never"),
    )


async def test_pages(local: LocalArtifactStore) -> None:
    """Unfinished uploads are listed by id, page by page, with what they have; finished ones are not."""
    for number in range(5):
        await cut(local, ArtifactWrite(upload_id=f"u{number}"))
    await put(local, b"done")
    seen: list[str] = []
    token = ""
    while True:
        page = await local.uploads(page_size=2, page_token=token)
        seen += [info.upload_id for info in page.uploads]
        assert all((info.committed_size, info.prefix) == (len(HALF), None) for info in page.uploads)
        token = page.next_token
        if not token:
            break
    assert seen == [f"u{number}" for number in range(5)]
    assert (await refused(local.list(page_token=(await local.uploads(page_size=1)).next_token))).reason == (
        "MALFORMED_REQUEST"
    )
    assert await cancel_all(local) == 5


async def test_a_resting_partial_keeps_nobody_from_its_artifact(local: LocalArtifactStore, root: Path) -> None:
    """Another upload may make the artifact meanwhile; the partial is told so when it goes on."""
    await cut(local)
    await put(local, b"faster", artifact_id="a")
    error = await refused(local.create_from_chunks(WRITE, pieces(WHOLE)))
    assert (type(error), error.reason) == (AlreadyExistsError, "ARTIFACT_EXISTS")
    await cancel_all(local)
    assert_consistent(root)


async def test_first_to_commit_wins(local: LocalArtifactStore, root: Path) -> None:
    """A partial that goes on while another makes its artifact does not replace it."""
    await cut(local)
    async with await local.open_upload(WRITE) as upload:
        error = await refused(put(local, b"other", artifact_id="a"))
        assert (error.reason, error.resource) == ("UPLOAD_IN_PROGRESS", Resource("artifact", "a"))
        await upload.finish()
    assert await read_all(local, "a") == HALF
    assert_consistent(root)


async def test_partials_expire(root: Path, clock: Clock) -> None:
    """A partial that nobody goes on with for a day is dropped by itself; to go on with it counts anew."""
    async with opened(root, clock) as store:
        await cut(store, ArtifactWrite(upload_id="idle"))
        clock.now += 80_000
        await cut(store, ArtifactWrite(upload_id="busy"))
        async with await begun(store, ArtifactWrite(upload_id="open")) as still_open:
            clock.now += 6_399
            await store.sweep()
            assert {info.upload_id for info in (await store.uploads()).uploads} == {"idle", "busy", "open"}
            clock.now += 1
            await store.sweep()
            assert {info.upload_id for info in (await store.uploads()).uploads} == {"busy", "open"}
            clock.now += 86_400
            await store.sweep()
            assert {info.upload_id for info in (await store.uploads()).uploads} == {"open"}
            await still_open.finish()
    assert_consistent(root)


async def test_a_partial_expires_unasked(root: Path) -> None:
    """Nobody has to ask for that."""
    async with opened(root, bounds=settings(partial_ttl_s=0.05)) as store:
        await cut(store)

        async def gone() -> bool:
            return is_empty(root)

        await eventually(gone)
    assert_consistent(root)


async def test_killed_hosts_keep_all_bytes(root: Path) -> None:
    """A part that is longer than was noted as durable counts whole, as long as the machine runs."""
    async with opened(root) as store:
        await cut(store)
    _forget_durable(root)
    async with opened(root) as store:
        assert (await store.upload("u")).committed_size == len(HALF)


async def test_after_a_loss_of_power_only_what_was_durable_counts(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tail of a part that was written in an earlier run of the machine is not trusted beyond the last sync."""
    async with opened(root, bounds=settings(sync_step_bytes=4)) as store, await begun(store) as upload:
        await upload.write(len(HALF), WHOLE[len(HALF) :])  # what came before this is durable by now
    (root / "parts" / "u.part").write_bytes(HALF + bytes(len(WHOLE) - len(HALF)))
    monkeypatch.setattr(blobs, "boot_id", lambda: "the machine was started again")
    monkeypatch.setattr("paglets.artifacts.rooms.boot_id", lambda: "the machine was started again")
    async with opened(root) as store:
        info = await store.upload("u")
        assert (info.committed_size, info.prefix) == (len(HALF), Digest.of(HALF))
        await store.create_from_chunks(WRITE, pieces(WHOLE))
        assert await read_all(store, "a") == WHOLE
    assert_consistent(root)


async def test_a_killed_host_holds_no_room_for_what_did_not_come(root: Path) -> None:
    """What was reserved ahead of bytes that never came is free after a restart: only what is there counts."""
    ahead = 1000
    async with opened(root, bounds=settings(reserve_step_bytes=ahead)) as store:
        upload = await begun(store)
        for number in range(9):
            await upload.write(len(HALF) * (number + 1), HALF)
        here = len(HALF) * 10
        await store.upload("u")  # all of it has been written
        assert (await store.usage()).host.reserved > here
        copy = root.with_name("copy")
        shutil.copytree(root, copy)
        await upload.drop()
    async with opened(copy) as store:
        assert (await store.upload("u")).committed_size == here
        assert (await store.usage()).host.reserved == here
        assert await cancel_all(store) == 1
    assert_consistent(copy)


def _forget_durable(root: Path) -> None:
    with sqlite3.connect(root / "artifacts.db") as rows:
        rows.execute("UPDATE uploads SET durable = 0")
    rows.close()


def _durable(root: Path) -> int:
    """What is noted of the one upload to survive a loss of power."""
    with sqlite3.connect(root / "artifacts.db") as rows:
        (size,) = rows.execute("SELECT durable FROM uploads").fetchone()
    rows.close()
    return size


@pytest.mark.parametrize("left", [False, True])
async def test_a_pause_is_durable(root: Path, monkeypatch: pytest.MonkeyPatch, *, left: bool) -> None:
    """What a pause says is synced first, and noted; also what another writer had left, who waited for no disk."""
    synced: list[int] = []
    fdatasync = os.fdatasync

    def look(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_size)
        fdatasync(descriptor)

    async with opened(root) as store:
        upload = await begun(store)
        if left:
            await upload.leave()
            upload = await store.open_upload(WRITE)
            assert isinstance(upload, LocalUpload)
        monkeypatch.setattr(os, "fdatasync", look)
        assert await upload.pause() == len(HALF)
        assert synced == [len(HALF)]
        assert bytes_on_disk(root) == len(HALF)
        assert _durable(root) == len(HALF)
        await cancel_all(store)
    assert_consistent(root)


async def test_what_comes_in_many_sittings_is_durable_too(root: Path) -> None:
    """A writer who is cut off again and again before a whole step has come loses no more than a step either."""
    step = 2 * len(HALF)
    async with opened(root, bounds=settings(sync_step_bytes=step)) as store:
        for number in range(10):
            async with await store.open_upload(WRITE) as upload:
                await upload.write(number * len(HALF), HALF)
        assert _durable(root) >= 10 * len(HALF) - step - len(HALF)
        await cancel_all(store)
    assert_consistent(root)


async def test_known_bytes_are_not_wanted(local: LocalArtifactStore, root: Path) -> None:
    """A digest that the owner may read makes an artifact without a byte, and only after its bytes were read."""
    await local.create_from_chunks(ArtifactWrite(artifact_id="his", owner="o"), pieces(b"known"))
    for owner in ("o", "other"):
        write = ArtifactWrite(owner=owner, artifact_id=f"of-{owner}", expected_digest=Digest.of(b"known"))
        async with await local.open_upload(write) as upload:
            assert (upload.is_complete, upload.committed_size) == ((True, 5) if owner == "o" else (False, 0))
            if not upload.is_complete:
                await upload.write(0, b"known")
            outcome = (await upload.finish()).outcome
        assert outcome is (WriteOutcome.DEDUPLICATED if owner == "o" else WriteOutcome.COMMITTED)
        assert await read_all(local, f"of-{owner}") == b"known"
    await local.sweep()
    assert bytes_on_disk(root) == 5
    assert_consistent(root)


async def test_what_is_nobodys_is_everybodys(local: LocalArtifactStore) -> None:
    """An artifact without an owner may be read by all, so its bytes spare everybody theirs."""
    await put(local, b"public")
    write = ArtifactWrite(owner="anybody", expected_digest=Digest.of(b"public"))
    async with await local.open_upload(write) as upload:
        assert upload.is_complete
        await upload.finish()


async def test_rotten_bytes_spare_nobody_theirs(local: LocalArtifactStore, root: Path) -> None:
    """If the stored bytes are not what they were, they are wanted anew, and all artifacts of them are healed."""
    await put(local, b"known", artifact_id="a")
    path = await local.blob_path("a")
    path.chmod(0o600)
    path.write_bytes(b"wrong")
    write = ArtifactWrite(expected_digest=Digest.of(b"known"))
    async with await local.open_upload(write) as upload:
        assert not upload.is_complete
        await upload.write(0, b"known")
        await upload.finish()
    assert await read_all(local, "a") == b"known"
    await local.sweep()
    assert_consistent(root)


async def test_a_held_upload_that_is_left_holds_nothing(local: LocalArtifactStore, root: Path) -> None:
    """Whoever leaves before the end has made nothing, and keeps no bytes from being deleted."""
    artifact_id = await put(local, b"known")
    async with await local.open_upload(ArtifactWrite(expected_digest=Digest.of(b"known"))) as upload:
        assert upload.is_complete
        await local.delete(artifact_id)
        assert bytes_on_disk(root) == 5
    assert is_empty(root)
    assert_consistent(root)
