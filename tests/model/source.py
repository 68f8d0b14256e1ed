"""A journey at its source: quiesce, intent, prepare, push, seal, commit; on the way back abort; at the end forget.

A retract is a dispatch that the target asks for: the owner runs the same steps. A clone joins them after its insert.
"""

from __future__ import annotations

from tests.model.directory import is_serving, take_offer, write
from tests.model.world import (
    ACTIVE,
    ARRIVING,
    DEPARTING,
    DONE,
    PREPARED,
    SEALED,
    UNBORN,
    UP,
    Arrival,
    Departure,
    Mem,
    Model,
    Offer,
    Row,
    Step,
    Steps,
    World,
    Write,
    arrival,
    at,
    departure,
    recorded,
    targets,
)


def dispatch(model: Model, world: World, source: int) -> Steps:
    """A dispatch is asked for, and the paglet falls silent."""
    host, mem = world.hosts[source], world.hosts[source].mem
    if mem is None or mem.step != "open" or world.operations >= model.operations or host.kept is None:
        return
    if host.turn and model.has("a running turn ends first"):
        return
    transfer = world.transfers + 1
    for target in targets(world, source):
        silent = at(
            world._replace(transfers=transfer, operations=world.operations + 1),
            source,
            leaving=(*host.leaving, Departure(transfer, target, mem.epoch)),
            kept=host.kept._replace(epoch=mem.epoch),
            mem=Mem("quiet", mem.epoch, transfer),
            reading=host.reading and not model.has("reads are interrupted"),
        )
        yield Step(f"journey.quiesce of {transfer} from {source} to {target}", silent, helps=False)


def journey(model: Model, world: World, source: int) -> Steps:
    """The next steps of a journey whose source is awake."""
    host, mem = world.hosts[source], world.hosts[source].mem
    if host.status != UP or mem is None or (leaving := departure(host, mem.transfer)) is None:
        return
    match mem.step:
        case "quiet":
            yield from _intent(model, world, source, leaving)
        case "intended":
            yield from _bring(model, world, source, leaving)
            yield from _give_up(model, world, source)
        case "pushed":
            yield from _commit(model, world, source, leaving)
            if not model.has("giving up is a write"):
                yield from _give_up(model, world, source)
        case "decide":
            yield from _sealed(world, source, leaving)
            yield Step(
                f"journey.abort.before at {source}, the target is not asked",
                at(world, source, mem=mem._replace(step="aborting")),
            )
        case "aborting":
            yield from _abort(model, world, source, leaving)
        case "aborted":
            yield Step(f"journey.abort at {source}", _stay(world, source, leaving))
        case _:
            pass


def _intent(model: Model, world: World, source: int, leaving: Departure) -> Steps:
    mem = _mem(world, source)
    row = Row(source, mem.epoch, DEPARTING, leaving.transfer, leaving.target)
    yield from write(
        model,
        world,
        f"journey.intent at {source}",
        Write(source, mem.epoch, 0, row),
        known=lambda made: at(made, source, mem=mem._replace(step="intended")),
        fenced=lambda found: at(found, source, mem=mem._replace(step="aborting")),
    )


def _bring(model: Model, world: World, source: int, leaving: Departure) -> Steps:
    kept, mem = world.hosts[source].kept, _mem(world, source)
    if kept is None:
        return
    replies = kept.replies if model.has("stored replies travel") else 0
    offer = Offer(
        leaving.target, Arrival(leaving.transfer, mem.epoch, PREPARED, kept._replace(epoch=0, replies=replies))
    )
    if (taken := take_offer(model, world, offer)) is not None:
        yield Step(f"transfer.prepare at {leaving.target}", taken)
    if world.lost < model.lost and offer not in world.late:
        lost = world._replace(late=world.late | {offer}, lost=world.lost + 1)
        yield Step(f"transfer.prepare at {leaving.target} (no answer)", lost, helps=False)
    yield from _sealed(world, source, leaving)
    if not model.has("a commit needs the seal"):
        yield Step(f"journey.push at {source}", at(world, source, mem=mem._replace(step="pushed")))


def _sealed(world: World, source: int, leaving: Departure) -> Steps:
    """The source hears that the target has everything."""
    target = world.hosts[leaving.target]
    found = arrival(target, leaving.transfer)
    if is_serving(target) and found is not None and found.phase == SEALED:
        pushed = _mem(world, source)._replace(step="pushed")
        yield Step(f"journey.seal at {source}", at(world, source, mem=pushed))


def commit_of(source: int, epoch: int, transfer: int, target: int) -> Write:
    """The one write that changes the owner."""
    return Write(source, epoch, transfer, Row(target, epoch + 1, ARRIVING), (transfer, ARRIVING))


def _commit(model: Model, world: World, source: int, leaving: Departure) -> Steps:
    def gone(made: World) -> World:
        return at(made, source, mem=None, turn=0, following=(*made.hosts[source].following, leaving.transfer))

    def fenced(found: World) -> World:
        return gone(found) if recorded(found, leaving.transfer) else _lose(found, source, leaving)

    wanted = commit_of(source, _mem(world, source).epoch, leaving.transfer, leaving.target)
    yield from write(model, world, f"journey.commit at {source}", wanted, known=gone, fenced=fenced)


def _give_up(model: Model, world: World, source: int) -> Steps:
    step = "aborting" if model.has("giving up is a write") else "open"
    yield Step(f"journey.abort.before at {source}", at(world, source, mem=_mem(world, source)._replace(step=step)))


def _abort(model: Model, world: World, source: int, leaving: Departure) -> Steps:
    mem = _mem(world, source)
    raised = mem.epoch + 1 if model.has("giving up raises the epoch") else mem.epoch
    row = Row(source, raised, ACTIVE if leaving.epoch else UNBORN)
    yield from write(
        model,
        world,
        f"journey.abort.directory at {source}",
        Write(source, mem.epoch, leaving.transfer, row),
        known=lambda made: at(made, source, mem=Mem("aborted", raised, leaving.transfer)),
        fenced=lambda found: _lose(found, source, leaving),
    )


def _stay(world: World, source: int, leaving: Departure) -> World:
    """The journal learns that the journey is over; the paglet goes on, and a clone that never was is dropped."""
    epoch = _mem(world, source).epoch
    ended = end_departure(world, source, leaving, left=not leaving.epoch, epoch=epoch)
    return at(ended, source, mem=Mem("open", epoch) if leaving.epoch else None)


def _lose(world: World, source: int, leaving: Departure) -> World:
    """The row is not what it was: the paglet goes on if it is this host's still, else it is let go."""
    row = world.row
    if row is not None and row.owner == source and row.state == ACTIVE:
        ended = end_departure(world, source, leaving, left=False, epoch=row.epoch)
        return at(ended, source, mem=Mem("open", row.epoch))
    return at(end_departure(world, source, leaving, left=True), source, mem=None, turn=0)


def end_departure(
    world: World, source: int, leaving: Departure, *, left: bool, epoch: int = 0, by_epoch: bool = True
) -> World:
    """Drops a journey from the journal: with the paglet that left, unless a later life of it is kept by now."""
    host = world.hosts[source]
    kept = host.kept
    if kept is not None and (kept.epoch == leaving.epoch or not by_epoch):
        kept = None if left else kept._replace(epoch=epoch or kept.epoch)
    return at(world, source, kept=kept, leaving=tuple(found for found in host.leaving if found != leaving))


def farewells(model: Model, world: World, source: int) -> Steps:
    """What is left to do for journeys that were committed."""
    host = world.hosts[source]
    if host.status != UP:
        return
    for transfer in host.following:
        rest = tuple(found for found in host.following if found != transfer)
        if transfer > 0:
            outcome = recorded(world, transfer)
            if outcome in {"", DONE} or not model.has("forgetting waits for the outcome"):
                records = tuple(found for found in world.records if found[0] != transfer)
                yield Step(
                    f"journey.forget.directory of {transfer} at {source}",
                    at(world._replace(records=records), source, following=(*rest, -transfer)),
                )
        elif (leaving := departure(host, -transfer)) is not None:
            ended = end_departure(
                world, source, leaving, left=True, by_epoch=model.has("forgetting spares a later life")
            )
            yield Step(f"journey.forget of {-transfer} at {source}", at(ended, source, following=rest))


def _mem(world: World, source: int) -> Mem:
    mem = world.hosts[source].mem
    assert mem is not None
    return mem
