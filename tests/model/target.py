"""A journey at its target: seal, look, arrive; drop what was given up. The directory's word alone decides."""

from __future__ import annotations

from tests.model.directory import apply, is_serving, write
from tests.model.source import commit_of
from tests.model.world import (
    ACTIVE,
    ARRIVED,
    ARRIVING,
    DONE,
    PREPARED,
    SEALED,
    UP,
    Arrival,
    Mem,
    Model,
    Row,
    Step,
    Steps,
    World,
    Write,
    at,
    recorded,
)


def arrivals(model: Model, world: World, target: int) -> Steps:
    """The next steps of every transfer to a host that answers."""
    host = world.hosts[target]
    if not is_serving(host):
        return
    for coming in host.coming:
        if coming.phase == PREPARED:
            sealed = _put(world, target, coming, coming._replace(phase=SEALED))
            yield Step(f"transfer.seal of {coming.transfer} at {target}", sealed)
        yield from _look(model, world, target, coming)
        if not model.has("the directory's word lets drop") and coming.phase != ARRIVED:
            yield Step(f"arrival.drop of {coming.transfer} at {target}, unasked", _put(world, target, coming, None))


def _look(model: Model, world: World, target: int, coming: Arrival) -> Steps:
    row, transfer, host = world.row, coming.transfer, world.hosts[target]
    if not model.has("the directory's word lets arrive") and coming.phase == SEALED and host.mem is None:
        landed = at(_landed(world, target, coming, coming.epoch + 1), target, mem=Mem("open", coming.epoch + 1))
        yield Step(f"arrival.settle of {transfer} at {target}, unasked", landed)
    if not model.has("the row is read before the record"):
        if not recorded(world, transfer) and host.unseen != transfer and coming.phase != ARRIVED:
            yield Step(f"arrival.look at {target}: no record", at(world, target, unseen=transfer))
        if host.unseen == transfer and (row is None or row.transfer != transfer):
            dropped = at(_put(world, target, coming, None), target, unseen=0)
            yield Step(f"arrival.drop of {transfer} at {target}", dropped)
    if row is not None and row.transfer == transfer:
        return
    if row is not None and (recorded(world, transfer) or coming.phase == ARRIVED):
        yield from _arrive(model, world, target, coming, row)
    else:
        yield Step(f"arrival.drop of {transfer} at {target}", _put(world, target, coming, None))


def _arrive(model: Model, world: World, target: int, coming: Arrival, row: Row) -> Steps:
    mem = world.hosts[target].mem
    if coming.phase == SEALED:
        yield Step(f"arrival.settle of {coming.transfer} at {target}", _landed(world, target, coming, row.epoch))
    elif mem is not None and mem == Mem("settled", row.epoch, coming.transfer):
        yield from _record(model, world, target, mem)
    elif coming.phase == ARRIVED:
        told = {ARRIVING, ACTIVE} if model.has("an arrival that was told late is loaded") else {ARRIVING}
        if mem is None and row.state in told and row == Row(target, coming.epoch + 1, row.state):
            loaded = at(world, target, mem=Mem("settled", row.epoch, coming.transfer))
            yield Step(f"arrival.settle of {coming.transfer} at {target}, loaded again", loaded)
        else:
            yield Step(f"arrival.finish of {coming.transfer} at {target}", _put(world, target, coming, None))


def _landed(world: World, target: int, coming: Arrival, epoch: int) -> World:
    """The first turn has ended: it, the paglet and the outcome are kept in one step."""
    mem = Mem("settled", epoch, coming.transfer)
    landed = _put(world, target, coming, coming._replace(phase=ARRIVED))
    return at(landed, target, kept=coming.snapshot._replace(epoch=epoch), mem=mem)


def _record(model: Model, world: World, target: int, mem: Mem) -> Steps:
    wanted = Write(target, mem.epoch, 0, Row(target, mem.epoch, ACTIVE), (mem.transfer, DONE))
    yield from write(
        model,
        world,
        f"arrival.record of {mem.transfer} at {target}",
        wanted,
        known=lambda made: at(made, target, mem=Mem("open", mem.epoch)),
        fenced=lambda found: at(found, target, mem=None),
    )


def _put(world: World, target: int, coming: Arrival, after: Arrival | None) -> World:
    rest = [found for found in world.hosts[target].coming if found != coming]
    return at(world, target, coming=tuple(sorted(rest if after is None else [*rest, after])))


def takeovers(model: Model, world: World, target: int) -> Steps:
    """An operator gives up on a source: a target that has everything makes the commit itself."""
    row, host = world.row, world.hosts[target]
    if "take over" not in model.does or not is_serving(host) or row is None or row.target != target:
        return
    if world.hosts[row.owner].status == UP and model.has("the source's lease has lapsed"):
        return
    if any(found.transfer == row.transfer and found.phase == SEALED for found in host.coming):
        made = apply(model, world, commit_of(row.owner, row.epoch, row.transfer, target))
        if made is not None:
            yield Step(f"{target} takes over", made, helps=False)
