"""One run of the bench, from an empty folder to a result."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from paglets.bench.actor_suites import actor_rows
from paglets.bench.call_suites import call_rows, forward_rows
from paglets.bench.counted import count_work, unequal
from paglets.bench.counting import can_count
from paglets.bench.journey_suites import dispatch_rows
from paglets.bench.life_suites import life_rows
from paglets.bench.machine import describe_machine
from paglets.bench.many_suites import many_rows
from paglets.bench.process_suites import memory_of, memory_rows, start_rows
from paglets.bench.processes import ProgramFailedError
from paglets.bench.rounds import Say
from paglets.bench.samples import Counted, Result, Row
from paglets.bench.settings import SUITES, BenchSettings
from paglets.bench.small_suites import small_rows
from paglets.bench.stage import Stage, call_clients, open_stage
from paglets.bench.transfer_suites import download_rows, upload_rows

__all__ = ["run_bench"]

_BUSY = 0.5
_SUITES: Mapping[str, Callable[[Stage, Say], Awaitable[list[Row]]]] = {
    "upload": upload_rows,
    "download": download_rows,
    "small": small_rows,
    "calls": call_rows,
    "forward": forward_rows,
    "dispatch": dispatch_rows,
    "life": life_rows,
    "actors": actor_rows,
    "many": many_rows,
    "start": start_rows,
}


async def run_bench(settings: BenchSettings, say: Say) -> Result:
    """Measures what the settings name; `say` is told how far it is.

    Raises ProgramFailedError when something does not start, an answer is wrong, or the plain-socket program turns out
    to do other work than a host: then there is nothing to compare.
    """
    machine = await asyncio.to_thread(describe_machine, settings.folder)
    if os.getloadavg()[0] > _BUSY * len(os.sched_getaffinity(0)):
        say("this machine is busy with something else: trust the ratios a little, and the figures not at all")
    counted: list[Counted] | None = None
    if await can_count():
        with tempfile.TemporaryDirectory(prefix="paglets-bench-", dir=settings.folder) as folder:
            async with open_stage(settings, Path(folder), counted=True) as stage:
                counted = await count_work(stage, say)
        wrong = unequal(counted)
        if wrong:
            raise ProgramFailedError("the comparison would not be fair: " + "; ".join(wrong))
    else:
        say("strace is not here or may not trace: nothing is counted")
    rows = await _rows(settings, say)
    machine["load after"] = " ".join(f"{load:.2f}" for load in os.getloadavg())
    told = {
        "size_bytes": settings.size_bytes,
        "file_bytes": settings.file_bytes,
        "rounds": settings.rounds,
        "seconds": settings.seconds,
        "call_clients": call_clients(),
    }
    return Result(machine=machine, settings=told, rows=rows, counted=counted)


async def _rows(settings: BenchSettings, say: Say) -> list[Row]:
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="paglets-bench-", dir=settings.folder) as folder:
        async with open_stage(settings, Path(folder), counted=False) as stage:
            idle = memory_of(stage)
            for name in SUITES:
                if name in settings.only and name in _SUITES:
                    rows += await _SUITES[name](stage, say)
            if "memory" in settings.only:
                rows += memory_rows(idle, memory_of(stage))
    return rows
