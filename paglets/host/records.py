"""What the journal keeps, as frozen values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from paglets.artifacts.store import ArtifactWrite, ArtifactWriteResult, PullRequest
from paglets.core.cause import OutgoingPost
from paglets.core.cursor_events import CursorEvent
from paglets.core.turn import OwnRequest
from paglets.host.files import RegisteredFile
from paglets.host.post_records import StoredPost
from paglets.values import DeactivationPolicy, PagletState, TransferTicket

__all__ = ["Arrival", "ArrivalPhase", "Belongings", "Departure", "Settled", "StoredPaglet", "StoredPull", "StoredReply"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPaglet:
    """A paglet at rest: its encoded state, and the epoch it was last known to have."""

    paglet_id: str
    type: str
    epoch: int
    state: bytes
    state_version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredReply:
    """The outcome of a request that ran once: a reply, an encoded google.rpc.Status, or neither when too large."""

    principal: str
    request_id: str
    fingerprint: bytes
    create_ms: int
    reply: bytes = b""
    status: bytes = b""
    dropped: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """What identifies it among the paglet's replies."""
        return self.principal, self.request_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Belongings:
    """A paglet with all that is its own, as of one moment; but for the posts that it made, which outlive it."""

    paglet: StoredPaglet
    replies: Sequence[StoredReply]
    files: Sequence[RegisteredFile]
    posts: Sequence[StoredPost]
    own_request: OwnRequest | None
    last_event: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPull:
    """A pull to this host; it comes by an upload of the same id.

    `write` is known once the source was asked. It has ended at `ended_at` (seconds since the epoch; 0.0 while it runs),
    well with `result`, else with an encoded google.rpc.Status.
    """

    request: PullRequest
    write: ArtifactWrite | None = None
    result: ArtifactWriteResult | None = None
    status: bytes = b""
    ended_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Departure:
    """A journey that this host is the source of; given up, it leaves the paglet in the state that it `came_from`.

    That of a clone is one of the clone itself, which is made on the way; its epoch is known when it has a row.
    """

    transfer_id: str
    paglet_id: str
    target: str
    epoch: int
    started_at: float
    principal: str = ""
    request_id: str = ""
    fingerprint: bytes = b""
    files: tuple[RegisteredFile, ...] = ()
    ticket: TransferTicket = field(default_factory=TransferTicket)
    came_from: PagletState = PagletState.ACTIVE
    retracted: bool = False
    clone_of: str = ""


class ArrivalPhase:
    """How far a transfer to this host has come."""

    PREPARED = "prepared"
    SEALED = "sealed"
    ARRIVED = "arrived"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A journey that this host is the target of: encoded Manifest, Snapshot and, if it failed, google.rpc.Status."""

    transfer_id: str
    phase: str
    manifest: bytes
    snapshot: bytes = b""
    attempt: int = 0
    status: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What an arrival leaves behind when its turn has ended; with a `policy` it was none, and the paglet rests."""

    arrival: Arrival
    paglet: StoredPaglet
    replies: Sequence[StoredReply] = ()
    files: Sequence[RegisteredFile] = ()
    own_request: OwnRequest | None = None
    posts: Sequence[StoredPost] = ()
    policy: DeactivationPolicy | None = None
    outgoing: Sequence[OutgoingPost] = ()
    events: Sequence[CursorEvent] = ()
