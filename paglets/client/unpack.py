"""Takes a message out of an `Any` that a paglet answered with."""

from __future__ import annotations

from typing import TypeVar

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import DecodeError, Message

from paglets.errors import InternalError

__all__ = ["unpack"]

MessageT = TypeVar("MessageT", bound=Message)


def unpack(packed: AnyMessage, wanted: type[MessageT], what: str) -> MessageT:
    """The message inside. Raises REPLY_INVALID, saying `what` it is, for one of another type or bytes that are none."""
    message = wanted()
    try:
        fits = packed.Unpack(message)
    except DecodeError:
        fits = False
    if not fits:
        raise InternalError(
            "REPLY_INVALID", f"{what} is {packed.type_url or 'of no type'}, not {wanted.DESCRIPTOR.full_name}"
        )
    return message
