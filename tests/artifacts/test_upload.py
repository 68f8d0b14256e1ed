"""Uploads step by step: what each step refuses, and that a refused upload leaves no trace."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from paglets.artifacts.local import LocalArtifactStore
from paglets.artifacts.store import ArtifactWrite, Upload, WriteOutcome
from paglets.artifacts.upload import LocalUpload
from paglets.config import StoreSettings
from paglets.digest import Digest
from paglets.errors import (
    ConflictError,
    ExhaustedError,
    InvalidArgumentError,
    OutOfRangeError,
    PreconditionError,
    Resource,
)
from tests.artifacts.conftest import MAX_ARTIFACT_BYTES
from tests.artifacts.support import (
    Clock,
    assert_consistent,
    bytes_on_disk,
    opened,
    pieces,
    put,
    read_all,
    refused,
    settings,
)


async def begun(store: LocalArtifactStore, upload_id: str = "u", artifact_id: str = "a") -> LocalUpload:
    """An upload with its first four bytes."""
    upload = await store.open_upload(ArtifactWrite(upload_id=upload_id, artifact_id=artifact_id))
    assert isinstance(upload, LocalUpload)
    await upload.write(0, b"four")
    return upload


async def test_steps(local: LocalArtifactStore) -> None:
    """Nothing is visible before the last step, and all of it after."""
    async with await begun(local) as upload:
        assert upload.committed_size == 0
        await upload.write(4, b"more")
        assert (await refused(local.ref("a"))).reason == "ARTIFACT_NOT_FOUND"
        result = await upload.finish(Digest.of(b"fourmore"))
    assert (result.outcome, result.ref.artifact_id) == (WriteOutcome.COMMITTED, "a")
    assert await read_all(local, "a") == b"fourmore"


@pytest.mark.parametrize("offset", [0, 3, 5, 1 << 62])
async def test_wrong_offset(local: LocalArtifactStore, root: Path, offset: int) -> None:
    """Only the next chunk is accepted; the refusal says which that is."""
    async with await begun(local) as upload:
        error = await refused(upload.write(offset, b"x"))
        await upload.drop()
    assert isinstance(error, OutOfRangeError)
    assert error.reason == "OFFSET_MISMATCH"
    assert error.metadata == {"expected_offset": "4", "provided_offset": str(offset)}
    assert_consistent(root)


@pytest.mark.parametrize(
    ("declared", "reason"),
    [
        (Digest.of(b"five5"), "SIZE_MISMATCH"),
        (Digest.of(b"six"), "SIZE_MISMATCH"),
        (Digest.of(b"ruof"), "DIGEST_MISMATCH"),
    ],
)
async def test_wrong_proof(local: LocalArtifactStore, root: Path, declared: Digest, reason: str) -> None:
    """A proof that does not fit the bytes is refused, and the id is free again."""
    async with await begun(local) as upload:
        error = await refused(upload.finish(declared))
    assert (type(error), error.reason) == (InvalidArgumentError, reason)
    assert_consistent(root)
    await put(local, b"next", artifact_id="a")


async def test_refused_while_receiving(local: LocalArtifactStore, root: Path) -> None:
    """Bytes beyond the declared size or the limit are refused where they come."""
    async with await local.open_upload(ArtifactWrite(size_bytes=3)) as upload:
        error = await refused(upload.write(0, b"four"))
        assert (error.reason, error.metadata) == ("SIZE_MISMATCH", {"expected": "3", "actual": "4"})
    async with await local.open_upload(ArtifactWrite()) as upload:
        await upload.write(0, bytes(MAX_ARTIFACT_BYTES))
        error = await refused(upload.write(MAX_ARTIFACT_BYTES, b"x"))
        assert error.reason == "ARTIFACT_TOO_LARGE"
        assert error.metadata["requested_bytes"] == str(MAX_ARTIFACT_BYTES + 1)
    assert_consistent(root)


async def test_two_writers_of_one_upload(local: LocalArtifactStore, root: Path) -> None:
    """The second writer is refused with what he has to know; the first goes on untouched."""
    async with await begun(local) as upload:
        error = await refused(begun(local))
        assert isinstance(error, ConflictError)
        assert (error.reason, error.resource) == ("UPLOAD_IN_PROGRESS", Resource("upload", "u"))
        assert error.retry_after_s is not None
        error = await refused(begun(local, upload_id="v"))
        assert isinstance(error, ConflictError)
        assert (error.reason, error.resource) == ("UPLOAD_IN_PROGRESS", Resource("artifact", "a"))
        await upload.finish()
    assert await read_all(local, "a") == b"four"
    assert_consistent(root)


async def test_a_dropped_upload_can_be_sent_again(local: LocalArtifactStore, root: Path) -> None:
    """Dropping frees upload id, artifact id, part and reservation; dropping again does nothing."""
    upload = await begun(local)
    assert (await local.usage()).host.reserved == 4
    await upload.drop()
    await upload.drop()
    assert bytes_on_disk(root) == 0
    assert (await local.usage()).host.reserved == 0
    error = await refused(upload.finish())
    assert (type(error), error.reason) == (ConflictError, "UPLOAD_CANCELLED")
    async with await begun(local) as again:
        await again.finish()
    assert_consistent(root)


async def test_too_many_uploads(root: Path) -> None:
    """No more uploads are open than there may be, however many come at once."""
    async with opened(root, bounds=settings(max_open_uploads=3)) as store:
        came = await asyncio.gather(
            *(store.open_upload(ArtifactWrite(size_bytes=10)) for _ in range(8)), return_exceptions=True
        )
        uploads = [found for found in came if not isinstance(found, BaseException)]
        assert len(uploads) == 3
        errors = [found for found in came if isinstance(found, ExhaustedError)]
        assert {error.reason for error in errors} == {"TOO_MANY_UPLOADS"}
        assert len(errors) == 5
        assert all(error.retry_after_s for error in errors)
        assert (await store.usage()).host.reserved == 30
        await uploads[0].drop()
        async with await store.open_upload(ArtifactWrite()) as upload:
            await upload.finish()
        for upload in uploads:
            await upload.drop()
    assert_consistent(root)


async def test_replay_sends_nothing_or_everything(local: LocalArtifactStore, root: Path) -> None:
    """The repetition of a finished upload goes on at its end, or begins again; nothing is stored."""
    async with await begun(local) as upload:
        first = await upload.finish()
    repeated = ArtifactWrite(upload_id="u", artifact_id="a")
    async with await local.open_upload(repeated) as upload:
        assert upload.committed_size == 4
        assert (await upload.finish(Digest.of(b"four"))).ref == first.ref
    async with await local.open_upload(repeated) as upload:
        await upload.write(0, b"fo")
        error = await refused(upload.write(3, b"r"))
        assert error.metadata == {"expected_offset": "2", "provided_offset": "3"}
        await upload.write(2, b"ur")
        assert bytes_on_disk(root) == 4
        assert (await upload.finish()).outcome is WriteOutcome.ALREADY_COMMITTED
    assert (await local.usage()).host.reserved == 0
    for offset, data, declared in ((0, b"ruof", None), (0, b"four5", None), (4, b"5", None), (0, b"", Digest.of(b"x"))):
        async with await local.open_upload(repeated) as upload:
            error = await refused(_resend(upload, offset, data, declared))
            assert (type(error), error.reason) == (PreconditionError, "REQUEST_ID_REUSED")
    async with await local.open_upload(repeated) as upload:
        await upload.write(0, b"four")
        assert (await refused(upload.finish(Digest.of(b"ruof")))).reason == "DIGEST_MISMATCH"


async def test_replay_of_what_is_gone(local: LocalArtifactStore, clock: Clock) -> None:
    """What expired, or gave its id to another artifact, even one of the same bytes, is not what the upload made."""
    brief, reused = ArtifactWrite(upload_id="b", ttl_s=5), ArtifactWrite(upload_id="r", artifact_id="a")
    await local.create_from_chunks(brief, pieces(b"brief"))
    await local.create_from_chunks(reused, pieces(b"same"))
    await local.delete("a")
    clock.now += 5
    await put(local, b"same", artifact_id="a")
    for write in (brief, reused):
        assert (await refused(local.open_upload(write))).reason == "ARTIFACT_NOT_FOUND"


async def _resend(upload: Upload, offset: int, data: bytes, declared: Digest | None) -> None:
    if data:
        await upload.write(offset, data)
    await upload.finish(declared)


async def test_replay_needs_no_room(root: Path) -> None:
    """An upload whose answer was lost is told again also where there is no room, and leave, for another one."""
    write, data = ArtifactWrite(upload_id="u", size_bytes=100_000), bytes(100_000)
    async with opened(root) as store:
        await store.create_from_chunks(write, pieces(data))
    async with opened(root, bounds=StoreSettings(min_free_bytes=1 << 60, max_open_uploads=0)) as store:
        result = await store.create_from_chunks(write, pieces(data))
        assert result.outcome is WriteOutcome.ALREADY_COMMITTED
