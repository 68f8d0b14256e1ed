"""Looks at every world that can be reached, breadth first, for one that breaks a promise: its trace is a shortest."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from tests.model import client, directory, life, restart, source, target
from tests.model.world import (
    ACTIVE,
    ARRIVED,
    ARRIVING,
    DOWN,
    GONE,
    SEALED,
    Host,
    Kept,
    Mem,
    Model,
    Row,
    Steps,
    World,
)

TWO_LIVE = "two copies are live"
LOST = "an acknowledged write is lost"
TWICE = "a request ran twice"
NO_COPY = "the owner has no copy"
NOT_ITS_OWN = "a host answers for what it does not own"
UNTRUE = "what is kept as done never was"
DEAD = "no live owner can be reached any more"


class Found(NamedTuple):
    """What a search came to: how many worlds there are, the steps by name, and the broken promise with its trace."""

    worlds: int
    names: frozenset[str]
    broken: str = ""
    trace: tuple[str, ...] = ()

    def __str__(self) -> str:
        told = "".join(f"\n{number:3} {name}" for number, name in enumerate(self.trace, start=1))
        return f"{self.broken or 'every promise holds'} in {self.worlds} worlds{told}"


def beginning(model: Model) -> World:
    """The paglet lives at host 0; or is not there yet, where the model is about its beginning."""
    rest = (Host(),) * (model.hosts - 1)
    if model.does & {"create", "clone"}:
        return World(None, (Host(), *rest))
    owner = Host(kept=Kept(1, (0,) * model.writes), mem=Mem("open", 1))
    return World(Row(0, 1, ACTIVE), (owner, *rest))


def steps(model: Model, world: World) -> Steps:
    """Everything that can happen next."""
    for host in range(model.hosts):
        yield from restart.recovery(model, world, host)
        yield from source.journey(model, world, host)
        yield from source.farewells(model, world, host)
        yield from target.arrivals(model, world, host)
        yield from life.lives(model, world, host)
        yield from restart.faults(model, world, host)
        yield from target.takeovers(model, world, host)
        yield from client.calls(model, world, host)
        yield from life.begun(model, world, host)
        if "dispatch" in model.does:
            yield from source.dispatch(model, world, host)
    yield from directory.deliver(model, world)


def broken(world: World) -> str:
    """The promise that a world breaks; empty when it keeps them all."""
    live = [host for host in world.hosts if host.mem is not None and host.mem.step in {"open", "settled"}]
    if world.wrong:
        return NOT_ITS_OWN
    if world.untrue:
        return UNTRUE
    if len(live) > 1:
        return TWO_LIVE
    if world.row is None or world.row.state in GONE:
        return ""
    copy = _copy(world, world.row)
    if copy is None:
        return NO_COPY
    if any(runs > 1 for runs in copy.runs):
        return TWICE
    if any(world.acked & 1 << request and not runs for request, runs in enumerate(copy.runs)):
        return LOST
    return ""


def _copy(world: World, row: Row) -> Kept | None:
    """The copy that counts, by the directory's word."""
    owner = world.hosts[row.owner]
    if row.state != ARRIVING:
        return owner.kept
    for found in owner.coming:
        if found.epoch + 1 == row.epoch and found.phase in {SEALED, ARRIVED}:
            return found.snapshot if found.phase == SEALED else owner.kept
    return None


def settled(world: World) -> bool:
    """Whether the paglet is served by its owner, or there is none."""
    row = world.row
    if row is None or row.state in GONE:
        return True
    owner = world.hosts[row.owner]
    return row.state == ACTIVE and not row.transfer and owner.status != DOWN and owner.mem == Mem("open", row.epoch)


def search(model: Model) -> Found:
    """Looks at all worlds; stops at the first that breaks a promise, and then looks whether all can be helped."""
    first = beginning(model)
    number = {first: 0}
    came: list[tuple[int, str]] = [(-1, "")]
    helped_by: list[list[int]] = [[]]
    calm = [0] if settled(first) else []
    queue = deque([first])
    while queue:
        world = queue.popleft()
        here = number[world]
        for step in steps(model, world):
            there = number.get(step.world)
            if there is None:
                there = number[step.world] = len(came)
                came.append((here, step.name))
                helped_by.append([])
                if promise := broken(step.world):
                    return _found(came, promise, there)
                if settled(step.world):
                    calm.append(there)
                queue.append(step.world)
            if step.helps:
                helped_by[there].append(here)
    lost = _beyond_help(helped_by, calm)
    return _found(came) if lost is None else _found(came, DEAD, lost)


def _found(came: list[tuple[int, str]], promise: str = "", world: int = 0) -> Found:
    names = frozenset(name.partition(" ")[0] for _, name in came)
    return Found(len(came), names, promise, _trace(came, world))


def _beyond_help(helped_by: list[list[int]], calm: list[int]) -> int | None:
    """The first world from which no steps that help lead to a calm one."""
    reached = bytearray(len(helped_by))
    for world in calm:
        reached[world] = 1
    queue = deque(calm)
    while queue:
        for before in helped_by[queue.popleft()]:
            if not reached[before]:
                reached[before] = 1
                queue.append(before)
    missing = reached.find(0)
    return None if missing < 0 else missing


def _trace(came: list[tuple[int, str]], world: int) -> tuple[str, ...]:
    names: list[str] = []
    while world:
        world, name = came[world]
        names.append(name)
    return tuple(reversed(names))
