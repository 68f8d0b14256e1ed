"""Two operations and more on one id, and who dies in the first of them and comes back when: drawn, and done."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass

from paglets.client.client import Client
from paglets.host.arrival import ARRIVAL_POINTS
from paglets.host.births import BIRTH_POINTS
from paglets.host.cloning import CLONE_POINTS
from paglets.host.dormant import WAKING_POINTS
from paglets.host.ending import DISPOSAL_POINTS
from paglets.host.move import DEPARTURE_POINTS
from paglets.host.rest import REST_POINTS
from paglets.testing import eventually
from tests.kill.kills import Kill
from tests.kill.lives import Lives
from tests.kill.mesh import Mesh

__all__ = ["Fate", "draw_fate", "fulfil"]

_MOST_S = 6.0
"""How long a dead host may be waited for by an operation that it is to come back after."""

_MOVE = (*DEPARTURE_POINTS, *ARRIVAL_POINTS)
_POINTS = {
    "create": BIRTH_POINTS,
    "dispatch": _MOVE,
    "lay": _MOVE,
    "retract": _MOVE,
    "rest": REST_POINTS,
    "sleep": REST_POINTS,
    "activate": WAKING_POINTS,
    "clone": (*CLONE_POINTS, *ARRIVAL_POINTS),
    "dispose": DISPOSAL_POINTS,
}
_PLACELESS = {"dispose", "rest", "sleep", "activate"}
_APPLY = ("directory.apply.before", "directory.apply.after")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What is done before the deaths, and in them; who dies, and how many operations each death outlasts."""

    before: Sequence[str]
    operations: Sequence[str]
    kills: Sequence[Kill]
    outlasts: int = 0

    def __str__(self) -> str:
        kills = ", ".join(map(str, self.kills))
        return f"{', '.join(self.before)}; then {', '.join(self.operations)}; {kills}, back after {self.outlasts}"


def draw_fate(chance: random.Random) -> Fate:
    """The first operation, points that it passes, and what follows it."""
    first = chance.choice([*_POINTS, "dispose"])
    before = ["create source"]
    if first == "activate" or chance.random() < 0.4:
        before.append("sleep")
    elif chance.random() < 0.4:
        before.append("dispatch target")
    if first == "create":
        before.append("dispose")
    operations = [_placed(first, chance)]
    while len(operations) < 4:
        operations.append(_placed(_follower(operations, chance), chance))
    victims = chance.sample(["source", "target"], chance.choice([1, 1, 2]))
    kills = [Kill(victim=victim, point=chance.choice(_POINTS[first])) for victim in victims]
    if chance.random() < 0.2:
        kills = [Kill(victim="directory", point=chance.choice(_APPLY), nth=chance.randint(1, 6))]
    return Fate(before=before, operations=operations, kills=kills, outlasts=chance.randint(0, 2))


def _follower(operations: Sequence[str], chance: random.Random) -> str:
    if operations[-1] == "dispose":
        return "create"
    return chance.choice([word for word in (*_POINTS, "dispatch", "dispose") if word != "create"])


def _placed(word: str, chance: random.Random) -> str:
    return f"{word} {chance.choice(['source', 'target'])}" if word not in _PLACELESS else word


async def fulfil(mesh: Mesh, fate: Fate, chance: random.Random) -> Sequence[str]:
    """Lives a fate, and looks at the end whether all is as was acknowledged, and nothing else is left.

    Says what became of each operation.
    """
    async with AsyncExitStack() as stack:
        clients = {host.name: await stack.enter_async_context(Client(host.address)) for host in mesh}
        lives = Lives(mesh, clients, chance)
        for operation in fate.before:
            await lives.take(operation)
        for kill in fate.kills:
            mesh.arm(mesh.role(kill.victim), kill.fault)
        deaths = [asyncio.create_task(_die(mesh, mesh.role(kill.victim), lives, fate)) for kill in fate.kills]
        try:
            for operation in fate.operations:
                await lives.take(operation)
            await _disarm(mesh, fate, deaths)
        finally:
            for death in deaths:
                death.cancel()
        if not lives.is_alive:
            await lives.take("create source")
        await lives.take("activate")
        await lives.check()
        await lives.end()
        return lives.told


async def _die(mesh: Mesh, name: str, lives: Lives, fate: Fate) -> None:
    """Waits for a host to die; it is back when so many operations were answered without it, or cannot be."""
    await mesh.hosts[name].ended(timeout_s=600)
    wanted = len(lives.told) + fate.outlasts if name != mesh.directory else 0

    async def is_time() -> bool:
        return len(lives.told) >= wanted

    with suppress(TimeoutError):
        await eventually(is_time, _MOST_S, "operations without a host")
    await mesh.start(name)


async def _disarm(mesh: Mesh, fate: Fate, deaths: Sequence[asyncio.Task[None]]) -> None:
    """Waits for the dead to come back; starts those anew that have not passed their points."""
    for kill, death in zip(fate.kills, deaths, strict=True):
        name = mesh.role(kill.victim)
        if death.done() or not mesh.hosts[name].running:
            await death
            continue
        death.cancel()
        await asyncio.wait([death])
        await mesh.restart(name, "")
