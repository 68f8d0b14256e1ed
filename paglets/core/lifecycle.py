"""The life of a paglet as one table: which event leads from which state to which.

Pure: no clock, no loop, no disk, no gRPC. What is not in the table is illegal. `diagram()` draws it for people.
"""

from __future__ import annotations

from enum import StrEnum

from paglets.errors import PreconditionError, Resource
from paglets.values import PagletState

__all__ = ["TRANSITIONS", "LifecycleEvent", "diagram", "next_state"]


class LifecycleEvent(StrEnum):
    """What can happen to a paglet as a whole. CREATE leads from nothing to ACTIVE, so the table has no row for it."""

    CREATE = "create"
    DEACTIVATE = "deactivate"
    ACTIVATE = "activate"
    CLONE = "clone"
    DEPART = "depart"
    ABORT = "abort"
    COMMIT = "commit"
    ARRIVE = "arrive"
    FAIL = "fail"
    RESUME = "resume"
    QUARANTINE = "quarantine"
    DISPOSE = "dispose"


_S, _E = PagletState, LifecycleEvent

TRANSITIONS: dict[tuple[PagletState, LifecycleEvent], PagletState] = {
    (_S.CLONING, _E.ABORT): _S.DISPOSED,
    (_S.CLONING, _E.COMMIT): _S.ARRIVING,
    (_S.CLONING, _E.DISPOSE): _S.DISPOSED,
    (_S.ACTIVE, _E.DEACTIVATE): _S.INACTIVE,
    (_S.ACTIVE, _E.CLONE): _S.ACTIVE,
    (_S.ACTIVE, _E.DEPART): _S.DEPARTING,
    (_S.ACTIVE, _E.RESUME): _S.ACTIVE,
    (_S.ACTIVE, _E.QUARANTINE): _S.QUARANTINED,
    (_S.ACTIVE, _E.DISPOSE): _S.DISPOSED,
    (_S.INACTIVE, _E.ACTIVATE): _S.ACTIVE,
    (_S.FAILED, _E.ACTIVATE): _S.ACTIVE,
    (_S.INACTIVE, _E.QUARANTINE): _S.QUARANTINED,
    (_S.INACTIVE, _E.DISPOSE): _S.DISPOSED,
    (_S.DEPARTING, _E.ABORT): _S.ACTIVE,
    (_S.DEPARTING, _E.FAIL): _S.FAILED,
    (_S.DEPARTING, _E.COMMIT): _S.ARRIVING,
    (_S.DEPARTING, _E.QUARANTINE): _S.QUARANTINED,
    (_S.ARRIVING, _E.ARRIVE): _S.ACTIVE,
    (_S.ARRIVING, _E.DEACTIVATE): _S.INACTIVE,
    (_S.ARRIVING, _E.FAIL): _S.FAILED,
    (_S.ARRIVING, _E.QUARANTINE): _S.QUARANTINED,
    (_S.FAILED, _E.DEPART): _S.DEPARTING,
    (_S.FAILED, _E.RESUME): _S.FAILED,
    (_S.FAILED, _E.QUARANTINE): _S.QUARANTINED,
    (_S.FAILED, _E.DISPOSE): _S.DISPOSED,
    (_S.QUARANTINED, _E.RESUME): _S.ACTIVE,
    (_S.QUARANTINED, _E.DISPOSE): _S.DISPOSED,
}


def next_state(paglet_id: str, state: PagletState, event: LifecycleEvent) -> PagletState:
    """The state that follows. Raises ILLEGAL_TRANSITION naming state and event when the table has none."""
    found = TRANSITIONS.get((state, event))
    if found is None:
        raise PreconditionError(
            "ILLEGAL_TRANSITION",
            f"paglet {paglet_id} is {state} and cannot {event}",
            resource=Resource("paglet", paglet_id),
            metadata={"state": state.value, "event": event.value},
        )
    return found


def diagram() -> str:
    """The table as a Mermaid state diagram."""
    arrows = [f"    {state} --> {after}: {event}" for (state, event), after in TRANSITIONS.items()]
    begins = ["    [*] --> active: create", "    [*] --> cloning: clone"]
    return "\n".join(["stateDiagram-v2", *begins, *arrows, "    disposed --> [*]"])
