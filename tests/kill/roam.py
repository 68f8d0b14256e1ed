"""A paglet roams while hosts die at points that are drawn: it is moved, fetched, laid down, cloned, and written to."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from paglets.artifacts.steps import FAULT_POINTS
from paglets.host.host import HOST_POINTS
from tests.kill.kills import Kill
from tests.kill.mesh import Mesh
from tests.kill.story import Story, begun_story

__all__ = ["Tally", "draw", "roam"]

_OPERATIONS = ("create.", "journey.", "transfer.", "arrival.", "clone.", "deactivate.", "activate.", "dispose.")
_ON_THE_WAY = [point for point in HOST_POINTS if point.startswith(_OPERATIONS)]
_APPLY = ("directory.apply.before", "directory.apply.after")
_ROLES = ("source", "target", "directory")
_STEPS = 6
_WRITES = 16
"""About as many as these steps make to the directory."""


@dataclass(slots=True)
class Tally:
    """What happened in all runs: steps by their names and ends, deaths by their points, and acknowledged writes.

    `lags_s` are the seconds from the restart of a host that died in a step to the end of that step.
    """

    runs: int = 0
    writes: int = 0
    steps: Counter[str] = field(default_factory=Counter[str])
    deaths: Counter[str] = field(default_factory=Counter[str])
    lags_s: list[float] = field(default_factory=list[float])

    def __str__(self) -> str:
        lags = f"{median(self.lags_s):.1f} s, {max(self.lags_s):.1f} s at most" if self.lags_s else "none"
        points = ", ".join(f"{point} {count}" for point, count in sorted(self.deaths.items()))
        steps = ", ".join(f"{step} {count}" for step, count in sorted(self.steps.items()))
        return (
            f"{self.runs} runs, {self.writes} acknowledged writes, none lost, none run twice; from a restart to the end"
            f" of what it cut {lags}\nsteps: {steps}\n{self.deaths.total()} deaths: {points}"
        )


def draw(chance: random.Random) -> list[Kill]:
    """One to three kills, of different roles."""
    return [_draw_one(role, chance) for role in chance.sample(_ROLES, chance.randint(1, 3))]


def _draw_one(role: str, chance: random.Random) -> Kill:
    if role == "directory":
        return Kill(victim=role, point=chance.choice(_APPLY), nth=chance.randint(1, _WRITES))
    points = FAULT_POINTS if chance.random() < 0.15 else _ON_THE_WAY
    return Kill(victim=role, point=chance.choice(points), nth=chance.choice((1, 1, 1, 2)))


async def roam(mesh: Mesh, kills: Sequence[Kill], chance: random.Random, tally: Tally) -> int:
    """Steps while hosts die and come back; what must hold is looked at in the end. Says how many died."""
    for kill in kills:
        await mesh.restart(mesh.role(kill.victim), kill.fault)
    restarts: list[float] = []
    deaths = {name: asyncio.create_task(_die(mesh, name, restarts, tally)) for name in mesh.armed}
    async with begun_story(mesh) as story:
        async with story.writers as writers:
            here = mesh.source
            for _ in range(_STEPS):
                here = await _step(story, here, chance, restarts, tally)
                await writers.more()
            died = await _disarm(mesh, deaths)
            await writers.more()
            await story.settled_at(here)
            await story.move(_other(mesh, here))
        await story.check_ledger(_other(mesh, here))
        tally.writes += len(writers.acknowledged)
        await story.end()
    tally.runs += 1
    return died


async def _step(story: Story, here: str, chance: random.Random, restarts: list[float], tally: Tally) -> str:
    """One step; says where the paglet is then."""
    clock, known = asyncio.get_running_loop().time, len(restarts)
    name = chance.choices(("dispatch", "retract", "rest", "clone"), (5, 2, 2, 2))[0]
    there, door = _other(story.mesh, here), chance.choice(list(story.clients))
    error = None
    match name:
        case "dispatch":
            error = await story.dispatch(there, door=door)
        case "retract":
            error = await story.retract(there)
        case "clone":
            clone, error = await story.clone(chance.choice((here, there)))
            if error is None:
                await story.clients[door].dispose(clone)
        case _:
            await story.rest()
    tally.steps[name if error is None else f"{name} given up"] += 1
    tally.lags_s += [clock() - restart for restart in restarts[known:]]
    return there if name in {"dispatch", "retract"} and error is None else here


def _other(mesh: Mesh, here: str) -> str:
    return mesh.target if here == mesh.source else mesh.source


async def _die(mesh: Mesh, name: str, restarts: list[float], tally: Tally) -> None:
    point = mesh.armed[name].partition(":")[0]
    await mesh.hosts[name].ended(timeout_s=600)
    await mesh.died(name)
    await mesh.start(name)
    restarts.append(asyncio.get_running_loop().time())
    tally.deaths[point] += 1


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
