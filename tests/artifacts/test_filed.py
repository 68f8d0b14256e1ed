"""Small artifacts that want files, many at once: each has one, they share the waits, and a failure leaves nothing."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import sqlite3
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from paglets.artifacts import uploads
from paglets.artifacts.blobs import BlobFolder
from paglets.artifacts.local import LocalArtifactStore
from paglets.artifacts.references import Blob
from paglets.artifacts.steps import Step
from paglets.artifacts.store import SMALL_FILE_BYTES, ArtifactStore, ArtifactWrite, ArtifactWriteResult, SmallWrite
from paglets.errors import ExhaustedError, PagletError, UnavailableError
from paglets.values import new_id
from tests.artifacts.support import (
    INLINE_BYTES,
    Clock,
    armed,
    assert_consistent,
    is_empty,
    opened,
    pieces,
    put,
    read_all,
    refused,
    settings,
)


def filed(name: str, data: bytes, *, owner: str = "", ttl_s: float | None = None) -> SmallWrite:
    """One item that wants a file: the artifact of that name."""
    return SmallWrite(ArtifactWrite(upload_id=name, artifact_id=name, owner=owner, ttl_s=ttl_s, as_file=True), data)


def told(results: Sequence[ArtifactWriteResult | PagletError]) -> list[str]:
    """How each item ended: its outcome, or the reason why it failed."""
    return [each.reason if isinstance(each, PagletError) else each.outcome.value for each in results]


async def test_each_has_its_result(store: ArtifactStore) -> None:
    """What can be stored is, what cannot says why in its place; larger ones than in the catalogue do."""
    taken = await put(store, b"taken")
    large = os.urandom(SMALL_FILE_BYTES)
    items = [
        filed("a", large),
        filed("b", b""),
        SmallWrite(ArtifactWrite(artifact_id=taken, as_file=True), b"x"),
        filed("c", large + b"x"),
        SmallWrite(ArtifactWrite(artifact_id="d"), b"in the catalogue"),
        filed("e", b"e"),
    ]
    assert told(await store.create_batch(items)) == [
        *("committed", "committed", "ARTIFACT_EXISTS", "ARTIFACT_TOO_LARGE", "committed", "committed")
    ]
    assert [await read_all(store, each) for each in "abde"] == [large, b"", b"in the catalogue", b"e"]
    assert told(await store.create_batch(items[:2])) == ["already-committed"] * 2
    assert told(await store.create_batch([filed("a", b"other")])) == ["REQUEST_ID_REUSED"]


async def test_an_upload_id_that_comes_twice(store: ArtifactStore) -> None:
    """The first of them has its own bytes; the others are told how that stands, whatever bytes they have."""
    first, other, third = new_id(), new_id(), new_id()
    again = SmallWrite(ArtifactWrite(upload_id=first, artifact_id=other, as_file=True), b"other")
    results = await store.create_batch([filed(first, b"1"), filed(first, b"1"), again, filed(third, b"3")])
    assert told(results) == ["committed", "UPLOAD_IN_PROGRESS", "UPLOAD_IN_PROGRESS", "committed"]
    assert [await read_all(store, each) for each in (first, third)] == [b"1", b"3"]
    assert (await refused(store.ref(other))).reason == "ARTIFACT_NOT_FOUND"


async def test_each_has_a_file(root: Path) -> None:
    """Also bytes that lie in the catalogue already get one, read-only; equal ones share it in the end."""
    async with opened(root, bounds=settings(inline_bytes=INLINE_BYTES)) as store:
        await put(store, b"known", artifact_id="known")
        items = [filed("a", b"known"), filed("b", b"twins"), filed("c", b"twins"), filed("d", b"other")]
        assert told(await store.create_batch(items)) == ["committed"] * 4
        files = await store.stored_files(["a", "b", "c", "d", "missing"])
        assert {each: path.read_bytes() for each, (_, path) in files.items() if path is not None} == {
            item.write.artifact_id: item.data for item in items
        }
        assert {path.stat().st_mode & 0o777 for _, path in files.values() if path is not None} == {0o444}
        await store.sweep()
        assert told(await store.create_batch([filed("e", b"twins")])) == ["deduplicated"]
    assert_consistent(root)


async def test_quota(root: Path) -> None:
    """As many are stored as there is room for, and nothing is left of the others."""
    async with opened(root, bounds=settings(quota_bytes=100)) as store:
        items = [filed(each, each.encode() * 30) for each in "abcd"]
        assert told(await store.create_batch(items)) == ["committed"] * 3 + ["QUOTA_EXCEEDED"]
        usage = (await store.usage()).host
        assert (usage.used, usage.reserved) == (90, 0)
    assert_consistent(root)


async def test_expiry_is_kept(root: Path, clock: Clock) -> None:
    """Items expire as any artifact does."""
    async with opened(root, clock) as store:
        await store.create_batch([filed("a", b"x", ttl_s=5.0)])
        clock.now += 6.0
        assert (await refused(store.ref("a"))).reason == "ARTIFACT_NOT_FOUND"
        await store.sweep()
        assert is_empty(root)


@pytest.mark.parametrize(("call", "name"), [("fdatasync", "/blobs/"), ("fsync", "/blobs/"), ("write", "/blobs/")])
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
async def test_failing_disk(root: Path, monkeypatch: pytest.MonkeyPatch, call: str, name: str, number: int) -> None:
    """What cannot be made durable fails all of a batch, is dropped, and can be sent again."""
    real = getattr(os, call)

    def failing(descriptor: int, *rest: object) -> object:
        if name in str(Path(f"/proc/self/fd/{descriptor}").readlink()):
            raise OSError(number, os.strerror(number))
        return real(descriptor, *rest)

    items = [filed(each, each.encode()) for each in "abc"]
    async with opened(root) as store:
        await put(store, b"first")  # makes the folders
        with monkeypatch.context() as patched:
            patched.setattr(os, call, failing)
            with pytest.raises((OSError, ExhaustedError)) as caught:
                await store.create_batch(items)
        assert (getattr(caught.value, "reason", "") == "DISK_FULL") is (number == errno.ENOSPC)
        await store.sweep()
        assert (await store.usage()).host.used == len(b"first")
        assert told(await store.create_batch(items)) == ["committed"] * 3
    assert_consistent(root)


async def test_a_commit_that_fails_is_decided_by_a_restart(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files are there and their intents: what nobody was told of is finished when the store is opened again."""
    items = [filed(each, each.encode()) for each in "ab"]
    async with opened(root) as store:
        with monkeypatch.context() as patched:
            patched.setattr(uploads, "commit", _fail)
            with pytest.raises(sqlite3.OperationalError):
                await store.create_batch(items)
    async with opened(root) as store:
        assert [await read_all(store, each) for each in "ab"] == [b"a", b"b"]
        assert told(await store.create_batch(items)) == ["already-committed"] * 2
    assert_consistent(root)


async def test_what_a_recovery_finds_is_made_durable(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process may die before it has synced a file, whose bytes the page cache has: they are synced then."""
    copy, synced, real = tmp_path / "copy", list[str](), os.fdatasync

    def note(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        real(descriptor)

    def die(name: str) -> None:
        if name == Step.SYNC_AFTER:
            shutil.copytree(root, copy)

    async with opened(root) as store:
        with armed(die):
            await store.create_batch([filed("a", b"bytes")])
    monkeypatch.setattr(os, "fdatasync", note)
    async with opened(copy) as store:
        path = (await store.stored_files(["a"]))["a"][1]
        assert path is not None
        assert path.name in synced
    assert_consistent(copy)


async def test_a_batch_waits_for_the_recovery(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who repeats a batch right after a start is told of what came before, and need not send it once more."""
    copy, items, going_on = tmp_path / "copy", [filed("a", b"bytes")], threading.Event()
    prove = BlobFolder.prove

    def die(name: str) -> None:
        if name == Step.SYNC_AFTER:
            shutil.copytree(root, copy)

    def prove_later(folder: BlobFolder, upload_id: str, blob: Blob) -> bool:
        going_on.wait()
        return prove(folder, upload_id, blob)

    async with opened(root) as store:
        with armed(die):
            await store.create_batch(items)
    monkeypatch.setattr(BlobFolder, "prove", prove_later)
    store = await LocalArtifactStore.open(copy, "alpha", settings())
    try:
        batch = asyncio.create_task(store.create_batch(items))
        await asyncio.wait((batch,), timeout=0.2)
        going_on.set()
        assert told(await batch) == ["already-committed"]
    finally:
        going_on.set()
        await store.close()


@pytest.mark.parametrize("step", [Step.INTENT_AFTER, Step.SYNC_AFTER, Step.FOLDER_AFTER])
async def test_who_cancels_waits(local: LocalArtifactStore, step: Step) -> None:
    """Whoever drops an upload, or opens it, while it is one of a batch, finds what became of it."""
    loop, tasks = asyncio.get_running_loop(), list[asyncio.Task[object]]()

    def begin(name: str) -> None:
        if name == step and not tasks:
            write = ArtifactWrite(upload_id="b", artifact_id="b", as_file=True)
            for work in (local.cancel_upload("a"), local.create_from_chunks(write, pieces(b"b"))):
                loop.call_soon_threadsafe(lambda work=work: tasks.append(asyncio.ensure_future(work)))

    with armed(begin):
        assert told(await local.create_batch([filed("a", b"a"), filed("b", b"b")])) == ["committed"] * 2
    cancelled, again = await asyncio.gather(*tasks)
    assert cancelled is False
    assert isinstance(again, ArtifactWriteResult)
    assert again.outcome.value == "already-committed"


async def test_a_caller_who_leaves_changes_nothing(local: LocalArtifactStore) -> None:
    """What has begun ends as if he had stayed."""
    batch: asyncio.Task[object] | None = None

    def leave(name: str) -> None:
        if name == Step.INTENT_AFTER and batch is not None:
            batch.cancel()

    with armed(leave):
        batch = asyncio.create_task(local.create_batch([filed("a", b"a")]))
        with pytest.raises(asyncio.CancelledError):
            await batch
    assert await read_all(local, "a") == b"a"


@pytest.mark.parametrize("step", [Step.INTENT_AFTER, Step.SYNC_AFTER, Step.FOLDER_AFTER])
async def test_a_store_that_closes_meanwhile(root: Path, step: Step) -> None:
    """Whatever its caller is told, what was begun is finished or dropped by the next start, and can be sent again."""
    items, closing = [filed(each, each.encode() * 9) for each in "abc"], list[asyncio.Task[None]]()
    loop = asyncio.get_running_loop()
    async with opened(root) as store:

        def close(name: str) -> None:
            if name == step and not closing:
                loop.call_soon_threadsafe(lambda: closing.append(asyncio.ensure_future(store.close())))

        with armed(close), suppress(UnavailableError):
            assert set(told(await store.create_batch(items))) == {"committed"}
        await asyncio.gather(*closing)
    async with opened(root) as store:
        assert set(told(await store.create_batch(items))) <= {"committed", "already-committed"}
        assert [await read_all(store, each) for each in "abc"] == [item.data for item in items]
        await store.sweep()
    assert_consistent(root)


async def test_batches_race(root: Path) -> None:
    """Batches at the same time, for the same ids in any order, each store what the other did not."""
    async with opened(root) as store:
        items = [filed(f"a{number}", b"%d" % number) for number in range(150)]
        results = await asyncio.gather(store.create_batch(items), store.create_batch(items[::-1]))
        assert sorted(how for result in results for how in told(result)) == (
            ["already-committed"] * 150 + ["committed"] * 150
        )
    assert_consistent(root)


async def test_many_are_deleted_at_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are there, however many; the others are passed over."""
    async with opened(root) as store:
        monkeypatch.setattr("paglets.artifacts.local.SWEEP_BATCH", 20)
        names = [f"a{number}" for number in range(50)]
        await store.create_batch([filed(each, each.encode()) for each in names])
        await store.delete_all([*names, "missing"])
        assert is_empty(root)
        assert (await store.usage()).host.used == 0
    assert_consistent(root)


def _fail(*_: object, **__: object) -> None:
    raise sqlite3.OperationalError("the disk fails")
