"""The table of a paglet's life: what is in it happens, what is not is refused."""

from __future__ import annotations

from itertools import product

import pytest

from paglets.core.lifecycle import TRANSITIONS, LifecycleEvent, diagram, next_state
from paglets.errors import PreconditionError
from paglets.values import PagletState


@pytest.mark.parametrize(("state", "event"), list(product(PagletState, LifecycleEvent)))
def test_every_pair_is_a_transition_or_refused(state: PagletState, event: LifecycleEvent) -> None:
    """A pair in the table leads on; any other is ILLEGAL_TRANSITION, naming paglet, state and event."""
    if (state, event) in TRANSITIONS:
        assert next_state("p-1", state, event) is TRANSITIONS[state, event]
        return
    with pytest.raises(PreconditionError, match=f"paglet p-1 is {state} and cannot {event}") as refused:
        next_state("p-1", state, event)
    assert refused.value.reason == "ILLEGAL_TRANSITION"
    assert refused.value.metadata == {"state": state.value, "event": event.value}


def test_disposed_is_the_end() -> None:
    """Nothing happens to a paglet that was disposed of, and every state can come to that end."""
    assert not [event for state, event in TRANSITIONS if state is PagletState.DISPOSED]
    ends = {PagletState.DISPOSED}
    while more := {state for (state, _), after in TRANSITIONS.items() if after in ends} - ends:
        ends |= more
    assert ends == set(PagletState)


def test_only_an_owner_at_rest_departs() -> None:
    """A journey begins at an ACTIVE or FAILED paglet, and ends there again, or at its target ACTIVE or FAILED."""
    assert [state for state, event in TRANSITIONS if event is LifecycleEvent.DEPART] == [
        PagletState.ACTIVE,
        PagletState.FAILED,
    ]
    assert TRANSITIONS[PagletState.DEPARTING, LifecycleEvent.ABORT] is PagletState.ACTIVE
    arrived = {TRANSITIONS[PagletState.ARRIVING, event] for event in (LifecycleEvent.ARRIVE, LifecycleEvent.FAIL)}
    assert arrived == {PagletState.ACTIVE, PagletState.FAILED}


def test_diagram_is_the_table() -> None:
    """The picture has an arrow for each transition and no other, beside birth and end."""
    arrows = [line.strip() for line in diagram().splitlines()[1:]]
    drawn = [f"{state} --> {after}: {event}" for (state, event), after in TRANSITIONS.items()]
    assert arrows == ["[*] --> active: create", "[*] --> cloning: clone", *drawn, "disposed --> [*]"]
