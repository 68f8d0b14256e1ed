"""Many who want the same upload at once: one has it, its bytes are right, and whoever lost it lands nothing more."""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import threading
from pathlib import Path

import pytest

from paglets.artifacts import partials
from paglets.artifacts.local import LocalArtifactStore
from paglets.artifacts.steps import Step
from paglets.artifacts.store import ArtifactWrite, Upload, UploadState, WriteOutcome
from paglets.digest import Digest
from paglets.errors import ConflictError, NotFoundError, PagletError
from tests.artifacts.support import PATIENCE_S, armed, assert_consistent, eventually, read_all, refused

WRITE = ArtifactWrite(upload_id="u", artifact_id="a")
WRITERS = 20
PIECE = 100_000
DATA = os.urandom(10 * PIECE)


async def send(upload: Upload) -> None:
    """Writes what is missing, piece by piece."""
    for offset in range(upload.committed_size, len(DATA), PIECE):
        await upload.write(offset, DATA[offset : offset + PIECE])


async def until_lost(upload: Upload) -> None:
    """Waits until the upload is taken from its writer."""
    lost = asyncio.Event()
    upload.when_lost(lost.set)
    if upload.lost is None:
        async with asyncio.timeout(PATIENCE_S):
            await lost.wait()


async def test_a_storm_of_takeovers(local: LocalArtifactStore, root: Path, seed: int) -> None:
    """Of twenty writers the one with the highest number ends well; all others are fenced, sooner or later."""

    async def write(epoch: int) -> str:
        try:
            async with await local.open_upload(WRITE, writer_epoch=epoch) as upload:
                await send(upload)
                if epoch < WRITERS:
                    await until_lost(upload)
                return (await upload.finish(Digest.of(DATA))).outcome
        except ConflictError as error:
            return error.reason

    epochs = random.Random(seed).sample(range(1, WRITERS + 1), WRITERS)
    ends = dict(zip(epochs, await asyncio.gather(*map(write, epochs)), strict=True))
    assert ends.pop(WRITERS) == WriteOutcome.COMMITTED
    assert set(ends.values()) == {"WRITER_FENCED"}
    assert await read_all(local, "a") == DATA
    assert_consistent(root)


async def test_fenced_while_the_last_bytes_are_written(
    local: LocalArtifactStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer who is at his last bytes when he is fenced makes no artifact any more; the next one has those bytes."""
    writing, go_on, pwrite = threading.Event(), threading.Event(), os.pwrite

    def slow(descriptor: int, data: memoryview, offset: int) -> int:
        writing.set()
        go_on.wait(PATIENCE_S)
        return pwrite(descriptor, data, offset)

    first = await local.open_upload(WRITE, writer_epoch=1)
    lost = asyncio.Event()
    first.when_lost(lost.set)
    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", slow)
        sending = asyncio.create_task(first.write(0, DATA[:PIECE]))
        await asyncio.to_thread(writing.wait, PATIENCE_S)
        finishing = asyncio.create_task(first.finish())
        taking = asyncio.create_task(local.open_upload(WRITE, writer_epoch=2))
        await lost.wait()
        go_on.set()
        await sending
        assert (await refused(finishing)).reason == "WRITER_FENCED"
        second = await taking
    assert second.committed_size == PIECE
    await send(second)
    await second.finish(Digest.of(DATA))
    assert await read_all(local, "a") == DATA
    assert_consistent(root)


@pytest.mark.parametrize(
    "step",
    [Step.WRITE_AFTER, Step.SYNC_BEFORE, Step.SYNC_AFTER, Step.INTENT_AFTER, Step.RENAME_AFTER, Step.COMMIT_AFTER],
)
async def test_cancelled_at_the_end(local: LocalArtifactStore, root: Path, step: Step) -> None:
    """Whenever it comes, a cancellation and the end of its upload agree: an artifact, or none and its writer knows."""
    loop, cancels = asyncio.get_running_loop(), list[asyncio.Task[bool]]()

    def begin() -> None:
        cancels.append(asyncio.create_task(local.cancel_upload("u")))

    def cancel(name: str) -> None:
        if name == step and not begun.is_set():
            begun.set()
            loop.call_soon_threadsafe(begin)

    begun = threading.Event()
    with armed(cancel):
        async with await local.open_upload(WRITE) as upload:
            outcome = await _end_of(upload)

            async def cancelled() -> bool:
                return bool(cancels)

            await eventually(cancelled)
    (told,) = await asyncio.gather(*cancels, return_exceptions=True)
    if told is True:
        assert outcome == "UPLOAD_CANCELLED"
        assert (await refused(local.ref("a"))).reason == "ARTIFACT_NOT_FOUND"
    else:
        assert told is False or (isinstance(told, ConflictError) and told.reason == "UPLOAD_IN_PROGRESS")
        assert outcome == WriteOutcome.COMMITTED
        assert await read_all(local, "a") == DATA
    assert_consistent(root)


async def _end_of(upload: Upload) -> str:
    try:
        await send(upload)
        return (await upload.finish(Digest.of(DATA))).outcome
    except PagletError as error:
        return error.reason


async def test_asked_for_all_the_time(local: LocalArtifactStore, root: Path) -> None:
    """Whoever asks for an upload while it is written, cut, gone on with and finished hears a true prefix, or waits."""
    sizes, reasons = list[int](), set[str]()

    async def ask() -> None:
        while not sizes or sizes[-1] < len(DATA):
            try:
                info = await local.upload("u")
            except NotFoundError:
                assert not sizes
            except ConflictError as error:
                reasons.add(error.reason)
            else:
                assert info.prefix == Digest.of(DATA[: info.committed_size])
                sizes.append(info.committed_size)
            await asyncio.sleep(0)

    asking = [asyncio.create_task(ask()) for _ in range(4)]
    for epoch, end in enumerate(range(PIECE, len(DATA), PIECE), start=1):
        async with await local.open_upload(WRITE, writer_epoch=epoch) as upload:
            await upload.write(upload.committed_size, DATA[upload.committed_size : end])
    async with await local.open_upload(WRITE) as upload:
        await send(upload)
        await upload.finish()
    await asyncio.gather(*asking)
    assert len(set(sizes)) > 2
    assert reasons <= {"UPLOAD_IN_PROGRESS"}
    assert_consistent(root)


async def test_asked_for_at_the_end(local: LocalArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks for an upload that is finished at that moment never hears that it has fewer bytes than it had."""
    read, go_on, real = threading.Event(), threading.Event(), partials.find

    def find_and_wait(rows: sqlite3.Connection, upload_id: str) -> sqlite3.Row | None:
        row = real(rows, upload_id)
        read.set()
        go_on.wait(PATIENCE_S)
        return row

    async with await local.open_upload(WRITE) as upload:
        await send(upload)
        monkeypatch.setattr(partials, "find", find_and_wait)
        asking = asyncio.create_task(local.upload("u"))
        await asyncio.to_thread(read.wait, PATIENCE_S)
        await upload.finish(Digest.of(DATA))
    go_on.set()
    info = await asking
    assert (info.state, info.committed_size) == (UploadState.COMMITTED, len(DATA))
