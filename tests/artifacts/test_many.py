"""A hundred thousand artifacts in a store: nothing that a caller waits for takes longer for them."""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import time
from asyncio.subprocess import PIPE
from pathlib import Path

import psutil
import pytest

from paglets.artifacts.local import LocalArtifactStore
from paglets.artifacts.store import ArtifactWrite, ArtifactWriteResult, SmallWrite
from paglets.client.artifacts import RemoteArtifactStore
from paglets.client.channel import open_channel
from paglets.config import StoreSettings
from tests.artifacts.support import opened

MANY = 100_000
BOUNDS = StoreSettings(quota_bytes=None, min_free_bytes=0, scrub_bytes_per_s=None)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


async def fill(store: LocalArtifactStore, first: int, count: int) -> None:
    """Stores that many of 64 bytes, named by number."""
    for start in range(first, first + count, 1000):
        items = [
            SmallWrite(ArtifactWrite(artifact_id=f"a{number:06}"), os.urandom(64))
            for number in range(start, min(start + 1000, first + count))
        ]
        assert all(isinstance(result, ArtifactWriteResult) for result in await store.create_batch(items))


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a store with many artifacts."""
    root = tmp_path_factory.mktemp("many") / "store"

    async def make() -> None:
        async with opened(root, bounds=BOUNDS) as store:
            await fill(store, 0, MANY)

    asyncio.run(make())
    return root


async def first_answer_s(root: Path) -> float:
    """The time that a process which serves this store works, from its start, until its first answer."""
    command = (sys.executable, "-m", "tests.artifacts.serve", str(root))
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE)
    assert process.stdout is not None
    try:
        port = int(await process.stdout.readline())
        async with open_channel(f"127.0.0.1:{port}") as channel:
            await RemoteArtifactStore(channel).list(page_size=1)
            taken = psutil.Process(process.pid).cpu_times()
            return taken.user + taken.system
    finally:
        process.terminate()
        await process.wait()


async def opening_s(store: LocalArtifactStore, times: int = 40) -> float:
    """The median time that opening an upload takes, in seconds of the process's own work."""
    taken: list[float] = []
    for number in range(times):
        began = time.process_time()
        upload = await store.open_upload(ArtifactWrite(upload_id=f"u{number}", size_bytes=4096))
        taken.append(time.process_time() - began)
        await upload.drop()
    return statistics.median(taken)


async def test_a_start_is_as_fast(full: Path, tmp_path: Path) -> None:
    """A process does no more until its first answer than with an empty store, but for what one start may take more."""
    empty_s = min([await first_answer_s(tmp_path / "empty") for _ in range(3)])
    full_s = min([await first_answer_s(full) for _ in range(3)])
    assert full_s < empty_s + 0.3


async def test_an_upload_is_opened_as_fast(full: Path, tmp_path: Path) -> None:
    """Opening one costs at most twice what it costs in an empty store."""
    async with opened(tmp_path / "empty", bounds=BOUNDS) as empty, opened(full, bounds=BOUNDS) as store:
        await opening_s(empty, 5)
        await opening_s(store, 5)
        assert await opening_s(store) < 2 * await opening_s(empty)


async def test_pages_while_a_tenth_changes(full: Path) -> None:
    """A walk through all pages meets each artifact that stays exactly once, whatever comes and goes meanwhile."""
    async with opened(full, bounds=BOUNDS) as store:
        gone = {f"a{number:06}" for number in range(0, MANY, 20)}
        begun = asyncio.Event()

        async def change() -> None:
            await begun.wait()
            for artifact_id in sorted(gone, reverse=True):
                await store.delete(artifact_id)

        async def grow() -> None:
            await begun.wait()
            await fill(store, MANY, MANY // 20)

        seen: list[str] = []
        async with asyncio.TaskGroup() as changing:
            changing.create_task(change())
            changing.create_task(grow())
            token = ""
            while True:
                page = await store.list(page_size=1000, page_token=token)
                seen += [ref.artifact_id for ref in page.refs]
                begun.set()
                token = page.next_token
                if not token:
                    break
        stable = {f"a{number:06}" for number in range(MANY)} - gone
        assert len(seen) == len(set(seen))
        assert stable <= set(seen)
