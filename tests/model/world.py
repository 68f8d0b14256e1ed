"""What there is in the model: hosts with their journals and memories, one paglet's row, writes under way. Only values.

Symmetric worlds are one: a host that nothing has touched yet is as good as any other, so only the first of them is
chosen as a target; the second request is not sent before the first one has left a trace; transfers are numbered in the
order of their beginning.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

ACTIVE, DEPARTING, ARRIVING, INACTIVE, CLONING = "active", "departing", "arriving", "inactive", "cloning"
DISPOSED, UNBORN = "disposed", "unborn"  # both tombstones: of a life, and of a clone that was given up
GONE = frozenset({DISPOSED, UNBORN})
PREPARED, SEALED, ARRIVED = "prepared", "sealed", "arrived"
UP, PAUSED, DOWN = "up", "paused", "down"
DONE = "done"


class Row(NamedTuple):
    """The paglet's row; `transfer` (0 for none) and `target` are its intent."""

    owner: int
    epoch: int
    state: str
    transfer: int = 0
    target: int = -1


class Kept(NamedTuple):
    """A paglet in a journal: how often each request has run is its state, `replies` are the bits of stored ones.

    `policy` says that it was laid down by a request whose outcome is kept as done.
    """

    epoch: int
    runs: tuple[int, ...]
    replies: int = 0
    policy: bool = False


class Departure(NamedTuple):
    """A journey in its source's journal; one of epoch 0 is a clone's, inserted over a tombstone of epoch `over`."""

    transfer: int
    target: int
    epoch: int
    over: int = 0


class Arrival(NamedTuple):
    """A journey in its target's journal, with the snapshot."""

    transfer: int
    epoch: int
    phase: str
    snapshot: Kept


class Mem(NamedTuple):
    """The paglet in a host's memory: where its code stands, and the epoch and transfer that the host believes in."""

    step: str
    epoch: int = 0
    transfer: int = 0


class Host(NamedTuple):
    """One host. From `mem` on, what a kill takes away.

    `following` are committed journeys away from here, negative once the directory has forgotten them; `turn` is the
    running request plus one; `reading` a read under way; `unseen` a transfer of which no record was seen; `rests` says
    that the host takes the paglet for an inactive one.
    """

    status: str = UP
    kept: Kept | None = None
    leaving: tuple[Departure, ...] = ()
    coming: tuple[Arrival, ...] = ()
    mem: Mem | None = None
    ready: bool = True
    following: tuple[int, ...] = ()
    turn: int = 0
    reading: bool = False
    unseen: int = 0
    rests: bool = False


class Write(NamedTuple):
    """A guarded write of the row. One that is `absent` inserts over a tombstone of that `epoch`, or over nothing."""

    owner: int
    epoch: int
    transfer: int
    row: Row
    record: tuple[int, str] | None = None
    absent: bool = False


class Offer(NamedTuple):
    """A prepare on its way to a target."""

    target: int
    arrival: Arrival


class World(NamedTuple):
    """One state of everything. `records` are the journeys' outcomes in the directory; `late` what may yet be delivered.

    `acked` are the bits of acknowledged requests, `wrong` says what a client saw that must never be seen,
    `untrue` that an outcome is kept of what came to nothing.
    """

    row: Row | None
    hosts: tuple[Host, ...]
    records: tuple[tuple[int, str], ...] = ()
    late: frozenset[Write | Offer] = frozenset()
    acked: int = 0
    wrong: str = ""
    untrue: bool = False
    faults: int = 0
    lost: int = 0
    operations: int = 0
    transfers: int = 0


class Model(NamedTuple):
    """The bounds of a search, and the guard that is taken away.

    `faults` are kills and pauses, `lost` are directory writes and offers without an answer, `operations` what is asked
    for of those in `does`. `ordered` says that no request is sent before the one before it has left a trace.
    """

    hosts: int = 2
    faults: int = 2
    lost: int = 1
    operations: int = 1
    writes: int = 1
    does: frozenset[str] = frozenset({"dispatch"})
    reads: bool = False
    ordered: bool = True
    without: str = ""

    def has(self, guard: str) -> bool:
        """Whether a guard is in place."""
        return self.without != guard


class Step(NamedTuple):
    """One step, named as the code's fault points where it has one.

    `helps` is false for faults, for clients, and for what may never happen: nobody's life depends on those.
    """

    name: str
    world: World
    helps: bool = True


Steps = Iterator[Step]


def at(world: World, host: int, **changes: Any) -> World:  # noqa: ANN401 - fields of a host
    """The world with one host changed."""
    hosts = world.hosts
    return world._replace(hosts=(*hosts[:host], hosts[host]._replace(**changes), *hosts[host + 1 :]))


def recorded(world: World, transfer: int) -> str:
    """The outcome of a transfer in the directory; empty when there is no record."""
    return next((state for found, state in world.records if found == transfer), "")


def departure(host: Host, transfer: int) -> Departure | None:
    """A journey in the journal of its source."""
    return next((found for found in host.leaving if found.transfer == transfer), None)


def arrival(host: Host, transfer: int) -> Arrival | None:
    """A journey in the journal of its target."""
    return next((found for found in host.coming if found.transfer == transfer), None)


def fresh(world: World, host: int) -> bool:
    """Whether nothing has touched a host, and nothing names it."""
    if world.hosts[host] != Host():
        return False
    row = world.row
    if row is not None and host in {row.owner, row.target}:
        return False
    if any(found.target == host for other in world.hosts for found in other.leaving):
        return False
    return all(
        found.target != host if isinstance(found, Offer) else host not in {found.row.owner, found.row.target}
        for found in world.late
    )


def targets(world: World, source: int) -> list[int]:
    """Where a paglet may be sent: every other host, of the untouched ones only the first."""
    others = [host for host in range(len(world.hosts)) if host != source]
    untouched = [host for host in others if fresh(world, host)]
    return [host for host in others if host not in untouched[1:]]
