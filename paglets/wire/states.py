"""The state of a paglet as its number on the wire and back."""

from __future__ import annotations

from paglet.v1 import types_pb2
from paglets.errors import InvalidArgumentError
from paglets.values import PagletState

__all__ = ["state_from_message", "state_to_message"]

_STATES = {state: types_pb2.PagletState.Value(f"PAGLET_STATE_{state.name}") for state in PagletState}
_STATES_BACK = {number: state for state, number in _STATES.items()}


def state_to_message(state: PagletState) -> types_pb2.PagletState.ValueType:
    """The number of a state."""
    return _STATES[state]


def state_from_message(number: types_pb2.PagletState.ValueType, field: str) -> PagletState:
    """The state of a number; MALFORMED_REQUEST naming `field` when the number is UNSPECIFIED or unknown."""
    state = _STATES_BACK.get(number)
    if state is None:
        raise InvalidArgumentError("MALFORMED_REQUEST", f"{field} is no state of a paglet: {number}", field=field)
    return state
