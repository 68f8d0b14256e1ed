"""What a request asks of a paglet class: an operation that it has a method for, or any other that it takes as it came.

It is known of the class alone, before a turn is waited for, and also of a paglet that rests.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from google.protobuf.message import DecodeError, Message

from paglets.core.handlers import Handler
from paglets.core.paglet import Paglet
from paglets.core.raw_call import RawCall
from paglets.errors import InternalError, InvalidArgumentError, OperationNotFoundError, Resource
from paglets.host.replies import fingerprint_of, raw_fingerprint_of
from paglets.operations import near_name
from paglets.wire.channel_options import MAX_MESSAGE_BYTES

__all__ = ["ParsedRequest", "encoded", "is_raw", "method_of", "no_operation", "parse_request", "parsed"]

_TAKES_NONE: Callable[..., object] = Paglet[Any].handle_operation_message
"""What a class that takes no other operations inherits."""


class ParsedRequest(Protocol):
    """A unary request that can be run."""

    @property
    def is_read_only(self) -> bool:
        """Whether it needs no turn."""
        ...

    @property
    def argument(self) -> object:
        """What the method is given."""
        ...

    def fingerprint(self) -> bytes:
        """What makes another request the same as this one."""
        ...

    def method_of(self, paglet: Paglet[Any]) -> Callable[..., object]:
        """The author's method that answers it."""
        ...

    def encode(self, reply: object) -> bytes:
        """The reply on the wire. Raises REPLY_INVALID for one that is none, OPERATION_NOT_FOUND if nothing answered."""
        ...


@dataclass(frozen=True, slots=True)
class _TypedRequest:
    """A request of an operation of the class."""

    handler: Handler
    argument: Message

    @property
    def is_read_only(self) -> bool:
        return self.handler.operation.is_read_only

    def fingerprint(self) -> bytes:
        return fingerprint_of(self.handler.operation.path, self.argument)

    def method_of(self, paglet: Paglet[Any]) -> Callable[..., object]:
        return method_of(paglet, self.handler)

    def encode(self, reply: object) -> bytes:
        return encoded(self.handler, reply)


@dataclass(frozen=True, slots=True)
class _RawRequest:
    """A request of any other operation, for a class that takes those; always a turn."""

    paglet_id: str
    paglet_type: type[Paglet[Any]]
    argument: RawCall
    is_read_only: bool = False

    def fingerprint(self) -> bytes:
        return raw_fingerprint_of(f"/{self.argument.operation}", self.argument.request)

    def method_of(self, paglet: Paglet[Any]) -> Callable[..., object]:
        return paglet.handle_operation_message

    def encode(self, reply: object) -> bytes:
        if reply is None or reply is NotImplemented:
            raise no_operation(self.paglet_id, self.paglet_type, self.argument.operation)
        if not isinstance(reply, bytes):
            raise _no_reply(self.argument.operation, f"with {type(reply).__name__}, not bytes")
        return _sendable(self.argument.operation, reply)


def parse_request(
    paglet_id: str, paglet_type: type[Paglet[Any]], path: str, data: bytes, type_url: str | None = None
) -> ParsedRequest:
    """What `data` asks of a paglet of this class; `type_url` is the request's type as `Any` has it, None if unsaid.

    Raises OPERATION_NOT_FOUND, OPERATION_STREAMS, and MALFORMED_REQUEST for what is not the operation's request.
    """
    if is_raw(paglet_type, path):
        return _RawRequest(paglet_id, paglet_type, RawCall(path.removeprefix("/"), data))
    handler = paglet_type.handlers.get(path)
    if handler is None:
        raise no_operation(paglet_id, paglet_type, path)
    operation = handler.operation
    operation.require_unary()
    wanted = operation.request_class.DESCRIPTOR.full_name
    if type_url is not None and type_url.rpartition("/")[2] != wanted:
        raise InvalidArgumentError(
            "MALFORMED_REQUEST", f"{operation.full_name} takes a {wanted}, got {type_url!r}", field="request"
        )
    return _TypedRequest(handler, parsed(handler, data))


def is_raw(paglet_type: type[Paglet[Any]], path: str) -> bool:
    """Whether the class takes this operation as it comes, since none of its services has it."""
    return path not in paglet_type.handlers and paglet_type.handle_operation_message is not _TAKES_NONE


def method_of(paglet: Paglet[Any], handler: Handler) -> Callable[..., Any]:
    """The method that answers an operation."""
    owner = paglet if handler.pattern is None else paglet.pattern_services[handler.pattern]
    method: Callable[..., Any] = getattr(owner, handler.attribute)
    return method


def parsed(handler: Handler, data: bytes) -> Message:
    """A request. Raises MALFORMED_REQUEST."""
    try:
        return handler.operation.request_class.FromString(data)
    except DecodeError as error:
        raise InvalidArgumentError(
            "MALFORMED_REQUEST",
            f"the request is no {handler.operation.request_class.DESCRIPTOR.full_name}",
            field="request",
        ) from error


def encoded(handler: Handler, reply: object) -> bytes:
    """A message that an author's method answered with; None is one without fields. Raises REPLY_INVALID."""
    name, expected = handler.operation.full_name, handler.operation.reply_class
    if reply is None and not expected.DESCRIPTOR.fields:
        return b""
    if not isinstance(reply, expected):
        raise _no_reply(name, f"with {type(reply).__name__}, not {expected.__name__}")
    return _sendable(name, reply.SerializeToString())


def no_operation(paglet_id: str, paglet_type: type[Paglet[Any]], path: str) -> OperationNotFoundError:
    """What is said of an operation that a paglet does not have, and which of those that it has may be meant."""
    name, type_name = path.removeprefix("/"), paglet_type.type_name()
    return OperationNotFoundError(
        "OPERATION_NOT_FOUND",
        f"paglet {paglet_id} of type {type_name} has no operation {name}{_instead(paglet_type, name)}",
        resource=Resource("paglet", paglet_id),
        metadata={"operation": name, "type": type_name},
    )


def _instead(paglet_type: type[Paglet[Any]], name: str) -> str:
    service, _, method = name.rpartition("/")
    answered: dict[str, list[str]] = {}
    for handler in paglet_type.handlers.values():
        found = handler.operation.descriptor
        answered.setdefault(found.containing_service.full_name, []).append(found.name)
    if service in answered:
        return near_name(method, answered[service])
    return f"; it answers {', '.join(sorted(answered)) or 'nothing'}"


def _sendable(name: str, data: bytes) -> bytes:
    if len(data) > MAX_MESSAGE_BYTES:
        raise _no_reply(
            name, f"with {len(data)} bytes, a message has at most {MAX_MESSAGE_BYTES}; give more as an artifact"
        )
    return data


def _no_reply(name: str, how: str) -> InternalError:
    return InternalError("REPLY_INVALID", f"{name} answered {how}", metadata={"operation": name})
