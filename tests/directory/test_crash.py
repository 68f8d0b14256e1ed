"""`kill -9` of the process that holds the directory: what was acknowledged is there, all else is whole or absent."""

import asyncio
import itertools
import os
import random
import signal
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from paglets.client.channel import open_channel
from paglets.client.directory import RemoteDirectory
from paglets.directory.contract import PagletRow
from paglets.directory.sqlite import SqliteDirectory
from paglets.errors import UnavailableError
from paglets.testing import send_signal
from tests.directory.support import PATIENCE_S, changed, new, put, take
from tests.ports import free_port

ROOT = Path(__file__).resolve().parents[2]


@asynccontextmanager
async def served(
    path: Path, port: int = 0, fault: str = ""
) -> AsyncGenerator[tuple[asyncio.subprocess.Process, int], None]:
    """Another process that serves the file; gives it and its port, and sees to its end."""
    program = (sys.executable, "-m", "tests.directory.serve", str(path), str(port))
    process = await asyncio.create_subprocess_exec(
        *program, cwd=ROOT, env={**os.environ, "PAGLETS_FAULT": fault}, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE_S):
            bound = int(await process.stdout.readline())
        yield process, bound
    finally:
        if process.returncode is None:
            send_signal(process, signal.SIGKILL)
        await process.wait()


async def contents(path: Path) -> list[PagletRow]:
    """All live rows in a file."""
    directory = await SqliteDirectory.open(path)
    rows = list(await directory.list())
    await directory.close()
    return rows


@pytest.mark.slow
@pytest.mark.parametrize(("fault", "is_there"), [("directory.apply.before", False), ("directory.apply.after", True)])
async def test_killed_around_the_commit(tmp_path: Path, fault: str, *, is_there: bool) -> None:
    """Before the commit nothing of the batch is there, after it all of it; the caller cannot tell, and asks once."""
    path = tmp_path / "directory.db"
    async with served(path, fault=f"{fault}:2") as (process, port):
        async with open_channel(f"127.0.0.1:{port}") as channel:
            directory = RemoteDirectory(channel)
            (row,) = await put(directory, new("a"))
            batch = [changed(row, epoch=row.epoch + 1), new("b"), new("c")]
            with pytest.raises(UnavailableError) as caught:
                await directory.apply(batch)
        assert caught.value.reason == "DIRECTORY_UNAVAILABLE"
        assert await process.wait() == -signal.SIGKILL
    rows = await contents(path)
    assert [(found.paglet_id, found.revision) for found in rows] == (
        [("a", 2), ("b", 3), ("c", 4)] if is_there else [("a", 1)]
    )


async def reach(directory: RemoteDirectory) -> None:
    """Returns when the directory answers again: its channel may still pause after its last attempt."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                await directory.hosts()
            except UnavailableError:
                continue
            return


class Writers:
    """Many writers of pairs of rows, who stop when nobody answers any more."""

    def __init__(self, directory: RemoteDirectory) -> None:
        self.acknowledged: dict[str, int] = {}
        self._directory = directory

    async def write_until_killed(self, process: asyncio.subprocess.Process, life: int, number: int) -> None:
        """Writes; kills the process once so many more rows are acknowledged, and waits for all writers to notice."""
        last = len(self.acknowledged) + number
        async with asyncio.TaskGroup() as tasks:
            for writer in range(8):
                tasks.create_task(self._write(process, f"{life}-{writer}", last))

    async def _write(self, process: asyncio.subprocess.Process, prefix: str, last: int) -> None:
        for number in itertools.count():
            try:
                rows = await put(self._directory, *(new(f"{prefix}-{number}-{half}") for half in ("left", "right")))
            except UnavailableError:
                return
            self.acknowledged.update((row.paglet_id, row.revision) for row in rows)
            if len(self.acknowledged) >= last and process.returncode is None:
                send_signal(process, signal.SIGKILL)


async def followed(rows: AsyncIterator[PagletRow], last: str) -> list[PagletRow]:
    """What a watch tells until it tells of a certain row."""
    seen: list[PagletRow] = []
    while not seen or seen[-1].paglet_id != last:
        seen += await take(rows, 1)
    return seen


@pytest.mark.slow
async def test_acknowledged_writes_outlive_kills_and_watches_go_on(tmp_path: Path, seed: int) -> None:
    """Through kills under load: no acknowledged row is missing, no batch is half there, and a watch misses nothing."""
    path, port, chance = tmp_path / "directory.db", free_port(), random.Random(seed)
    async with open_channel(f"127.0.0.1:{port}") as watching, open_channel(f"127.0.0.1:{port}") as writing:
        watch = asyncio.ensure_future(followed(RemoteDirectory(watching).watch(0), "the-end"))
        directory = RemoteDirectory(writing)
        writers = Writers(directory)
        for life in range(3):
            async with served(path, port) as (process, _):
                await reach(directory)
                await writers.write_until_killed(process, life, chance.randrange(20, 120))
                assert await process.wait() == -signal.SIGKILL
        async with served(path, port):
            await reach(directory)
            await put(directory, new("the-end"))
            seen, rows = await watch, await directory.list()
    there = {row.paglet_id: row.revision for row in rows}
    assert there.items() >= writers.acknowledged.items()
    assert {paglet_id.replace("-left", "-right") for paglet_id in there} <= there.keys()
    assert [row.revision for row in seen] == list(range(1, len(rows) + 1))
