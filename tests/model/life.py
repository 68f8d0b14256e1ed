"""Creation, clone, deactivation, activation, disposal: one commit point each, which is a write of the row."""

from __future__ import annotations

from tests.model.directory import is_serving, write
from tests.model.source import end_departure
from tests.model.world import (
    ACTIVE,
    CLONING,
    DISPOSED,
    GONE,
    INACTIVE,
    UNBORN,
    UP,
    Departure,
    Kept,
    Mem,
    Model,
    Row,
    Step,
    Steps,
    World,
    Write,
    at,
    departure,
    targets,
)


def begun(model: Model, world: World, host: int) -> Steps:
    """What somebody asks of a host: each operation that the model does."""
    found = world.hosts[host]
    if not is_serving(found):
        return
    if found.mem is None and found.kept is None and not found.leaving:
        yield from _birth(model, world, host)
    if world.operations >= model.operations:
        return
    asked = world._replace(operations=world.operations + 1)
    if "dispose" in model.does and found.mem is None and _sleeps(world, host) and world.row is not None:
        ending = at(asked, host, mem=Mem("ending", world.row.epoch))
        yield Step(f"dispose.find at {host}, it sleeps", ending, helps=False)
    if "dispose" in model.does:
        yield from _entomb_clone(model, asked, host)
    if found.mem is None or found.mem.step != "open":
        return
    if "deactivate" in model.does and not (found.turn and model.has("a running turn ends first")):
        mem = found.mem._replace(step="deactivating")
        yield Step(f"deactivate.quiesce at {host}", _silent(model, asked, host, mem), helps=False)
    if "dispose" in model.does:
        ending = _silent(model, asked, host, found.mem._replace(step="ending"))
        if model.has("a turn that outlives its paglet is fenced"):
            ending = at(ending, host, turn=0)
        yield Step(f"dispose.quiesce at {host}", ending, helps=False)


def _birth(model: Model, world: World, host: int) -> Steps:
    """A create or clone with a request id: repeated until there is a row, at any host, and never after that."""
    newborn = Kept(0, (0,) * model.writes)
    unborn = world.row is None or world.row.state == UNBORN
    if "create" in model.does and unborn and host in {0, targets(world, 0)[0]}:
        born = at(world, host, kept=newborn, mem=Mem("newborn", world.row.epoch if world.row is not None else 0))
        yield Step(f"create.journal at {host}", born, helps=False)
    if "clone" in model.does and unborn and host == 0 and world.operations < model.operations:
        transfer = world.transfers + 1
        cloning = world._replace(transfers=transfer, operations=world.operations + 1)
        over = world.row.epoch if world.row is not None else 0
        for target in targets(world, host):
            leaving = (Departure(transfer, target, 0, over),)
            made = at(cloning, host, kept=newborn, leaving=leaving, mem=Mem("cloning", 0, transfer))
            yield Step(f"clone.journal of {transfer} from {host} to {target}", made, helps=False)


def _silent(model: Model, world: World, host: int, mem: Mem) -> World:
    reading = world.hosts[host].reading and not model.has("reads are interrupted")
    return at(world, host, mem=mem, reading=reading)


def lives(model: Model, world: World, host: int) -> Steps:
    """The next steps of what was begun."""
    found, row = world.hosts[host], world.row
    if found.status != UP:
        return
    if found.mem is None:
        if _sleeps(world, host) and row is not None and found.ready:
            yield Step(f"activate.load at {host}", at(world, host, mem=Mem("activating", row.epoch)))
        elif found.rests and row is not None and row == Row(host, row.epoch, ACTIVE):
            yield from _take_back(model, world, host, row)
        elif _has_ended(world, host):
            yield Step(f"activate.load at {host}, it has ended", at(world, host, kept=None, rests=False))
        return
    match found.mem.step:
        case "newborn":
            yield from _insert(model, world, host, found.mem)
        case "cloning":
            yield from _insert_clone(model, world, host, found.mem)
        case "activating":
            yield from _activate(model, world, host, found.mem)
        case "woken":
            yield Step(f"activate.journal at {host}", _woken(world, host, found.mem))
        case "deactivating":
            yield Step(f"deactivate.journal at {host}", _laid(world, host, found.mem))
        case "resting":
            yield from _deactivate(model, world, host, found.mem)
        case "ending":
            yield from _entomb(model, world, host, found.mem)
        case "ended":
            yield Step(f"dispose.journal at {host}", at(world, host, kept=None, mem=None))
        case _:
            pass


def _sleeps(world: World, host: int) -> bool:
    return world.row is not None and world.row.owner == host and world.row.state == INACTIVE


def _has_ended(world: World, host: int) -> bool:
    """Whether what a host has laid down is over, or another's, as it finds out when it looks."""
    found, row = world.hosts[host], world.row
    rests = found.ready and not found.leaving and found.kept is not None and found.kept.policy
    return rests and row is not None and (row.owner != host or row.state in GONE)


def _woken(world: World, host: int, mem: Mem) -> World:
    kept = world.hosts[host].kept
    assert kept is not None
    kept = kept._replace(epoch=mem.epoch, policy=False)
    return at(world, host, kept=kept, mem=Mem("open", mem.epoch), rests=False)


def _laid(world: World, host: int, mem: Mem) -> World:
    kept = world.hosts[host].kept
    assert kept is not None
    return at(world, host, kept=kept._replace(epoch=mem.epoch, policy=True), mem=mem._replace(step="resting"))


def _insert(model: Model, world: World, host: int, mem: Mem) -> Steps:
    def born(made: World) -> World:
        assert made.row is not None
        return at(made, host, mem=Mem("raised", made.row.epoch))

    def refused(found: World) -> World:
        return at(found, host, mem=None, kept=None)

    wanted = Write(host, mem.epoch, 0, Row(host, 0, ACTIVE), absent=True)
    yield from write(model, world, f"create.directory at {host}", wanted, born, refused)


def _insert_clone(model: Model, world: World, host: int, mem: Mem) -> Steps:
    leaving = departure(world.hosts[host], mem.transfer)
    assert leaving is not None

    def inserted(made: World) -> World:
        assert made.row is not None
        return at(made, host, mem=Mem("intended", made.row.epoch, mem.transfer))

    def refused(found: World) -> World:
        return at(end_departure(found, host, leaving, left=True), host, mem=None)

    row = Row(host, 0, CLONING, leaving.transfer, leaving.target)
    wanted = Write(host, leaving.over, 0, row, absent=True)
    yield from write(model, world, f"clone.intent at {host}", wanted, inserted, refused)


def _activate(model: Model, world: World, host: int, mem: Mem) -> Steps:
    epoch = mem.epoch + 1 if model.has("an activation raises the epoch") else mem.epoch
    wanted = Write(host, mem.epoch, 0, Row(host, epoch, ACTIVE))
    yield from write(
        model,
        world,
        f"activate.directory at {host}",
        wanted,
        known=lambda made: at(made, host, mem=Mem("woken", epoch)),
        fenced=lambda found: at(found, host, mem=None),
    )


def _take_back(model: Model, world: World, host: int, row: Row) -> Steps:
    """A waking of the life before has landed late; this host never knew of it, and lays the paglet down anew."""
    if model.has("a waking that lands late is taken back"):
        wanted = Write(host, row.epoch, 0, Row(host, row.epoch + 1, INACTIVE))
        name = f"activate.load at {host}, laid down anew"
        yield from write(model, world, name, wanted, known=lambda made: made, fenced=lambda found: found)


def _deactivate(model: Model, world: World, host: int, mem: Mem) -> Steps:
    epoch = mem.epoch + 1 if model.has("a deactivation raises the epoch") else mem.epoch
    wanted = Write(host, mem.epoch, 0, Row(host, epoch, INACTIVE))
    yield from write(
        model,
        world,
        f"deactivate.directory at {host}",
        wanted,
        known=lambda made: at(made, host, mem=None, rests=True),
        fenced=lambda found: at(found, host, mem=None),
    )


def _entomb_clone(model: Model, world: World, host: int) -> Steps:
    """A clone on its way is ended, whatever its journey is doing and whether or not it is known here."""
    row = world.row
    if row is not None and (row.owner, row.state) == (host, CLONING):
        wanted = Write(host, row.epoch, row.transfer, Row(host, row.epoch + 1, DISPOSED))
        name = f"dispose.directory at {host}, a clone"
        yield from write(model, world, name, wanted, known=lambda made: made, fenced=lambda found: found)


def _entomb(model: Model, world: World, host: int, mem: Mem) -> Steps:
    fenced = None if model.has("who cannot end it lets it go") else mem._replace(step="open")
    wanted = Write(host, mem.epoch, 0, Row(host, mem.epoch, DISPOSED))
    yield from write(
        model,
        world,
        f"dispose.directory at {host}",
        wanted,
        known=lambda made: at(made, host, mem=mem._replace(step="ended")),
        fenced=lambda found: at(found, host, mem=fenced, turn=0),
    )
