"""The contract of the directory: who owns which paglet. No directory lives in this file.

Rows change by guarded writes alone; a guard that does not hold changes nothing. Leases only tell when to look, never
who owns.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from paglets.discovery import ServiceKey, ServiceRecord
from paglets.values import HostRef, PagletState

__all__ = [
    "Directory",
    "Guard",
    "HostRegistration",
    "Intent",
    "JourneyRecord",
    "PagletRow",
    "RowEvent",
    "RowNotice",
    "RowWrite",
    "ServiceNews",
]


@dataclass(frozen=True, slots=True)
class Intent:
    """A journey that has begun: only `transfer_id` may change the owner, and only to `target`."""

    transfer_id: str
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PagletRow:
    """What the directory knows of a paglet.

    `epoch`, `revision` and `created_at` (seconds since the epoch) are set by the directory when a row is inserted, the
    revision at each write: an epoch begins at the row's first revision, so an id used again never meets an old epoch.
    `request_id` created the paglet, or, in a tombstone, ended it; `earlier_request_id` is the one before: what created
    the paglet of a tombstone, or ended the life before this one. Late duplicates are known by it.
    """

    paglet_id: str
    type: str
    owner: str
    state: PagletState
    epoch: int = 0
    intent: Intent | None = None
    revision: int = 0
    request_id: str = ""
    fingerprint: bytes = b""
    created_at: float = 0.0
    error: str = ""
    earlier_request_id: str = ""

    @property
    def is_unborn(self) -> bool:
        """Whether this is the tombstone of a creation that was cut, so that its insert cannot come late."""
        return self.state is PagletState.DISPOSED and not self.request_id and not self.earlier_request_id


@dataclass(frozen=True, slots=True)
class Guard:
    """What must hold for a write.

    The row's owner, epoch and intent (`transfer_id` empty for none); or, with `absent`, that there is a tombstone of
    this epoch, or for 0 no row: an insert that comes late never brings a later life back.
    """

    paglet_id: str
    owner: str = ""
    epoch: int = 0
    transfer_id: str = ""
    absent: bool = False

    @staticmethod
    def on(row: PagletRow) -> Guard:
        """Holds while nobody changed the owner, epoch or intent of `row`."""
        return Guard(row.paglet_id, row.owner, row.epoch, row.intent.transfer_id if row.intent else "")

    @staticmethod
    def after(paglet_id: str, tombstone: PagletRow | None) -> Guard:
        """Holds while nobody used the id again: since the life that the tombstone ended, or, without one, ever."""
        return Guard(paglet_id, epoch=tombstone.epoch if tombstone is not None else 0, absent=True)


@dataclass(frozen=True, slots=True)
class RowWrite:
    """One guarded write; a tombstone is a row in state DISPOSED.

    `cause` is why, as a word that people and programs are told: that of the event of the paglet's life.
    """

    guard: Guard
    row: PagletRow
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RowEvent:
    """One write of one row that was made: what became of a paglet, why, and when (seconds since the epoch).

    `former_owner` is the owner before, empty for an insert. `transfer_id` is the journey that the write begins, ends or
    tells the outcome of, `target` where one that begins goes; both are empty for none.
    """

    revision: int
    paglet_id: str
    type: str
    owner: str
    state: PagletState
    epoch: int
    cause: str
    former_owner: str = ""
    transfer_id: str = ""
    target: str = ""
    error: str = ""
    happened_at: float = 0.0


@dataclass(frozen=True, slots=True)
class RowNotice:
    """What a watch of events tells: one event, or, without one, only how far the watch has come.

    `cursor` is where to go on after it, `revision` the last write that was looked at.
    """

    cursor: str
    revision: int
    event: RowEvent | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JourneyRecord:
    """The outcome of a committed journey, kept until the source has read it: ARRIVING, then how it ended.

    It ends ACTIVE, INACTIVE, or FAILED: then `status` is an encoded google.rpc.Status.
    """

    transfer_id: str
    paglet_id: str
    source: str
    target: str
    state: PagletState
    status: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRegistration:
    """How a host makes itself known. `uid` is that of its data folder: two folders never share a name.

    `services` are the resident ones that it declares, in place of those that it declared before.
    """

    name: str
    uid: str
    address: str
    version: str = ""
    types: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    properties: Mapping[str, str] = field(default_factory=dict[str, str])
    services: tuple[ServiceRecord, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceNews:
    """What became of records of services since the news before; what is told is complete only without `more`.

    With `anew` what was told before counts no more. `now` is the directory's time, by which records end.
    """

    now: float
    records: tuple[ServiceRecord, ...] = ()
    gone: tuple[ServiceKey, ...] = ()
    anew: bool = False
    more: bool = False


class Directory(Protocol):
    """The rows of a mesh. Every implementation passes the same contract suite.

    Raises DIRECTORY_UNAVAILABLE when it cannot be reached; after that error the outcome of `apply` is unknown.
    """

    async def get(self, paglet_id: str) -> PagletRow | None:
        """Reads one row, a tombstone included; None when the id was never used. Never from a cache."""
        ...

    async def list(
        self, *, after: str = "", limit: int = 1000, owner: str = "", type_name: str = "", awake: bool = False
    ) -> Sequence[PagletRow]:
        """Reads rows with ids after `after` in order, tombstones left out; fewer than `limit` means the last.

        With `awake`, inactive paglets are left out too.
        """
        ...

    async def apply(
        self,
        writes: Sequence[RowWrite],
        *,
        journeys: Sequence[JourneyRecord] = (),
        forget: Sequence[str] = (),
        above: int = 0,
    ) -> Sequence[PagletRow]:
        """Makes all writes durably, or none.

        An update keeps the epoch or raises it by one, and must raise it when the owner changes or an intent goes. At
        most 1000 writes, journeys and forgets together. Raises EPOCH_FENCED (ConflictError) naming the first guard that
        did not hold, MALFORMED_REQUEST. Also writes `journeys` and deletes the records of the transfers in `forget`.
        Returns the rows as written. Their revisions, and so the epochs of inserts, and all later ones are greater than
        `above`, also where a directory that was lost had counted further.
        """
        ...

    def watch(self, after_revision: int) -> AsyncIterator[PagletRow]:
        """Rows with a greater revision, tombstones included: latest versions first, then each change as it comes."""
        ...

    async def history(self, paglet_id: str, *, after: int = 0, limit: int = 1000) -> Sequence[RowEvent]:
        """What became of one id, in the order of revisions after `after`; fewer than `limit` means the last.

        Only of the events that are kept: they have a bound in number and age, not the row itself.
        """
        ...

    def watch_events(
        self, cursor: str = "", *, owner: str = "", type_name: str = "", paglet_id: str = ""
    ) -> AsyncGenerator[RowNotice, None]:
        """Every write after `cursor` once and in order, whatever restarts between two watches.

        The first notice has no event, but the cursor at which the watch begins: now, for an empty one. Where nothing
        is to be told, a notice without an event comes every few seconds, so that its cursor stays fresh. An event
        belongs to `owner` if it is the owner or was before; empty filters stand for any. Raises MALFORMED_REQUEST, and
        CURSOR_EXPIRED (metadata: oldest) when events that it needs are no longer kept.
        """
        ...

    async def journey(self, transfer_id: str) -> JourneyRecord | None:
        """Reads the record of a committed journey; None when there is none, or the source has read it."""
        ...

    async def lease_register(self, host: HostRegistration, ttl_s: float) -> None:
        """Takes a name and a lease on it.

        Raises HOST_NAME_TAKEN when another uid has a live lease on it or owns paglets under it.
        """
        ...

    async def lease_keepalive(self, name: str, uid: str, ttl_s: float, load: float = 0.0) -> None:
        """Renews a lease, and says how busy the host is; HOST_NOT_FOUND when the name is not registered with this uid.

        Raises MALFORMED_REQUEST for a load that is none.
        """
        ...

    async def lease_revoke(self, name: str, uid: str) -> None:
        """Ends a lease; the host is offline at once."""
        ...

    async def hosts(self) -> Sequence[HostRef]:
        """All hosts in the order of their names."""
        ...

    def watch_hosts(self) -> AsyncGenerator[Sequence[HostRef], None]:
        """All hosts, and again all of them whenever one joins, leaves, is lost or describes itself otherwise.

        Without their numbers of paglets. A lease that ends is told when it does.
        """
        ...

    async def advertise(self, record: ServiceRecord, ttl_s: float | None = None) -> ServiceRecord:
        """Writes the record of a service that a living paglet answers; returns it as written.

        It replaces the paglet's earlier one, and ends after `ttl_s` seconds, when it is withdrawn, or with its paglet,
        in the transaction of the tombstone. Raises PAGLET_NOT_FOUND, INVALID_ID, MALFORMED_REQUEST.
        """
        ...

    async def withdraw(self, service: str, paglet_id: str) -> None:
        """Deletes the record that a paglet advertised, if there is one; what hosts declare stays."""
        ...

    def watch_services(self, host: str) -> AsyncGenerator[ServiceNews, None]:
        """The records that `host` may tell of, the MESH ones and its own, then what becomes of them as it happens.

        A record changes with the host that its paglet is on; one that ends is told when it does.
        """
        ...
