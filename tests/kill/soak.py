"""Kills at random for as long as one likes: `buildscripts/soak [RUNS] [--seed SEED] [OPTIONS]`.

A run draws a layout, up to three hosts with a point or two each and which pass of it is the last, and has a paglet
moved, fetched, laid down and cloned while clients write and post to it and it posts to another; the figures of all runs
are told at the end, or before the run that failed. Every run has a seed of its own, printed with it, that repeats its
draws. With `--uploads` a host is killed at N offsets of 64 MiB
uploads first; with `--memory` eight clients move 2 GiB each way, and what that takes is told; with `--steps` hosts take
N sequences of ten steps beside the model; with `--travels` clients call counters that move over bad ways for so many
seconds, and what they saw must be linearizable; with `--thrice` every request is sent three times, in N rounds of ten
seconds; with `--fates` N times a host dies in an operation, and others on the same id do not wait for it.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from contextlib import aclosing
from pathlib import Path

from tests.artifacts.memory_load import memory_load
from tests.kill.cases import LAYOUTS
from tests.kill.draws import draw_run
from tests.kill.fates import draw_fate, fulfil
from tests.kill.meshes import Meshes
from tests.kill.roam import roam
from tests.kill.tally import Tally
from tests.kill.thrice import send_thrice
from tests.kill.uploads import kill_uploads
from tests.linearize.counter import check_counters
from tests.linearize.travels import travel
from tests.model.machine import look_for_steps


async def run_uploads(count: int, seed: int) -> None:
    """Kills a host in the middle of so many uploads."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="paglets-soak-") as folder:
        tally = await kill_uploads(Path(folder), random.Random(seed), runs=count, size=64 * 1024**2)
    seconds = time.monotonic() - began
    _say(f"seed {seed}: {count} uploads, each killed once, {tally} bytes sent twice at most, {seconds:.1f} s")


async def run(runs: int, seed: int) -> None:
    """Runs so many times, one seed after the other; the first failure ends it."""
    tally = Tally()
    try:
        with tempfile.TemporaryDirectory(prefix="paglets-soak-") as folder:
            async with aclosing(Meshes(Path(folder))) as meshes:
                for number in range(seed, seed + runs):
                    await _run_one(meshes, number, tally)
    finally:
        _say(str(tally))


async def _run_one(meshes: Meshes, seed: int, tally: Tally) -> None:
    chance, began, known = random.Random(seed), time.monotonic(), len(tally.calms_s)
    layout, fates = draw_run(chance)
    _say(f"seed {seed}: {layout}, {', '.join(' then '.join(map(str, kills)) for kills in fates)}")
    async with meshes.mesh(layout) as mesh:
        died = await roam(mesh, fates, chance, tally)
    calms = ", ".join(f"{each:.1f}" for each in tally.calms_s[known:]) or "0"
    wanted, seconds = sum(map(len, fates)), time.monotonic() - began
    _say(f"seed {seed}: {died} of {wanted} died, quiet after {calms} s; {seconds:.1f} s")


async def run_memory() -> None:
    """Has eight clients move 2 GiB each way; fails where that takes more memory than it may."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="paglets-soak-") as folder:
        growth = await memory_load(Path(folder), clients=8, size=256 * 1024**2, rounds=8)
    _say(f"{growth}, {time.monotonic() - began:.1f} s")
    growth.check()


async def run_steps(count: int, seed: int) -> None:
    """Takes so many sequences of steps beside the model."""
    began = time.monotonic()
    await look_for_steps(count, seed)
    _say(f"seed {seed}: {count} sequences of ten steps, {time.monotonic() - began:.1f} s")


async def run_travels(seconds: float, seed: int) -> None:
    """Has clients call counters that travel, and checks what they saw."""
    with tempfile.TemporaryDirectory(prefix="paglets-soak-") as folder:
        travels = await travel(Path(folder), random.Random(seed), seconds)
    began = time.monotonic()
    verdict = check_counters(travels.history)
    _say(f"seed {seed}: {travels} in {seconds:g} s, checked in {time.monotonic() - began:.1f} s")
    if not verdict:
        raise AssertionError(f"these fit nowhere: {verdict.stuck}")


async def run_thrice(rounds: int, seed: int) -> None:
    """Sends every request three times, whatever happens meanwhile; each round has a seed of its own."""
    with tempfile.TemporaryDirectory(prefix="paglets-soak-") as folder:
        async with aclosing(Meshes(Path(folder))) as meshes, meshes.mesh("third") as mesh:
            for number in range(seed, seed + rounds):
                _say(f"seed {number}: {await send_thrice(mesh, random.Random(number), 10)}")


async def run_fates(count: int, seed: int) -> None:
    """Has so many ids live through a death and more operations; each has a seed of its own."""
    with tempfile.TemporaryDirectory(prefix="paglets-soak-") as folder:
        async with aclosing(Meshes(Path(folder))) as meshes:
            for number in range(seed, seed + count):
                chance, began = random.Random(number), time.monotonic()
                layout, fate = chance.choice(list(LAYOUTS)), draw_fate(chance)
                _say(f"seed {number}: {layout}, {fate}")
                async with meshes.mesh(layout) as mesh:
                    told = await fulfil(mesh, fate, chance)
                _say(f"seed {number}: {', '.join(told)}; {time.monotonic() - began:.1f} s")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    """Reads the arguments."""
    parser = argparse.ArgumentParser(prog="soak", description="Kills hosts at random; ends at the first failure.")
    parser.add_argument("runs", type=int, nargs="?", default=20, help="how many runs (20)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**9), help="of the first run")
    parser.add_argument("--uploads", type=int, default=0, help="how many uploads are cut by a kill before that (0)")
    parser.add_argument("--memory", action="store_true", help="first move 2 GiB each way by each of eight clients")
    parser.add_argument("--steps", type=int, default=0, help="how many sequences of steps are taken before that (0)")
    parser.add_argument("--travels", type=float, default=0, help="how many seconds of travels come before that (0)")
    parser.add_argument("--thrice", type=int, default=0, help="how many rounds of sending thrice come before that (0)")
    parser.add_argument("--fates", type=int, default=0, help="how many deaths between operations come before that (0)")
    arguments = parser.parse_args()
    if arguments.memory:
        asyncio.run(run_memory())
    if arguments.uploads:
        asyncio.run(run_uploads(arguments.uploads, arguments.seed))
    if arguments.travels:
        asyncio.run(run_travels(arguments.travels, arguments.seed))
    if arguments.thrice:
        asyncio.run(run_thrice(arguments.thrice, arguments.seed))
    if arguments.steps:
        asyncio.run(run_steps(arguments.steps, arguments.seed))
    if arguments.fates:
        asyncio.run(run_fates(arguments.fates, arguments.seed))
    asyncio.run(run(arguments.runs, arguments.seed))


if __name__ == "__main__":
    main()
