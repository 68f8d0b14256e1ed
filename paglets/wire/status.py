"""Errors as google.rpc.Status and back: the only place that translates.

An error raised behind a door comes out at the client as the same class with the same fields.
"""

from __future__ import annotations

import grpc
from google.protobuf import duration_pb2
from google.protobuf.message import Message
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
    CancelledCallError,
    DeadlineError,
    OperationNotFoundError,
    PagletError,
    PreconditionError,
    Resource,
    UnavailableError,
    error_for,
)

__all__ = ["DETAILS_KEY", "DOMAIN", "from_rpc_error", "from_status", "from_status_bytes", "to_status"]

_MAX_TEXT = 1024
_MAX_DETAILS_BYTES = 24 * 1024

DOMAIN = "paglet"
DETAILS_KEY = "grpc-status-details-bin"


def to_status(error: PagletError) -> Status:
    """The error as a status: ErrorInfo always, the other google.rpc details where they fit.

    It travels in the trailers of a call, which are bounded: long texts are cut, and details that are too much left out.
    """
    status = Status(code=error.code, message=_text(error.message))
    for detail in _details(error):
        status.details.add().Pack(detail)
    if status.ByteSize() > _MAX_DETAILS_BYTES:
        del status.details[:]
        status.details.add().Pack(ErrorInfo(reason=_text(error.reason), domain=DOMAIN))
    return status


def _text(text: str) -> str:
    """A text as it can travel: not too long, and without what is no character."""
    shown = text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 3] + "..."
    return shown.encode(errors="backslashreplace").decode()


def _details(error: PagletError) -> list[Message]:
    message = _text(error.message)
    metadata = {_text(key): _text(value) for key, value in error.metadata.items()}
    found: list[Message] = [ErrorInfo(reason=_text(error.reason), domain=DOMAIN, metadata=metadata)]
    subject = _text(error.resource.name) if error.resource else ""
    if error.field:
        violation = BadRequest.FieldViolation(field=_text(error.field), description=message)
        found.append(BadRequest(field_violations=[violation]))
    if error.resource is not None:
        kind = _text(error.resource.kind)
        found.append(ResourceInfo(resource_type=kind, resource_name=subject, description=message))
    if error.reason == "QUOTA_EXCEEDED":
        quota = QuotaFailure.Violation(subject="host", description=message)
        found.append(QuotaFailure(violations=[quota]))
    if isinstance(error, PreconditionError):
        failed = PreconditionFailure.Violation(type=_text(error.reason), subject=subject, description=message)
        found.append(PreconditionFailure(violations=[failed]))
    if error.retry_after_s is not None:
        delay = duration_pb2.Duration()
        delay.FromNanoseconds(int(error.retry_after_s * 1e9))
        found.append(RetryInfo(retry_delay=delay))
    return found


def from_status_bytes(data: bytes) -> PagletError:
    """As `from_status`, of an encoded status."""
    return from_status(Status.FromString(data))


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
    )


def _unpack(status: Status, message: Message) -> bool:
    return any(detail.Unpack(message) for detail in status.details)


def from_rpc_error(error: grpc.aio.AioRpcError) -> PagletError:
    """The error that a failed call stands for, also when the failure is the connection's and not the peer's."""
    for key, value in error.trailing_metadata() or ():
        if key == DETAILS_KEY and isinstance(value, bytes):
            return from_status_bytes(value)
    code, message = error.code(), error.details() or error.code().name
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
    number: int = code.value[0]
    return error_for(number)("TRANSPORT", message)
