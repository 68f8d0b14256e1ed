"""What hooks are told; frozen, named for what happens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from google.protobuf.any_pb2 import Any as AnyMessage

from paglets.values import DeactivationPolicy, PagletFileRef

__all__ = [
    "ActivationEvent",
    "ArrivalTarget",
    "CloneEvent",
    "CreationEvent",
    "DeactivationEvent",
    "DeactivationRequest",
    "DisposalEvent",
    "MobilityEvent",
]


@dataclass(frozen=True, slots=True)
class CreationEvent:
    """The paglet begins to exist on `host`."""

    host: str


@dataclass(frozen=True, slots=True)
class MobilityEvent:
    """The paglet moves: `reason` is "dispatch", or "retract" if the target asked for it.

    `attempt` counts the arrival turns of this transfer, from 1; more than one follows a crash.
    """

    source: str
    target: str
    transfer_id: str
    attempt: int = 1
    reason: str = "dispatch"


@dataclass(frozen=True, slots=True)
class CloneEvent:
    """The paglet `original` on the host `source` is cloned: `clone` is the other's id, and `target` the host it is on.

    `attempt` counts the first turns of the clone, from 1; more than one follows a crash. `parameters` is what whoever
    asked for the clone wants it for, told to `on_clone` alone; None for nothing.
    """

    original: str
    clone: str
    source: str
    target: str
    attempt: int = 1
    parameters: AnyMessage | None = None


@dataclass(frozen=True, slots=True)
class DeactivationRequest:
    """Somebody wants the paglet to rest: `reason` as in `DeactivationEvent`, `policy` if one was asked for."""

    reason: str
    policy: DeactivationPolicy | None = None


@dataclass(frozen=True, slots=True)
class DeactivationEvent:
    """The paglet is about to rest on `host`.

    `reason` is "deactivate" if that was asked for, "own" if the paglet asked for it, "shutdown" if its host ends: then
    it stays ACTIVE, and is back when the host is. `policy` is what will bring it back.
    """

    host: str
    reason: str
    policy: DeactivationPolicy


@dataclass(frozen=True, slots=True)
class ActivationEvent:
    """The paglet is back on `host`.

    `reason` is "restart" after the host was started again, and of one that was inactive "activate" if that was asked
    for, "message" for a call or a post, "startup" or "time" by its policy; "retry" of one that was FAILED.
    """

    host: str
    reason: str


@dataclass(frozen=True, slots=True)
class DisposalEvent:
    """The paglet is about to end on `host`."""

    host: str


class ArrivalTarget(Protocol):
    """The host that a paglet asks to come to, as far as `check_arrival` may look at it."""

    @property
    def host(self) -> str:
        """The target's name."""
        ...

    @property
    def files(self) -> Sequence[PagletFileRef]:
        """The files that would come along; their paths are not there yet."""
        ...

    def resolve_destination(self, destination: str, source_name: str) -> Path:
        """Where a file would go. Raises PATH_OUTSIDE_ROOTS."""
        ...
