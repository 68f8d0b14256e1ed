"""A paglet's state as people read it: JSON, if that can tell it in one message."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from paglets.errors import InvalidArgumentError, PreconditionError, Resource
from paglets.state import StateCodec
from paglets.wire.channel_options import MAX_MESSAGE_BYTES

__all__ = ["PagletStateText", "state_text"]

_BESIDE_BYTES = 1024  # what else is in the message


@dataclass(frozen=True, slots=True)
class PagletStateText:
    """A state as JSON, the version of the state class that reads it, and the paglet's epoch."""

    json: str
    version: int
    epoch: int


def state_text(paglet_id: str, codec: StateCodec[Any], state: object, epoch: int) -> PagletStateText:
    """A state to tell. Raises STATE_UNREADABLE for one that JSON cannot tell, or not in a message."""
    try:
        text = codec.to_json(state)
    except InvalidArgumentError as error:
        raise _unreadable(paglet_id, error.message) from error
    size = len(text.encode())
    if size > MAX_MESSAGE_BYTES - _BESIDE_BYTES:
        raise _unreadable(paglet_id, f"it has {size} bytes as JSON, a message has at most {MAX_MESSAGE_BYTES}")
    return PagletStateText(text, codec.version, epoch)


def _unreadable(paglet_id: str, why: str) -> PreconditionError:
    return PreconditionError(
        "STATE_UNREADABLE",
        f"the state of paglet {paglet_id} cannot be told as JSON: {why}",
        resource=Resource("paglet", paglet_id),
    )
