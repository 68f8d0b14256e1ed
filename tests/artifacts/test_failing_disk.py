"""When the disk fails or is full: the upload fails with the right reason, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import errno
import io
import os
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from paglets.artifacts import janitor
from paglets.artifacts.appending import STEP_BYTES, Appending
from paglets.artifacts.ledger import Ledger
from paglets.artifacts.local import LocalArtifactStore
from paglets.artifacts.placement import PrivateFile
from paglets.artifacts.refusals import disk_full
from paglets.artifacts.store import ArtifactStore, ArtifactWrite, Upload, UploadState, WriteOutcome
from paglets.config import StoreSettings
from paglets.digest import Digest
from paglets.errors import DataLossError, ExhaustedError
from tests.artifacts.support import (
    PATIENCE_S,
    assert_consistent,
    bytes_on_disk,
    cancel_all,
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
from tests.mounts import tmpfs

MIB = 1024 * 1024


def failing(real: Callable[[int], None], name: str, number: int) -> Callable[[int], None]:
    """A system call that fails for files whose name contains `name`."""

    def call(descriptor: int) -> None:
        if name in str(Path(f"/proc/self/fd/{descriptor}").readlink()):
            raise OSError(number, os.strerror(number))
        real(descriptor)

    return call


@pytest.mark.parametrize(("call", "name"), [("fdatasync", "/parts/"), ("fsync", "/blobs/")])
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
async def test_failing_sync(root: Path, monkeypatch: pytest.MonkeyPatch, call: str, name: str, number: int) -> None:
    """An upload whose bytes or name cannot be made durable fails, is dropped, and can be sent again."""
    async with opened(root) as store:
        write = ArtifactWrite(upload_id="u", artifact_id="a")
        with monkeypatch.context() as patched:
            patched.setattr(os, call, failing(getattr(os, call), name, number))
            with pytest.raises((OSError, ExhaustedError)) as caught:
                await store.create_from_chunks(write, pieces(b"bytes"))
        assert is_empty(root)
        if number == errno.ENOSPC:
            assert getattr(caught.value, "reason", "") == "DISK_FULL"
        else:
            assert isinstance(caught.value, OSError)
        assert (await refused(store.ref("a"))).reason == "ARTIFACT_NOT_FOUND"
        await store.create_from_chunks(write, pieces(b"bytes"))
    assert_consistent(root)


async def test_failing_write(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chunk that cannot be written fails the upload at the next step."""

    def no_room(*_: object) -> int:
        raise OSError(errno.EDQUOT, "quota")

    async with opened(root) as store:
        with monkeypatch.context() as patched:
            patched.setattr(os, "pwrite", no_room)
            error = await refused(put(store, b"bytes"))
        assert (type(error), error.reason) == (ExhaustedError, "DISK_FULL")
        assert error.retry_after_s == 30
        await put(store, b"bytes")
    assert_consistent(root)


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
async def test_a_disk_that_loses_what_it_took(
    root: Path, monkeypatch: pytest.MonkeyPatch, number: int, *, left: bool
) -> None:
    """Nobody goes on with bytes that only memory had: they would be read back, and gone a while later.

    Neither who still writes when that is found, nor who comes after one that left before.
    """
    data, write = os.urandom(STEP_BYTES), ArtifactWrite(upload_id="u", artifact_id="a")
    async with opened(root) as store:
        with monkeypatch.context() as patched:
            patched.setattr(os, "fdatasync", failing(os.fdatasync, "/parts/", number))
            async with await store.open_upload(write) as upload:
                await upload.write(0, data)
                if not left:
                    with pytest.raises(OSError, match=os.strerror(number)):
                        await _write_until_told(upload, len(data))
        assert is_empty(root)
        async with await store.open_upload(write) as upload:
            assert upload.committed_size == 0
            await upload.write(0, data)
            await upload.finish(Digest.of(data))
        assert await read_all(store, "a") == data
    assert_consistent(root)


async def test_no_export_has_lost_bytes(root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What the disk lost of a file behind the writer is told before the file has its name: no other sync tells it."""
    folder = tmp_path / "out"
    async with opened(root) as store:
        artifact_id = await put(store, bytes(STEP_BYTES))
        monkeypatch.setattr(PrivateFile, "clone", cannot_clone)
        monkeypatch.setattr(os, "fdatasync", failing(os.fdatasync, f"{folder}/", errno.EIO))
        with pytest.raises(OSError, match="the disk did not keep"):
            await store.export_to_path(artifact_id, folder / "file")
        assert names_in(folder) == set()


def cannot_clone(_file: PrivateFile, _descriptor: int) -> bool:
    """A file system where files do not share their blocks."""
    return False


async def _write_until_told(upload: Upload, offset: int) -> None:
    """Adds pieces to an upload until it raises what the disk has answered; 64 MiB is what it may be behind."""
    for start in range(offset, offset + 80 * MIB, MIB):
        await upload.write(start, bytes(MIB))


class SlowDisk:
    """Answers no sync until somebody waits for one, and notes which thread that is."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.waiting = threading.Event(), list[str]()
        self._ready, self._fdatasync = threading.Event(), os.fdatasync
        monkeypatch.setattr(os, "fdatasync", self._sync)
        for name in ("settle", "close"):
            monkeypatch.setattr(Appending, name, self._noting(getattr(Appending, name)))

    def _sync(self, descriptor: int) -> None:
        self.begun.set()
        assert self._ready.wait(PATIENCE_S)
        self._fdatasync(descriptor)

    def _noting(self, wait: Callable[[Appending], None]) -> Callable[[Appending], None]:
        def call(file: Appending) -> None:
            if not self._ready.is_set():
                self.waiting.append(threading.current_thread().name.partition("_")[0])
                self._ready.set()
            wait(file)

        return call


@pytest.mark.parametrize("dropped", [False, True])
async def test_a_slow_disk_takes_no_threads_of_the_house(
    root: Path, monkeypatch: pytest.MonkeyPatch, *, dropped: bool
) -> None:
    """However an upload ends, who waits until its bytes are on the disk is a thread of the store, never the loop."""
    async with opened(root) as store:
        upload = await store.open_upload(ArtifactWrite(upload_id="u"))
        with monkeypatch.context() as patched:
            disk = SlowDisk(patched)
            await upload.write(0, bytes(STEP_BYTES))
            assert await asyncio.to_thread(disk.begun.wait, PATIENCE_S)
            await (upload.drop() if dropped else upload.leave())
        assert disk.waiting == ["artifacts"]
        await cancel_all(store)
    assert_consistent(root)


async def test_a_failed_export_to_a_slow_disk(root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It ends in a thread of the store, too, and leaves no file."""
    append, folder = Appending.append, tmp_path / "out"

    def fail(file: Appending, data: bytes | memoryview) -> None:
        if file.size_bytes >= STEP_BYTES:
            assert disk.begun.wait(PATIENCE_S)
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        append(file, data)

    async with opened(root) as store:
        artifact_id = await put(store, bytes(STEP_BYTES + 1))
        monkeypatch.setattr(PrivateFile, "clone", cannot_clone)
        monkeypatch.setattr(Appending, "append", fail)
        with monkeypatch.context() as patched:
            disk = SlowDisk(patched)
            with pytest.raises(OSError, match="Input/output error"):
                await store.export_to_path(artifact_id, folder / "file")
        assert (disk.waiting, names_in(folder)) == (["artifacts"], set())


class Hole:
    """A disk that loses one chunk; what comes before and after is written."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, offset: int) -> None:
        self._pwrite = os.pwrite
        self._offset = offset
        self.begun, self.proceed = threading.Event(), threading.Event()
        monkeypatch.setattr(os, "pwrite", self._write)

    def _write(self, descriptor: int, data: memoryview, offset: int) -> int:
        if offset != self._offset:
            return self._pwrite(descriptor, data, offset)
        self.begun.set()
        self.proceed.wait(PATIENCE_S)
        raise OSError(errno.EIO, os.strerror(errno.EIO))


@pytest.mark.parametrize("cancelled", [False, True])
async def test_no_artifact_has_a_hole(root: Path, monkeypatch: pytest.MonkeyPatch, *, cancelled: bool) -> None:
    """After a chunk that could not be written every step fails, also if whoever sent it was cancelled meanwhile."""
    hole = Hole(monkeypatch, 4)
    async with opened(root) as store, await store.open_upload(ArtifactWrite(artifact_id="a")) as upload:
        await upload.write(0, b"good")
        losing = asyncio.create_task(upload.write(4, b"lost"))
        assert await asyncio.to_thread(hole.begun.wait, PATIENCE_S)
        if cancelled:
            losing.cancel()
        hole.proceed.set()
        with pytest.raises(asyncio.CancelledError if cancelled else OSError):
            await losing
        for step in (upload.write(8, b"next"), upload.finish(), upload.finish(Digest.of(b"goodlost"))):
            with pytest.raises(OSError, match="Input/output error"):
                await step
        await upload.drop()
        assert (await refused(store.ref("a"))).reason == "ARTIFACT_NOT_FOUND"
    assert_consistent(root)


async def test_a_failed_sync_is_final(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part whose sync failed is never published: a system that is asked again says that all is well."""
    async with opened(root) as store, await store.open_upload(ArtifactWrite()) as upload:
        await upload.write(0, b"bytes")
        with monkeypatch.context() as patched:
            patched.setattr(os, "fdatasync", failing(os.fdatasync, "/parts/", errno.EIO))
            with pytest.raises(OSError, match="Input/output error"):
                await upload.finish()
        assert (await refused(upload.finish())).reason == "UPLOAD_CANCELLED"
        await upload.drop()
    assert_consistent(root)


async def test_short_writes(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the operating system takes in small bites arrives whole."""
    pwrite = os.pwrite

    def bite(descriptor: int, data: memoryview, offset: int) -> int:
        return pwrite(descriptor, data[:7], offset)

    monkeypatch.setattr(os, "pwrite", bite)
    async with opened(root) as store:
        assert await read_all(store, await put(store, b"0123456789" * 10)) == b"0123456789" * 10
    assert_consistent(root)


async def test_files_that_cannot_be_unlinked(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be unlinked stays counted, and goes later."""
    unlink = os.unlink

    def stuck(path: Path) -> None:
        if "/parts/" in str(path) or "/blobs/" in str(path):
            raise OSError(errno.EIO, "stuck")
        unlink(path)

    async with opened(root) as store:
        artifact_id = await put(store, b"stored")
        with monkeypatch.context() as patched:
            patched.setattr(os, "unlink", stuck)
            assert await store.delete(artifact_id)
            upload = await store.open_upload(ArtifactWrite(size_bytes=3))
            await upload.write(0, b"xyz")
            await upload.drop()
            usage = (await store.usage()).host
            assert (usage.used, usage.reserved) == (6, 3)
            assert bytes_on_disk(root) == 9

        async def gone() -> bool:
            return is_empty(root)

        monkeypatch.setattr(janitor, "_RETRY_S", 0.01)
        await eventually(gone)
    assert_consistent(root)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 8 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    with tmpfs(folder, "size=8m"):
        yield folder


async def _store_until_full(store: ArtifactStore, size: int) -> int:
    """Stores artifacts until the disk is full; says how many."""
    stored = 0

    async def fill() -> None:
        nonlocal stored
        for number in range(100):
            await put(store, number.to_bytes(4, "big") * (size // 4))
            stored += 1

    assert (await refused(fill())).reason == "DISK_FULL"
    return stored


async def test_floor_of_free_disk(small_disk: Path) -> None:
    """Below the floor nothing is accepted, and together uploads are promised no more than is above it."""
    bounds = StoreSettings(min_free_bytes=3 * MIB, max_artifact_bytes=None, quota_bytes=None)
    root = small_disk / "store"
    async with opened(root, bounds=bounds) as store:
        error = await refused(store.open_upload(ArtifactWrite(size_bytes=6 * MIB)))
        assert (type(error), error.reason, error.retry_after_s) == (ExhaustedError, "DISK_FULL", 30)
        first = await store.open_upload(ArtifactWrite(size_bytes=3 * MIB))
        assert (await refused(store.open_upload(ArtifactWrite(size_bytes=3 * MIB)))).reason == "DISK_FULL"
        await first.write(0, bytes(MIB))
        assert (await refused(store.open_upload(ArtifactWrite(size_bytes=3 * MIB)))).reason == "DISK_FULL"
        await first.drop()
        async with await store.open_upload(ArtifactWrite()) as second:
            for number in range(4):
                await second.write(number * MIB, bytes(MIB))
            assert (await refused(second.write(4 * MIB, bytes(2 * MIB)))).reason == "DISK_FULL"
        assert await cancel_all(store) == 1
    assert_consistent(root)


async def test_below_the_floor(root: Path) -> None:
    """Where less is free than shall be, an upload of any size is refused in words that fit it."""
    async with opened(root, bounds=StoreSettings(min_free_bytes=1 << 60)) as store:
        for size, what in ((None, "another upload"), (5, "5 more bytes")):
            error = await refused(store.open_upload(ArtifactWrite(size_bytes=size)))
            assert error.message == f"{what} would leave less than {1 << 60} bytes of the disk free"


@pytest.mark.parametrize("upload_id", ["", "u"])
@pytest.mark.parametrize("declared", [None, 20 * MIB])
async def test_full_disk(small_disk: Path, declared: int | None, upload_id: str) -> None:
    """An upload that fills the disk leaves a partial if it has a name; without that, smaller ones fit afterwards."""
    root = small_disk / "store"
    async with opened(root, bounds=settings()) as store:
        write = ArtifactWrite(size_bytes=declared, upload_id=upload_id)
        chunks = pieces(*(bytes(MIB) for _ in range(20)))
        error = await refused(store.create_from_chunks(write, chunks))
        assert (type(error), error.reason, error.retry_after_s) == (ExhaustedError, "DISK_FULL", 30)
        assert await cancel_all(store) == (1 if upload_id and declared is None else 0)
        assert is_empty(root)
        assert (await store.usage()).host.reserved == 0
        assert await read_all(store, await put(store, b"fits")) == b"fits"
    assert_consistent(root)


async def test_disk_filled_by_others(small_disk: Path) -> None:
    """When others leave no room, not even for a row, uploads fail with DISK_FULL and recover when there is room."""
    root, ballast = small_disk / "store", small_disk / "ballast"
    async with opened(root) as store:
        kept, unwanted = await put(store, b"kept" * 1000), await put(store, b"unwanted")
        fill_up(ballast)
        errors = await asyncio.gather(*(refused(put(store, bytes([number]) * 5000)) for number in range(12)))
        assert {(type(error), error.reason) for error in errors} == {(ExhaustedError, "DISK_FULL")}
        assert await read_all(store, kept) == b"kept" * 1000
        assert await store.delete(unwanted)
        ballast.unlink()
        await put(store, b"room again" * 1000)
        await store.sweep()
    assert_consistent(root)


async def test_full_disk_lets_go(small_disk: Path) -> None:
    """On a disk without a single free byte a store still opens, reads, and deletes."""
    root, ballast = small_disk / "store", small_disk / "ballast"
    async with opened(root) as store:
        ids = [await put(store, bytes([number]) * 1000) for number in range(5)]
    fill_up(ballast)
    async with opened(root) as store:
        assert await read_all(store, ids[0]) == bytes(1000)
        for artifact_id in ids[:3]:
            assert await store.delete(artifact_id)
        assert await store.delete_owner("nobody") == 0
        assert (await store.usage()).host.used == 2000
        ballast.unlink()
    async with opened(root) as store:
        assert (root / "spare").stat().st_size == 512 * 1024
    assert_consistent(root)


@pytest.mark.parametrize("damage", ["flipped", "cut", "gone"])
@pytest.mark.parametrize("spare", [True, False])
async def test_damage_is_told_on_a_full_disk(small_disk: Path, damage: str, *, spare: bool) -> None:
    """Bytes that are wrong are told as such where not even that can be noted, and noted where spare room is left."""
    root, ballast = small_disk / "store", small_disk / "ballast"
    async with opened(root) as store:
        artifact_id = await put(store, b"right" * 1000)
        path = await store.blob_path(artifact_id)
        path.chmod(0o600)
        match damage:
            case "flipped":
                path.write_bytes(b"wrong" * 1000)
            case "cut":
                os.truncate(path, 10)
            case _:
                path.unlink()
        if not spare:
            (root / "spare").unlink()
        fill_up(ballast)
        error = await refused(read_all(store, artifact_id))
        assert (type(error), error.reason) == (DataLossError, "STORED_BLOB_CORRUPT")
        ballast.unlink()
        if spare:
            path.write_bytes(b"right" * 1000)
            assert (await refused(read_all(store, artifact_id))).reason == "STORED_BLOB_CORRUPT"


async def test_full_disk_after_a_crash(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store opens though there is no room to note what it found; what a dead process left can be gone on with."""
    async with opened(root) as store:
        kept = await put(store, b"kept")
        async with await store.open_upload(ArtifactWrite(upload_id="u")) as upload:
            await upload.write(0, b"partial")
    free, refusals = Ledger.free, [disk_full("no room")]

    async def free_later(ledger: Ledger, work: Callable[[sqlite3.Connection], object]) -> object:
        if refusals:
            raise refusals.pop()
        return await free(ledger, work)

    monkeypatch.setattr(Ledger, "free", free_later)
    async with opened(root) as store:
        assert refusals == []
        assert await read_all(store, kept) == b"kept"
        assert (await store.upload("u")).committed_size == 7
        assert await cancel_all(store) == 1
    assert_consistent(root)


def fill_up(ballast: Path) -> None:
    """Leaves no byte free."""
    with ballast.open("wb", buffering=0) as file:
        for size in (4096, 512, 1):
            with pytest.raises(OSError, match="No space left"):
                _write_forever(file, size)


def _write_forever(file: io.RawIOBase, size: int) -> None:
    while True:
        file.write(bytes(size))


async def test_writers_fill_the_disk_together(small_disk: Path) -> None:
    """Many writers at once fill the disk; whoever is refused leaves nothing, and whoever succeeds is whole."""
    root = small_disk / "store"
    async with opened(root) as store:
        results = await asyncio.gather(
            *(put(store, bytes([number]) * (MIB - 5)) for number in range(12)), return_exceptions=True
        )
        stored = [result for result in results if isinstance(result, str)]
        reasons = {getattr(result, "reason", repr(result)) for result in results if not isinstance(result, str)}
        assert reasons == {"DISK_FULL"}
        for artifact_id in stored:
            assert len(await read_all(store, artifact_id)) == MIB - 5
            await store.delete(artifact_id)
        assert await _store_until_full(store, MIB) >= 4
    async with opened(root):
        assert_consistent(root)


async def test_export_to_a_full_disk(local: LocalArtifactStore, small_disk: Path) -> None:
    """An export that does not fit leaves no file."""
    artifact_id = await put(local, bytes(5 * MIB))
    (small_disk / "ballast").write_bytes(bytes(4 * MIB))
    error = await refused(local.export_to_path(artifact_id, small_disk / "file"))
    assert (type(error), error.reason) == (ExhaustedError, "DISK_FULL")
    assert names_in(small_disk) == {"ballast"}


@pytest.mark.parametrize("size", [MIB, 4096])
async def test_full_when_all_is_here(small_disk: Path, size: int) -> None:
    """An upload whose bytes are all here, on a disk without room for its row, is kept, and finished when there is."""
    root, ballast = small_disk / "store", small_disk / "ballast"
    write = ArtifactWrite(upload_id="u", artifact_id="a", size_bytes=size)
    async with opened(root) as store:
        async with await store.open_upload(write) as upload:
            await upload.write(0, bytes(size))
            assert (await store.upload("u")).committed_size == size
            fill_up(ballast)
            error = await refused(upload.finish(Digest.of(bytes(size))))
            assert (type(error), error.reason) == (ExhaustedError, "DISK_FULL")
        found = await store.upload("u")
        assert (found.state, found.prefix, found.writing) == (UploadState.OPEN, Digest.of(bytes(size)), False)
        ballast.unlink()
        async with await store.open_upload(write, prefix=found.prefix) as upload:
            assert (await upload.finish()).outcome is WriteOutcome.COMMITTED
        assert await read_all(store, "a") == bytes(size)
    assert_consistent(root)


async def test_full_at_the_end_of_what_has_no_name(small_disk: Path) -> None:
    """Nothing is kept of an upload that nobody could go on with."""
    root, ballast = small_disk / "store", small_disk / "ballast"

    async def bytes_that_fill() -> AsyncIterator[bytes]:
        yield bytes(MIB)
        fill_up(ballast)

    async with opened(root) as store:
        error = await refused(store.create_from_chunks(ArtifactWrite(size_bytes=MIB), bytes_that_fill()))
        assert error.reason == "DISK_FULL"
        ballast.unlink()
        assert (await store.uploads()).uploads == ()
        assert (await store.usage()).host.reserved == 0
    assert_consistent(root)
