"""Takes samples in turn, A B C A B C, so that a machine that gets slower or faster does so for all of them alike."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeAlias, TypeVar

from paglets.bench.processes import Child
from paglets.bench.samples import Sample

__all__ = ["Measure", "Say", "in_turn", "with_cpu"]

T = TypeVar("T")
Measure: TypeAlias = Callable[[], Awaitable[Sample]]
Say: TypeAlias = Callable[[str], None]


async def in_turn(what: str, rounds: int, measures: Mapping[str, Measure], say: Say) -> dict[str, list[Sample]]:
    """So many samples of each, after a first round that only warms everything up.

    Before each sample the disk's queue is emptied, so that none waits for what another left to be written.
    """
    found: dict[str, list[Sample]] = {name: [] for name in measures}
    for number in range(rounds + 1):
        say(f"{what}: " + (f"round {number} of {rounds}" if number else "warming up"))
        for name, measure in measures.items():
            await asyncio.to_thread(os.sync)
            sample = await measure()
            if number:
                found[name].append(sample)
    return found


async def with_cpu(children: Sequence[Child], work: Awaitable[T]) -> tuple[T, float]:
    """Awaits the work and says how many seconds of CPU time the processes took meanwhile."""
    before = sum(child.cpu_s for child in children)
    result = await work
    return result, sum(child.cpu_s for child in children) - before
