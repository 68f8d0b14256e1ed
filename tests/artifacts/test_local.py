"""What the store on disk promises beyond the contract: its files, its folder, its end."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from pathlib import Path

import pytest

from paglets.artifacts.local import LocalArtifactStore
from paglets.artifacts.steps import Step
from paglets.artifacts.store import ArtifactWrite, Usage
from paglets.config import StoreSettings
from paglets.errors import NotFoundError, PreconditionError, UnavailableError
from tests.artifacts.conftest import QUOTA_BYTES
from tests.artifacts.support import (
    armed,
    assert_consistent,
    cancel_all,
    is_empty,
    opened,
    pieces,
    put,
    read_all,
    refused,
)


async def test_blob_path(local: LocalArtifactStore) -> None:
    """The file of an artifact holds its bytes, and nobody may write to it."""
    path = await local.blob_path(await put(local, b"bytes"))
    assert path.read_bytes() == b"bytes"
    assert path.stat().st_mode & 0o777 == 0o444


async def test_same_bytes_lie_on_disk_once(local: LocalArtifactStore, root: Path) -> None:
    """Artifacts with the same bytes share a file, and the quota counts it once."""
    ids = [await put(local, b"shared" * 1000) for _ in range(3)]
    assert len({await local.blob_path(artifact_id) for artifact_id in ids}) == 1
    assert (await local.usage()).host == Usage(limit=QUOTA_BYTES, used=6000, reserved=0)
    for artifact_id in ids[:2]:
        await local.delete(artifact_id)
    assert await read_all(local, ids[2]) == b"shared" * 1000
    assert_consistent(root)
    await local.delete(ids[2])
    assert is_empty(root)
    assert (await local.usage()).host == Usage(limit=QUOTA_BYTES, used=0, reserved=0)


async def test_same_bytes_at_the_same_time(local: LocalArtifactStore, root: Path) -> None:
    """Writers of the same bytes who finish together leave one file."""
    ids = await asyncio.gather(*(put(local, b"twins" * 10_000) for _ in range(12)))
    await local.sweep()
    assert len({await local.blob_path(artifact_id) for artifact_id in ids}) == 1
    assert_consistent(root)


async def test_a_deleted_digest_comes_back(local: LocalArtifactStore, root: Path) -> None:
    """Bytes that were deleted are stored under a new generation, out of reach of a late unlink."""
    first = await put(local, b"again")
    before = await local.blob_path(first)
    await local.delete(first)
    assert await local.blob_path(await put(local, b"again")) != before
    assert_consistent(root)


async def test_delete_and_write_of_the_same_bytes_race(local: LocalArtifactStore, root: Path) -> None:
    """Whatever the order of deletions and writes, what is acknowledged can be read."""
    kept = await put(local, b"contested")

    async def churn(number: int) -> str:
        mine = await put(local, b"contested")
        if number % 2:
            await local.delete(mine)
        return mine

    await local.delete(kept)
    ids = await asyncio.gather(*(churn(number) for number in range(30)))
    for number, artifact_id in enumerate(ids):
        if number % 2 == 0:
            assert await read_all(local, artifact_id) == b"contested"
    await local.sweep()
    assert_consistent(root)


@pytest.mark.slow
async def test_delete_and_read_race(local: LocalArtifactStore, root: Path) -> None:
    """A read beside a deletion gives all of the bytes or does not find the artifact."""
    data = b"r" * 300_000
    seen: set[str] = set()

    async def read(artifact_id: str) -> None:
        try:
            assert await read_all(local, artifact_id) == data
            seen.add("read")
        except NotFoundError:
            seen.add("missing")

    for _ in range(40):
        artifact_id = await put(local, data)
        await asyncio.gather(read(artifact_id), local.delete(artifact_id), read(artifact_id))
        await read(artifact_id)
    assert seen == {"read", "missing"}
    assert_consistent(root)


async def test_everything_survives_a_restart(root: Path) -> None:
    """A store that is opened again has what it had; references bear the host's name of today."""
    async with opened(root) as store:
        kept, gone = await put(store, b"kept"), await put(store, b"gone")
        ref = await store.ref(kept)
        await store.delete(gone)
    again = await LocalArtifactStore.open(root, "beta")
    found = await again.ref(kept)
    assert (found.host, found.digest, found.created_at) == ("beta", ref.digest, ref.created_at)
    assert await read_all(again, kept) == b"kept"
    assert (await refused(again.ref(gone))).reason == "ARTIFACT_NOT_FOUND"
    await again.close()
    assert_consistent(root)


async def test_one_process_at_a_time(local: LocalArtifactStore, root: Path) -> None:
    """A folder that is in use is not opened twice, and can be opened when it is free."""
    error = await refused(LocalArtifactStore.open(root, "alpha"))
    assert (type(error), error.reason) == (PreconditionError, "DATA_FOLDER_LOCKED")
    await put(local, b"still works")
    await local.close()
    async with opened(root) as again:
        assert len((await again.list()).refs) == 1


async def test_close_leaves_partials(root: Path) -> None:
    """An upload that is open when the store is closed leaves a partial, and its writer is told."""
    store = await LocalArtifactStore.open(root, "alpha")
    upload = await store.open_upload(ArtifactWrite(size_bytes=100))
    await upload.write(0, b"some")
    await store.close()
    await store.close()
    error = await refused(upload.write(4, b"more"))
    assert (type(error), error.reason) == (UnavailableError, "SHUTTING_DOWN")
    for call in (store.open_upload(ArtifactWrite()), store.ref("a"), store.list(), store.delete("a")):
        error = await refused(call)
        assert (type(error), error.reason) == (UnavailableError, "SHUTTING_DOWN")
    async with opened(root) as again:
        (left,) = (await again.uploads()).uploads
        assert (left.committed_size, left.reserved_bytes, left.writing) == (4, 100, False)
        assert await cancel_all(again) == 1
    assert_consistent(root)


async def test_removed_folders_are_made_again(local: LocalArtifactStore, root: Path) -> None:
    """Folders that somebody removed from a store in use are made again by the next upload."""
    await local.delete(await put(local, b"first"))
    shutil.rmtree(root / "blobs")
    shutil.rmtree(root / "parts")
    assert await read_all(local, await put(local, b"second")) == b"second"
    assert_consistent(root)


UPLOAD_STEPS = [
    Step.ADMIT_BEFORE,
    Step.ADMIT_AFTER,
    Step.PART_AFTER,
    Step.GROW_AFTER,
    Step.WRITE_AFTER,
    Step.SYNC_BEFORE,
    Step.SYNC_AFTER,
    Step.INTENT_AFTER,
    Step.RENAME_AFTER,
    Step.FOLDER_AFTER,
    Step.SPARE_AFTER,
    Step.COMMIT_AFTER,
]


@pytest.mark.parametrize("step", UPLOAD_STEPS)
async def test_a_write_cancelled_at_any_step(root: Path, step: Step) -> None:
    """A write that is cancelled before its commit leaves a partial at most; one that is cancelled later is whole.

    Between the dropping of a spare part and the commit there is nothing to wait for, so the commit comes first.
    """
    async with opened(root) as store:
        if step is Step.SPARE_AFTER:
            await put(store, bytes(3000))
        write = ArtifactWrite(artifact_id="a", upload_id="u")
        task = asyncio.create_task(store.create_from_chunks(write, pieces(bytes(1000), bytes(2000))))
        loop = asyncio.get_running_loop()
        passed: list[str] = []

        def cancel(name: str) -> None:
            if name == step and not passed:
                passed.append(name)
                loop.call_soon_threadsafe(task.cancel)

        with armed(cancel), pytest.raises(asyncio.CancelledError):
            await task
        assert passed
        await store.sweep()
        await cancel_all(store)
        assert_consistent(root)
        if step in {Step.SPARE_AFTER, Step.COMMIT_AFTER}:
            assert await read_all(store, "a") == bytes(3000)
        else:
            assert (await refused(store.ref("a"))).reason == "ARTIFACT_NOT_FOUND"
            await store.create_from_chunks(write, pieces(b"free again"))


async def test_dropping_waits_for_the_disk(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is cancelled while a thread works on its files is dropped when the thread has ended, not beside it."""
    loop, rename, dropping, order = asyncio.get_running_loop(), os.rename, threading.Event(), list[str]()

    def slow_rename(source: Path, target: Path) -> None:
        loop.call_soon_threadsafe(task.cancel)
        dropping.wait(0.3)
        rename(source, target)
        order.append("renamed")

    def look(name: str) -> None:
        if name == Step.DROP_BEFORE:
            order.append("dropping")
            dropping.set()

    async with opened(root) as store:
        monkeypatch.setattr(os, "rename", slow_rename)
        task = asyncio.create_task(put(store, b"cancelled"))
        with armed(look), pytest.raises(asyncio.CancelledError):
            await task
        assert order == ["renamed", "dropping"]
    assert_consistent(root)


async def test_empty_pieces_are_no_end(local: LocalArtifactStore) -> None:
    """An empty chunk in the middle changes nothing."""
    result = await local.create_from_chunks(ArtifactWrite(), pieces(b"a", b"", b"b"))
    assert await read_all(local, result.ref.artifact_id) == b"ab"


@pytest.mark.parametrize("root", ["store", "~/store"])
async def test_store_stays_where_it_was_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: str) -> None:
    """Though the process goes to another folder: else its blobs were taken for lost there."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    store = await LocalArtifactStore.open(Path(root), "alpha", StoreSettings())
    written = (await store.create_from_chunks(ArtifactWrite(as_file=True), pieces(b"abc"))).ref
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    async with store.open_reader(written.artifact_id) as reader:
        assert b"".join([piece async for piece in reader]) == b"abc"
    assert (await store.blob_path(written.artifact_id)).is_relative_to(tmp_path / "store")
    await store.close()
