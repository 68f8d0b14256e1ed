"""Kills at random for as long as one likes: `buildscripts/soak [RUNS] [--seed SEED] [OPTIONS]`.

A run draws a layout, up to three hosts with a point each and which pass of it is the last, and moves a paglet to and
fro. Every run has a seed of its own, printed with it, that repeats its draws. With `--uploads` a host is killed at N
offsets of 64 MiB uploads first; with `--memory` eight clients move 2 GiB each way, and what that takes is told; with
`--steps` hosts take N sequences of ten steps beside the model; with `--travels` clients call counters that move over
bad ways for so many seconds, and what they saw must be linearizable; with `--thrice`
every request is sent three times, in N rounds of ten seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path

from paglets.artifacts.steps import FAULT_POINTS
from paglets.host.host import HOST_POINTS
from tests.artifacts.memory_load import memory_load
from tests.kill.cases import LAYOUTS
from tests.kill.kills import Kill
from tests.kill.mesh import Mesh
from tests.kill.meshes import Meshes
from tests.kill.story import Story, begun_story
from tests.kill.thrice import send_thrice
from tests.kill.uploads import kill_uploads
from tests.linearize.counter import check_counters
from tests.linearize.travels import travel
from tests.model.machine import look_for_steps

_ON_THE_WAY = [point for point in HOST_POINTS if point.startswith(("journey.", "transfer.", "arrival."))]
_APPLY = ("directory.apply.before", "directory.apply.after")
_ROLES = ("source", "target", "directory")
_JOURNEYS = 4
_WRITES = 12
"""About as many as these journeys make to the directory."""


def draw(chance: random.Random) -> list[Kill]:
    """One to three kills, of different roles."""
    return [_draw_one(role, chance) for role in chance.sample(_ROLES, chance.randint(1, 3))]


def _draw_one(role: str, chance: random.Random) -> Kill:
    if role == "directory":
        return Kill(victim=role, point=chance.choice(_APPLY), nth=chance.randint(1, _WRITES))
    points = FAULT_POINTS if chance.random() < 0.2 else _ON_THE_WAY
    return Kill(victim=role, point=chance.choice(points), nth=chance.choice((1, 1, 1, 2)))


async def roam(mesh: Mesh, kills: Sequence[Kill], chance: random.Random) -> int:
    """Journeys to and fro while hosts die and come back; what must hold is looked at in the end. Says how many died."""
    for kill in kills:
        await mesh.restart(mesh.role(kill.victim), kill.fault)
    deaths = {name: asyncio.create_task(_die(mesh, name)) for name in mesh.armed}
    async with begun_story(mesh) as story:
        async with story.writers as writers:
            here = mesh.source
            for _ in range(_JOURNEYS):
                here = await _travel(story, here, chance)
                await writers.more()
            died = await _disarm(mesh, deaths)
            await writers.more()
            await story.settled_at(here)
            await story.move(mesh.target if here == mesh.source else mesh.source)
        await story.check_ledger(mesh.target if here == mesh.source else mesh.source)
        await story.end()
    return died


async def _travel(story: Story, here: str, chance: random.Random) -> str:
    there = story.mesh.target if here == story.mesh.source else story.mesh.source
    error = await story.dispatch(there, door=chance.choice(list(story.clients)))
    return there if error is None else here


async def _die(mesh: Mesh, name: str) -> None:
    await mesh.hosts[name].ended(timeout_s=600)
    await mesh.died(name)
    await mesh.start(name)


async def _disarm(mesh: Mesh, deaths: dict[str, asyncio.Task[None]]) -> int:
    """Takes the points away that were not passed; says how many were."""
    died = 0
    for name, death in deaths.items():
        if death.done():
            death.result()
            died += 1
            continue
        death.cancel()
        await asyncio.wait([death])
        await mesh.restart(name, "")
    return died


async def run_uploads(count: int, seed: int) -> None:
    """Kills a host in the middle of so many uploads."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="paglets-soak-") as folder:
        tally = await kill_uploads(Path(folder), random.Random(seed), runs=count, size=64 * 1024**2)
    seconds = time.monotonic() - began
    _say(f"seed {seed}: {count} uploads, each killed once, {tally} bytes sent twice at most, {seconds:.1f} s")


async def run(runs: int, seed: int) -> None:
    """Runs so many times, one seed after the other; the first failure ends it."""
    with tempfile.TemporaryDirectory(prefix="paglets-soak-") as folder:
        async with aclosing(Meshes(Path(folder))) as meshes:
            for number in range(seed, seed + runs):
                chance = random.Random(number)
                layout, kills, began = chance.choice(list(LAYOUTS)), draw(chance), time.monotonic()
                _say(f"seed {number}: {layout}, {', '.join(map(str, kills))}")
                async with meshes.mesh(layout) as mesh:
                    died = await roam(mesh, kills, chance)
                _say(f"seed {number}: {died} of {len(kills)} died, {time.monotonic() - began:.1f} s")


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
    asyncio.run(run(arguments.runs, arguments.seed))


if __name__ == "__main__":
    main()
