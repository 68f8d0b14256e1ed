"""Kills, pauses, and the restart of a host: it reads its row, raises the epoch by a write, and only then serves."""

from __future__ import annotations

from tests.model.directory import write
from tests.model.source import end_departure
from tests.model.world import (
    ACTIVE,
    DOWN,
    GONE,
    INACTIVE,
    PAUSED,
    UNBORN,
    UP,
    Host,
    Mem,
    Model,
    Row,
    Step,
    Steps,
    World,
    Write,
    at,
    fresh,
    recorded,
)


def faults(model: Model, world: World, number: int) -> Steps:
    """A host is killed, or stopped for longer than its lease; and the way back, which is no fault."""
    host = world.hosts[number]
    if host.status == DOWN:
        yield Step(f"start {number}", at(world, number, status=UP, mem=Mem("reading")))
    if host.status == PAUSED:
        yield Step(f"continue {number}", at(world, number, status=UP))
    if world.faults >= model.faults or fresh(world, number):
        return
    struck = world._replace(faults=world.faults + 1)
    if host.status == UP:
        yield Step(f"stop {number}", at(struck, number, status=PAUSED), helps=False)
    if host.status != DOWN:
        left = Host(DOWN, host.kept, host.leaving, host.coming, ready=False)
        yield Step(f"kill {number}", at(struck, number, **left._asdict()), helps=False)


def recovery(model: Model, world: World, number: int) -> Steps:
    """The next steps of a restart."""
    host, mem = world.hosts[number], world.hosts[number].mem
    if host.status != UP or mem is None:
        return
    match mem.step:
        case "reading":
            yield Step(f"recovery.read at {number}", _read(model, world, number))
        case "raising":
            yield from _raise(model, world, number, mem)
        case "finishing":
            yield from _finish(model, world, number, mem)
        case "burying":
            yield from _bury(model, world, number, mem)
        case "raised":
            yield Step(f"recovery.bring_back at {number}", _bring_back(world, number, mem))
        case "taking":
            yield Step(f"recovery.take_up at {number}", _take_up(model, world, number))
        case _:
            pass


def _read(model: Model, world: World, number: int) -> World:
    row = world.row
    if row is not None and row.owner == number and row.state == INACTIVE:
        return at(world, number, mem=Mem("taking"), rests=True)
    if row is not None and row.owner == number and row.state == ACTIVE:
        cut = _is_cut(world, number, row) and model.has("a cut rest is finished")
        return at(world, number, mem=Mem("finishing" if cut else "raising", row.epoch))
    if row is not None and row.owner == number and row.transfer and not model.has("an intent freezes"):
        return at(world, number, mem=Mem("open", row.epoch), ready=True)
    if _is_unborn(world, number) and model.has("a cut creation is buried"):
        return at(world, number, mem=Mem("burying", row.epoch if row is not None else 0))
    return at(world, number, mem=Mem("taking"))


def _is_cut(world: World, number: int, row: Row) -> bool:
    """Whether the journal has a rest that the directory never heard of."""
    kept = world.hosts[number].kept
    return kept is not None and kept.policy and kept.epoch == row.epoch


def _is_unborn(world: World, number: int) -> bool:
    """Whether the journal has a newborn whose insert may yet land."""
    kept, row = world.hosts[number].kept, world.row
    return kept is not None and not kept.epoch and (row is None or row.state in GONE)


def _bury(model: Model, world: World, number: int, mem: Mem) -> Steps:
    """A tombstone is put where the insert of a creation that was cut would have to go."""

    def buried(made: World) -> World:
        return at(made, number, kept=None, leaving=(), mem=Mem("taking"))

    before = world.row.state if world.row is not None and world.row.state in GONE else UNBORN
    yield from write(
        model,
        world,
        f"recovery.bury at {number}",
        Write(number, mem.epoch, 0, Row(number, 0, before), absent=True),
        known=buried,
        fenced=lambda found: at(found, number, mem=Mem("reading")),
    )


def _raise(model: Model, world: World, number: int, mem: Mem) -> Steps:
    raised = mem.epoch + 1 if model.has("a restart raises the epoch") else mem.epoch
    again = Mem("reading" if model.has("a fenced raise reads again") else "taking")
    yield from write(
        model,
        world,
        f"recovery.raise at {number}",
        Write(number, mem.epoch, 0, Row(number, raised, ACTIVE)),
        known=lambda made: at(made, number, mem=Mem("raised", raised)),
        fenced=lambda found: at(found, number, mem=again),
        settled=False,
    )


def _finish(model: Model, world: World, number: int, mem: Mem) -> Steps:
    """A rest that was cut between journal and directory is made: the outcome of its request says that it was."""
    yield from write(
        model,
        world,
        f"recovery.raise at {number}, a cut rest is finished",
        Write(number, mem.epoch, 0, Row(number, mem.epoch + 1, INACTIVE)),
        known=lambda made: at(made, number, mem=Mem("taking"), rests=True),
        fenced=lambda found: at(found, number, mem=Mem("reading")),
        settled=False,
    )


def _bring_back(world: World, number: int, mem: Mem) -> World:
    """The journal learns the epoch, and that journeys which were not committed have ended; the paglet is served."""
    for leaving in world.hosts[number].leaving:
        if not recorded(world, leaving.transfer):
            world = end_departure(world, number, leaving, left=False)
    host = world.hosts[number]
    if host.kept is None:
        return at(world, number, mem=None, ready=True)
    if host.kept.policy and mem.epoch <= host.kept.epoch + 1:  # no rest and no waking raised it meanwhile
        world = world._replace(untrue=True)
    kept = host.kept._replace(epoch=mem.epoch, policy=False)
    return _follow(at(world, number, kept=kept, mem=Mem("open", mem.epoch), ready=True), number)


def _take_up(model: Model, world: World, number: int) -> World:
    """Every journey in the journal is committed, or decided by this host, or over; what is not its own is dropped."""
    row, host = world.row, world.hosts[number]
    mine = row is not None and row.owner == number and row.state not in GONE
    mem = None
    for leaving in host.leaving:
        if row is not None and row.transfer == leaving.transfer:
            mem = Mem("decide", row.epoch, leaving.transfer)
        elif not recorded(world, leaving.transfer):
            world = end_departure(world, number, leaving, left=not mine)
    kept = world.hosts[number].kept
    if kept is not None and not host.leaving and not mine and (row is not None or kept.epoch == 0):
        world = at(world, number, kept=None)
    lost = mine and mem is None and not host.rests and row is not None and row.state == ACTIVE
    if lost and model.has("a fenced raise reads again"):
        return at(world, number, mem=Mem("reading"))
    return _follow(at(world, number, mem=mem, ready=True), number)


def _follow(world: World, number: int) -> World:
    host = world.hosts[number]
    committed = {found.transfer for found in host.leaving if recorded(world, found.transfer)}
    known = {abs(found) for found in host.following}
    return at(world, number, following=(*host.following, *sorted(committed - known)))
