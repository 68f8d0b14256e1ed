"""What each kind of work asks of the disk, counted once on processes of their own that nobody times."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from paglets.bench.calling import Ask, counting
from paglets.bench.counting import count
from paglets.bench.journey_suites import MOVE_S, Shuttle, load_freight
from paglets.bench.rounds import Say
from paglets.bench.samples import Counted
from paglets.bench.small_client import SmallDone
from paglets.bench.small_suites import BATCH, batches, open_small_stage, singles
from paglets.bench.stage import Stage
from paglets.bench.transfer_suites import landed, move, ways
from paglets.client.client import Client

__all__ = ["count_work", "unequal"]

_MOVES = 10


async def count_work(stage: Stage, say: Say) -> list[Counted]:
    """Counts what the selected suites do; `stage` must be a counted one."""
    only, found = stage.settings.only, list[Counted]()
    say("counting what is asked of the disk, on processes of their own")
    if only & {"upload", "download"}:
        found += await _transfers(stage)
    if "small" in only:
        found += await _smalls(stage)
    if "calls" in only:
        found += [await _adds(stage)]
    if "dispatch" in only:
        found += await _dispatches(stage)
    return found


def unequal(counted: Sequence[Counted]) -> list[str]:
    """Where a host does less than the plain-socket program; empty when the comparison is fair to that.

    A host syncs more often: what it has of a large upload survives a loss of power.
    """
    by_work = {found.work: found for found in counted}
    wrong: list[str] = []
    for ours in counted:
        plain = by_work.get(f"{ours.work}, plain socket")
        if plain is None:
            continue
        for what in ("data_bytes", "data_syncs", "folder_syncs", "catalogue_syncs"):
            wanted, got = getattr(ours, what), getattr(plain, what)
            if wanted < got or (what == "data_bytes" and wanted != got):
                wrong.append(f"{ours.work}: {what} {wanted} of a host, {got} of the plain socket program")
    return wrong


class _Counter:
    """Counts between two points in time, on files below some folders."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.lines: list[str] = []

    @asynccontextmanager
    async def watching(self, names: Sequence[str]) -> AsyncGenerator[None, None]:
        """Keeps what the named children did in the block."""
        traces = [self._stage.traces[name] for name in names]
        marks = [trace.mark() for trace in traces]
        yield
        self.lines = [
            line
            for trace, mark in zip(traces, marks, strict=True)
            for line in await asyncio.to_thread(trace.since, mark)
        ]

    def count(self, work: str, units: int, *folders: Path) -> Counted:
        """What was kept, added up. A folder left out holds what the host does anyway, such as renewing its lease."""
        return count(work, units, self.lines, folders)


async def _transfers(stage: Stage) -> list[Counted]:
    counter, found = _Counter(stage), list[Counted]()
    landed(stage).parent.mkdir(exist_ok=True)
    folders = (stage.folder / "alpha" / "artifacts", stage.folder / "plain", landed(stage).parent)
    for way in ways(stage)[:2]:
        beside = "" if way.server is stage.alpha else f", {way.name}"
        for unseen in ("put", "delete"):  # a store makes its folders with its first file
            await move(stage, way, unseen)
        async with counter.watching((way.client.name, way.server.name)):
            await move(stage, way, "put")
        found.append(counter.count(f"upload{beside}", 1, *folders))
        async with counter.watching((way.client.name, way.server.name)):
            await move(stage, way, "get")
        found.append(counter.count(f"download{beside}", 1, *folders))
        await move(stage, way, "delete")
    return found


async def _smalls(stage: Stage) -> list[Counted]:
    counter, found = _Counter(stage), list[Counted]()
    async with open_small_stage(stage, counted=True) as small:
        for work, command in (
            (f"4 KiB in batches of {BATCH}", batches(small.empty, 1)),
            ("4 KiB alone, 1 client", singles(stage, small.empty, 1)),
            ("4 KiB alone, 16 clients", singles(stage, small.empty, 16)),
        ):
            async with counter.watching(("empty",)):
                await small.client.ask(command, SmallDone)
            found.append(counter.count(work, command.items, small.folder / "empty" / "artifacts"))
    return found


async def _adds(stage: Stage) -> Counted:
    counter = _Counter(stage)
    async with counting(stage) as caller:
        add = caller.measure(Ask(server=stage.alpha, method="add", by="stub with request ids"), 1)
        async with counter.watching(("alpha",)):
            await add()
        return counter.count("Add with request ids, 1 caller", caller.adds, stage.folder / "alpha")


async def _dispatches(stage: Stage) -> list[Counted]:
    counter = _Counter(stage)
    folders = (stage.folder / "alpha", stage.folder / "beta")
    async with Client(stage.alpha.address) as alpha, Client(stage.beta.address) as beta:
        shuttle = Shuttle(stage, alpha, beta)
        await shuttle.start()
        async with counter.watching(("alpha", "beta")):
            for _ in range(_MOVES):
                await shuttle.move()
        empty = counter.count("dispatch, empty state", _MOVES, *folders)
        paglet = await load_freight(stage, alpha)
        async with counter.watching(("alpha", "beta")):
            await paglet.dispatch("beta", timeout_s=MOVE_S)
        await paglet.dispose()
        return [empty, counter.count("dispatch with a file", 1, *folders)]
