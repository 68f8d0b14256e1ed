"""The directory: a guarded write is made, is fenced, or loses its answer and may land at any time later."""

from __future__ import annotations

from collections.abc import Callable

from tests.model.world import GONE, Host, Model, Offer, Row, Step, Steps, World, Write, arrival, at

Change = Callable[[World], World]


def holds(model: Model, write: Write, row: Row | None) -> bool:
    """Whether the row is as the write wants it."""
    tombstone = row is None or row.state in GONE
    if write.absent or row is None or tombstone:
        epoch = row.epoch if row is not None else 0
        return write.absent and tombstone and (write.epoch == epoch or not model.has("an insert names the tombstone"))
    return (
        (write.owner == row.owner or not model.has("a write names the owner"))
        and (write.epoch == row.epoch or not model.has("a write names the epoch"))
        and (write.transfer == row.transfer or not model.has("a write names the intent"))
    )


def apply(model: Model, world: World, write: Write) -> World | None:
    """The world in which the write is made; None when its guard does not hold."""
    if not holds(model, write, world.row):
        return None
    row = write.row
    if write.absent:
        row = row._replace(epoch=world.row.epoch + 1 if world.row is not None else 1)
    records = dict(world.records)
    if write.record is not None:
        records[write.record[0]] = write.record[1]
    return world._replace(row=row, records=tuple(sorted(records.items())), late=_live(model, world.late, row.epoch))


def _live(model: Model, late: frozenset[Write | Offer], epoch: int) -> frozenset[Write | Offer]:
    """What may yet do something: epochs only grow, so a write that names an older one never holds again."""
    if not (model.has("a write names the epoch") and model.has("an insert names the tombstone")):
        return late
    return frozenset(found for found in late if isinstance(found, Offer) or found.epoch >= epoch)


def write(
    model: Model, world: World, name: str, wanted: Write, known: Change, fenced: Change, *, settled: bool = True
) -> Steps:
    """A write that its host repeats until it knows the outcome; `settled`: a row that is as wanted is a success."""
    made = apply(model, world, wanted)
    if made is not None:
        yield Step(name, known(made))
    elif settled and _is(world.row, wanted):
        yield Step(f"{name} (was made)", known(world))
    else:
        yield Step(f"{name} (fenced)", fenced(world))
    if world.lost < model.lost:
        lost = world._replace(late=world.late | {wanted}, lost=world.lost + 1)
        if not model.has("an outcome is read, not guessed"):
            lost = known(lost)
        yield Step(f"{name} (no answer)", lost, helps=False)


def _is(found: Row | None, wanted: Write) -> bool:
    return found is not None and found == wanted.row._replace(epoch=found.epoch if wanted.absent else wanted.row.epoch)


def deliver(model: Model, world: World) -> Steps:
    """What had no answer lands, if it lands at all: maybe after its sender was killed and started again."""
    for found in world.late:
        rest = world._replace(late=world.late - {found})
        if isinstance(found, Offer):
            if (taken := take_offer(model, rest, found)) is not None:
                yield Step("transfer.prepare (late)", taken, helps=False)
        elif (made := apply(model, rest, found)) is not None:
            yield Step(f"the write to {found.row.state} lands late", made, helps=False)


def take_offer(model: Model, world: World, offer: Offer) -> World | None:
    """A target keeps an offer whose intent it has read in the directory; None when it does not, or cannot be asked."""
    host: Host = world.hosts[offer.target]
    if not is_serving(host) or arrival(host, offer.arrival.transfer) is not None:
        return None
    row, transfer = world.row, offer.arrival.transfer
    intended = row is not None and row.transfer == transfer and row.target == offer.target
    if not intended and model.has("an offer needs its intent"):
        return None
    return at(world, offer.target, coming=(*host.coming, offer.arrival))


def is_serving(host: Host) -> bool:
    """Whether a host answers: it runs, and its recovery is over."""
    return host.status == "up" and host.ready
