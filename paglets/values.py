"""Frozen values that several rooms speak of: ids, references, addresses. They do nothing and know no wire."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Literal, Self, TypeAlias

from blake3 import blake3

from paglets.digest import Digest
from paglets.errors import InvalidArgumentError
from paglets.members import require_member

__all__ = [
    "ArrivalMode",
    "ArtifactRef",
    "DeactivationPolicy",
    "Durability",
    "FileMode",
    "HostChange",
    "HostNotice",
    "HostRef",
    "JourneyInfo",
    "JourneyPhase",
    "OwnerPolicy",
    "PagletEvent",
    "PagletFileRef",
    "PagletInfo",
    "PagletNotice",
    "PagletProxyRef",
    "PagletState",
    "TaskPhase",
    "TransferTicket",
    "check_id",
    "clone_id",
    "created_id",
    "derived_id",
    "new_id",
    "tidy_tags",
]

_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,127}")
_UUID = re.compile(r"[0-9a-f]{32}")


def check_id(text: str, field: str) -> str:
    """Returns a well-formed id, `[a-z0-9][a-z0-9._-]{0,127}`; raises INVALID_ID naming `field` for any other text."""
    if not _ID.fullmatch(text):
        shown = text if len(text) <= 64 else text[:61] + "..."
        raise InvalidArgumentError(
            "INVALID_ID",
            f"{field} must match [a-z0-9][a-z0-9._-]{{0,127}}, got {shown!r}",
            field=field,
        )
    return text


def new_id(now: float | None = None) -> str:
    """A fresh id: 32 hexadecimal digits, of which 12 are the time in milliseconds and 74 bits random.

    Rows that come one after the other lie together by it. `now` is in seconds since the epoch, by default the clock's.
    """
    milliseconds = int((time.time() if now is None else now) * 1000) & (1 << 48) - 1
    return f"{milliseconds:012x}{uuid.uuid4().hex[12:]}"


def derived_id(purpose: str, *origin: str) -> str:
    """The id of what comes of something, in the form of `new_id`: the same for the same, and for nothing else."""
    return blake3("\0".join((purpose, *origin)).encode()).hexdigest(16)


def created_id(request_id: str) -> str:
    """The id of the paglet that a request creates: the same one, however often it is asked for.

    Of a request id that is a UUID it keeps the beginning, which may be its time.
    """
    derived, digits = derived_id("create", request_id), request_id.replace("-", "").lower()
    return digits[:12] + derived[12:] if _UUID.fullmatch(digits) else derived


def clone_id(paglet_id: str, request_id: str) -> str:
    """The id of the clone that a request makes of a paglet: the same one, however often it is asked for."""
    return derived_id("clone", paglet_id, request_id)


def tidy_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Tags as a mesh compares them: trimmed, in lower case, each once and sorted."""
    return tuple(sorted({tag.strip().casefold() for tag in tags}))


_END_OF_TIME = 253_402_300_800.0
"""Where timestamps end, in seconds since the epoch: the year 10000."""


class PagletState(StrEnum):
    """Where in its life a paglet is."""

    CLONING = "cloning"
    ACTIVE = "active"
    INACTIVE = "inactive"
    DEPARTING = "departing"
    ARRIVING = "arriving"
    FAILED = "failed"
    QUARANTINED = "quarantined"
    DISPOSED = "disposed"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeactivationPolicy:
    """What brings an inactive paglet back, beside being asked to.

    With `activate_on_message` a call or a post does, else calls are refused and posts wait, if `queue_posts` lets them.
    `activate_at` is a time in seconds since the epoch, None for never; one that has passed brings it back at once.
    """

    activate_on_message: bool = True
    queue_posts: bool = True
    activate_on_startup: bool = False
    activate_at: float | None = None

    def __post_init__(self) -> None:
        """Raises MALFORMED_REQUEST for a time that is none, and for a switch that is neither on nor off."""
        for name in ("activate_on_message", "queue_posts", "activate_on_startup"):
            if not isinstance(found := getattr(self, name), bool):
                raise InvalidArgumentError("MALFORMED_REQUEST", f"{name} is True or False, got {found!r}", field=name)
        if self.activate_at is not None and not 0.0 < self.activate_at < _END_OF_TIME:
            raise InvalidArgumentError(
                "MALFORMED_REQUEST",
                f"activate_at is no time between 1970 and 9999: {self.activate_at}",
                field="activate_at",
            )

    @classmethod
    def after(
        cls,
        seconds: float,
        *,
        activate_on_message: bool = True,
        queue_posts: bool = True,
        activate_on_startup: bool = False,
    ) -> Self:
        """A policy that brings the paglet back so many seconds from now."""
        return cls(
            activate_on_message=activate_on_message,
            queue_posts=queue_posts,
            activate_on_startup=activate_on_startup,
            activate_at=time.time() + max(0.0, seconds),
        )


class ArrivalMode(StrEnum):
    """What becomes of a paglet that has moved: it is active at its new place, or rests there and no hook is run."""

    ACTIVE = "active"
    INACTIVE = "inactive"


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferTicket:
    """What a move asks for beside its target; by default nothing.

    `deadline_s` is how long the journey may take until its commit, `retries` how often it begins anew after a failure
    that may pass, with a pause that doubles from 0.25 s to 5 s. The target must offer `required_types`, have
    `required_tags`, and the paglet's type with this `state_version` (0: any that reads the state). `policy` is what
    brings a paglet back that arrives INACTIVE.
    """

    deadline_s: float | None = None
    retries: int = 0
    required_types: tuple[str, ...] = ()
    required_tags: tuple[str, ...] = ()
    state_version: int = 0
    arrival: ArrivalMode = ArrivalMode.ACTIVE
    policy: DeactivationPolicy | None = None

    def __post_init__(self) -> None:
        """Raises TypeError for an arrival by its text."""
        require_member(self.arrival, ArrivalMode, "arrival")


class JourneyPhase(StrEnum):
    """How far a journey has come."""

    QUIESCE = "quiesce"
    PREPARE = "prepare"
    PUSH = "push"
    SEAL = "seal"
    COMMIT = "commit"
    ARRIVE = "arrive"


class TaskPhase(StrEnum):
    """How far a task has come; COMPLETED and FAILED end it, until it is started again."""

    NEW = "new"
    RUNNING = "running"
    WAITING_FOR_ARRIVAL = "waiting-for-arrival"
    COMPLETED = "completed"
    FAILED = "failed"

    @property
    def ended(self) -> bool:
        """Whether there is nothing left to wait for."""
        return self in {TaskPhase.COMPLETED, TaskPhase.FAILED}


class OwnerPolicy(StrEnum):
    """What the owner's disposal does to an artifact."""

    KEEP = "keep"
    DELETE_WITH_OWNER = "delete-with-owner"


Durability: TypeAlias = Literal["turn", "lifecycle"]
"""What survives a killed host: every acknowledged turn, or what was saved last."""


class FileMode(StrEnum):
    """What a journey does to the source of a registered file: it stays, or is deleted after the arrival."""

    COPY = "copy"
    MOVE = "move"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactRef:
    """An artifact: where it is, what its bytes are and what is known of them.

    Times are seconds since the epoch; `expires_at` is None for an artifact that stays until it is deleted. `etag` names
    this version of what is known of it and `updated_at` is when that was made. `corrupt` and `verified_at`, when its
    stored bytes were last found right, are how it was when a host was asked for this artifact or a list, None where
    nobody was asked. None of the four is compared: two references are equal if they say the same of the artifact.
    """

    host: str
    artifact_id: str
    digest: Digest
    name: str = ""
    owner: str = ""
    content_type: str = ""
    content_encoding: str = ""
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    owner_policy: OwnerPolicy = OwnerPolicy.KEEP
    created_at: float = 0.0
    expires_at: float | None = None
    etag: str = field(default="", compare=False)
    updated_at: float = field(default=0.0, compare=False)
    corrupt: bool = field(default=False, compare=False)
    verified_at: float | None = field(default=None, compare=False)

    @property
    def size_bytes(self) -> int:
        """How many bytes the artifact has."""
        return self.digest.size_bytes


@dataclass(frozen=True, slots=True)
class PagletProxyRef:
    """A reference to a paglet. It never goes stale: identity is no location, calls follow the paglet."""

    paglet_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRef:
    """A host of the mesh as the directory knows it.

    `load` is how busy it was when it last said so: calls under way for each core, coarsely.
    `seen_at` is seconds since the epoch by the directory's clock. One that is not `online` has said that it leaves, if
    `has_left`, or was lost. `uid` is that of its data folder, known to hosts and empty for clients.
    """

    name: str
    address: str
    online: bool
    version: str = ""
    types: tuple[str, ...] = ()
    seen_at: float = 0.0
    paglet_count: int = 0
    uid: str = ""
    has_left: bool = False
    tags: tuple[str, ...] = ()
    properties: Mapping[str, str] = field(default_factory=dict[str, str])
    load: float = 0.0


class HostChange(StrEnum):
    """Why a watch of hosts tells of one."""

    PRESENT = "present"
    JOINED = "joined"
    LEFT = "left"
    LOST = "lost"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class HostNotice:
    """What became of a host, which is as told now, but for its number of paglets."""

    change: HostChange
    host: HostRef


@dataclass(frozen=True, slots=True, kw_only=True)
class PagletFileRef:
    """A file registered with a paglet.

    `path` is where its bytes are on the host it is on now; `origin_*` tell where it was registered first. Times are
    nanoseconds since the epoch at the origin.
    """

    name: str
    mode: FileMode
    path: Path
    digest: Digest
    origin_host: str
    origin_path: str
    modified_ns: int
    created_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JourneyInfo:
    """A move that is under way, as the host it leaves tells it.

    `bytes_total` is what the target lacked when it began, `bytes_done` what it has of that. `started_at` is seconds
    since the epoch by the source's clock.
    """

    transfer_id: str
    source: str
    target: str
    phase: JourneyPhase
    bytes_done: int = 0
    bytes_total: int = 0
    started_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PagletInfo:
    """A paglet, as a host of its mesh describes it: true when it was asked, and perhaps no longer.

    `address` is empty when the host is not known to be there, `error` unless the paglet is FAILED or QUARANTINED,
    `services` when the host that was asked does not know the type. `created_at` is seconds since the epoch by the
    directory's clock. One that is `stuck` has a turn that has outlived its deadline by far, and begins no other. Its
    `run()` has ended by `run_error`, if that is not empty, and begins anew with the paglet's next life.
    """

    paglet_id: str
    type: str
    host: str
    state: PagletState
    address: str = ""
    epoch: int = 0
    created_at: float = 0.0
    journey: JourneyInfo | None = None
    error: str = ""
    services: tuple[str, ...] = ()
    stuck: bool = False
    run_error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PagletEvent:
    """What became of a paglet once, as the directory wrote it down.

    `cause` is what happened, in one word, e.g. `create`, `commit`; `former_host` is empty when the paglet was created.
    `transfer_id` is the journey that began, ended or arrived by it, `target` where one that begins goes. `happened_at`
    is seconds since the epoch by the directory's clock.
    """

    paglet_id: str
    type: str
    host: str
    state: PagletState
    epoch: int
    cause: str
    former_host: str = ""
    transfer_id: str = ""
    target: str = ""
    error: str = ""
    happened_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PagletNotice:
    """What a watch of paglets tells: one that is there, in a snapshot, or an event, or only how far the watch has come.

    `cursor` is where to go on after it.
    """

    cursor: str
    paglet: PagletInfo | None = None
    event: PagletEvent | None = None
