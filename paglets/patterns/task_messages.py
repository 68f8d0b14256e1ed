"""The messages of a task, and texts about it, as they rest in its state: packed, checked, and short enough to be kept.

Pure. It must never know how far a task is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import DecodeError, Message

from paglets.errors import InvalidArgumentError, PagletError

__all__ = ["PackedMessage", "error_text", "require_message", "sendable", "unpack_request"]

MessageT = TypeVar("MessageT", bound=Message)

_MAX_CHARS = 4096


@dataclass(frozen=True, slots=True)
class PackedMessage:
    """A protobuf message at rest: the name of its type as `google.protobuf.Any` writes it, and its bytes."""

    type_url: str
    value: bytes

    @classmethod
    def of(cls, message: Message) -> PackedMessage:
        """Packs a message; equal messages of a type give equal bytes."""
        packed = AnyMessage()
        packed.Pack(message, deterministic=True)
        return cls(packed.type_url, packed.value)

    def to_message(self) -> AnyMessage:
        """The same as an `Any`."""
        return AnyMessage(type_url=self.type_url, value=self.value)


def require_message(message: object, wanted: type[Message], what: str) -> PackedMessage:
    """Packs a message of an author's, which must be of the class `wanted`; TypeError, naming `what`, for another."""
    if not isinstance(message, wanted):
        name = "a protobuf message" if wanted is Message else wanted.DESCRIPTOR.full_name
        raise TypeError(f"{what} must be {name}, got {type(message).__qualname__}")
    return PackedMessage.of(message)


def unpack_request(packed: AnyMessage, wanted: type[MessageT], taker: str) -> MessageT:
    """The request that `taker` was sent. Raises MALFORMED_REQUEST for anything but a `wanted`."""
    request, name = wanted(), wanted.DESCRIPTOR.full_name
    try:
        fits = packed.Unpack(request)
    except DecodeError as error:
        raise InvalidArgumentError("MALFORMED_REQUEST", f"the request is no {name}", field="request") from error
    if not fits:
        found = packed.type_url or "nothing"
        raise InvalidArgumentError("MALFORMED_REQUEST", f"{taker} takes {name}, got {found}", field="request")
    return request


def error_text(error: str | BaseException) -> str:
    """What a task says of an error: never empty, never longer than a state can bear, always text that can be sent."""
    text = error.message if isinstance(error, PagletError) else str(error)
    if not text.strip():
        text = "failed without a reason" if isinstance(error, str) else type(error).__name__
    return sendable(text)


def sendable(text: str) -> str:
    """A text as it can be kept and sent: cut where it is too long."""
    if len(text) > _MAX_CHARS:
        text = text[: _MAX_CHARS - 3] + "..."
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
