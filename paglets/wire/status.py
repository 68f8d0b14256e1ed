"""Errors as google.rpc.Status and back: the only place that translates.

An error raised behind a door comes out at the client as the same class with the same fields.
"""

from __future__ import annotations

from typing import Final

import grpc
from google.protobuf import duration_pb2
from google.protobuf.message import DecodeError, Message
from google.rpc.error_details_pb2 import (
    BadRequest,
    ErrorInfo,
    PreconditionFailure,
    QuotaFailure,
    ResourceInfo,
    RetryInfo,
)
from google.rpc.status_pb2 import Status

from paglets.errors import (
    CallerError,
    CancelledCallError,
    Code,
    DeadlineError,
    OperationNotFoundError,
    PagletError,
    PreconditionError,
    Resource,
    UnavailableError,
    as_paglet_error,
    error_for,
)

__all__ = [
    "DETAILS_KEY",
    "DOMAIN",
    "MAX_TRAILER_BYTES",
    "RPC_CODES",
    "from_rpc_error",
    "from_status",
    "from_status_bytes",
    "has_details",
    "to_status",
    "trailer_bytes",
]

DOMAIN = "paglet"
DETAILS_KEY = "grpc-status-details-bin"

RPC_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}
"""gRPC's own names of the codes of a status, by their numbers."""

MAX_TRAILER_BYTES: Final = 6 * 1024
"""What message and details of an error take up in trailers. A client that was told nothing takes 8 KiB in all."""

_OWN_DETAILS = frozenset(
    message.DESCRIPTOR.full_name
    for message in (BadRequest, ErrorInfo, PreconditionFailure, QuotaFailure, ResourceInfo, RetryInfo)
)
_TEXT_BYTES = (1024, 512, 256, 128)
_REASON_BYTES = 128
_UNESCAPED = bytes(set(range(0x20, 0x7F)) - {ord("%")})


def to_status(error: PagletError) -> Status:
    """The error as a status: ErrorInfo always, the other google.rpc details where they fit.

    An author's own details follow. It travels in the trailers of a call, which are bounded: texts that are said twice
    are left out first, then long ones cut, then all details but the reason left out. An error that is none, e.g. one of
    an author's own class without a code, is INTERNAL: its text stays in the log.
    """
    try:
        return _fitting(error)
    except (AttributeError, TypeError, ValueError, OverflowError) as broken:
        broken.__cause__ = error
        return _fitting(as_paglet_error(broken, f"an error of type {type(error).__name__}"))


def _fitting(error: PagletError) -> Status:
    """The fullest status that fits into the trailers."""
    for text_bytes in _TEXT_BYTES:
        for described in (True, False):
            status = _status(error, text_bytes, described=described)
            for detail in error.details:
                status.details.add(type_url=detail.type_url, value=detail.value)
            if trailer_bytes(status) <= MAX_TRAILER_BYTES:
                return status
    bare = Status(code=Code(error.code), message=_text(error.message, _TEXT_BYTES[-1]))
    bare.details.add().Pack(ErrorInfo(reason=_text(error.reason, _REASON_BYTES), domain=DOMAIN))
    return bare


def trailer_bytes(status: Status) -> int:
    """What a status takes up in trailers: its message percent-encoded, and once more in the details, as base64."""
    message = status.message.encode()
    escaped = len(message.translate(None, _UNESCAPED))
    return len(message) + 2 * escaped + (status.ByteSize() + 2) // 3 * 4


def _status(error: PagletError, text_bytes: int, *, described: bool) -> Status:
    """The status with texts of at most that many bytes; `described` says whether details repeat the message."""
    status = Status(code=Code(error.code), message=_text(error.message, text_bytes))
    for detail in _details(error, text_bytes, status.message if described else ""):
        status.details.add().Pack(detail)
    return status


def _text(text: str, most_bytes: int) -> str:
    """A text as it can travel: not too long, cut between two characters, and without what is no character."""
    data = text.encode(errors="backslashreplace")
    if len(data) <= most_bytes:
        return data.decode()
    return data[: most_bytes - 3].decode(errors="ignore") + "..."


def _details(error: PagletError, text_bytes: int, description: str) -> list[Message]:
    reason = _text(error.reason, _REASON_BYTES)
    metadata = {_text(key, text_bytes): _text(value, text_bytes) for key, value in error.metadata.items()}
    found: list[Message] = [ErrorInfo(reason=reason, domain=DOMAIN, metadata=metadata)]
    subject = _text(error.resource.name, text_bytes) if error.resource else ""
    if error.field:
        violation = BadRequest.FieldViolation(field=_text(error.field, text_bytes), description=description)
        found.append(BadRequest(field_violations=[violation]))
    if error.resource is not None:
        kind = _text(error.resource.kind, text_bytes)
        found.append(ResourceInfo(resource_type=kind, resource_name=subject, description=description))
    if error.reason in {"QUOTA_EXCEEDED", "STORAGE_QUOTA_EXCEEDED"}:
        quota = QuotaFailure.Violation(subject=metadata.get("subject", "host"), description=description)
        found.append(QuotaFailure(violations=[quota]))
    if isinstance(error, PreconditionError):
        failed = PreconditionFailure.Violation(type=reason, subject=subject, description=description)
        found.append(PreconditionFailure(violations=[failed]))
    if error.retry_after_s is not None:
        delay = duration_pb2.Duration()
        delay.FromNanoseconds(int(error.retry_after_s * 1e9))
        found.append(RetryInfo(retry_delay=delay))
    return found


def from_status_bytes(data: bytes) -> PagletError:
    """As `from_status`, of an encoded status; CallerError for what is none."""
    try:
        return from_status(Status.FromString(data))
    except DecodeError:
        return CallerError("HANDLER_FAILED", "a status that cannot be read")


def from_status(status: Status) -> PagletError:
    """The error that a status stands for; the reason is HANDLER_FAILED when it carries none of ours."""
    info, bad_request = ErrorInfo(), BadRequest()
    resource, retry = ResourceInfo(), RetryInfo()
    found = {type(message) for message in (info, bad_request, resource, retry) if _unpack(status, message)}
    ours = info.domain == DOMAIN
    return error_for(status.code)(
        info.reason if ours else "HANDLER_FAILED",
        status.message,
        resource=Resource(resource.resource_type, resource.resource_name) if type(resource) in found else None,
        metadata=dict(info.metadata) if ours else None,
        retry_after_s=retry.retry_delay.ToNanoseconds() / 1e9 if type(retry) in found else None,
        field=bad_request.field_violations[0].field if bad_request.field_violations else "",
        details=[detail for detail in status.details if not (ours and detail.TypeName() in _OWN_DETAILS)],
    )


def _unpack(status: Status, message: Message) -> bool:
    """Fills `message` from the detail of its type; False when there is none that can be read."""
    try:
        return any(detail.Unpack(message) for detail in status.details)
    except DecodeError:
        message.Clear()
        return False


def has_details(error: grpc.aio.AioRpcError) -> bool:
    """Whether a failed call carries the details of a status: then somebody answered, and it is no broken connection."""
    return any(key == DETAILS_KEY for key, _ in error.trailing_metadata() or ())


def from_rpc_error(error: grpc.aio.AioRpcError) -> PagletError:
    """The error that a failed call stands for, also when the failure is the connection's and not the peer's."""
    code, message = error.code(), error.details() or error.code().name
    number: int = code.value[0]
    for key, value in error.trailing_metadata() or ():
        if key == DETAILS_KEY and isinstance(value, bytes):
            try:
                return from_status(Status.FromString(value))
            except DecodeError:  # somebody answered, in details of a kind of his own
                return error_for(number)("HANDLER_FAILED", message)
    if code is grpc.StatusCode.UNAVAILABLE:
        return UnavailableError("TRANSPORT", message)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlineError(
            "DEADLINE_EXCEEDED", f"the deadline passed; whether the call was run is not known: {message}"
        )
    if code is grpc.StatusCode.CANCELLED:
        return CancelledCallError("CANCELLED", message)
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return OperationNotFoundError("OPERATION_NOT_FOUND", message)
    return error_for(number)("TRANSPORT", message)
