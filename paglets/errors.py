"""The one tree of errors: each leaf tells what the caller can do next.

This file knows no gRPC: `Code` has gRPC's values so that `paglets.wire.status` can translate one to one.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, Protocol

__all__ = [
    "AlreadyExistsError",
    "CallerError",
    "CancelledCallError",
    "Code",
    "ConflictError",
    "DataLossError",
    "DeadlineError",
    "ExhaustedError",
    "InternalError",
    "InvalidArgumentError",
    "NotFoundError",
    "OperationNotFoundError",
    "OutOfRangeError",
    "Packed",
    "PagletError",
    "PermissionDeniedError",
    "PreconditionError",
    "Resource",
    "UnavailableError",
    "as_paglet_error",
    "error_for",
]


_log = logging.getLogger(__name__)


class Code(IntEnum):
    """How an error is classed on the wire; the values are gRPC's."""

    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


@dataclass(frozen=True, slots=True)
class Resource:
    """What an error is about.

    `kind` is one of the design's words ("artifact", "paglet", "host", "file", ...), `name` identifies it.
    """

    kind: str
    name: str


class Packed(Protocol):
    """A detail of a status, packed as `google.protobuf.Any`."""

    @property
    def type_url(self) -> str:
        """Names the message."""
        ...

    @property
    def value(self) -> bytes:
        """The message, encoded."""
        ...


class PagletError(Exception):
    """Every error that paglets raises on purpose; never raised itself, only its leaves.

    `reason` is from the closed list in `paglet/v1/errors.proto`, without its prefix; `metadata` holds details that a
    program can read; `retry_after_s` is how long to wait before trying again, where waiting helps; `field` names the
    request field at fault. `details` are those of an author's own: a handler raises a leaf with the reason
    HANDLER_FAILED, and his caller gets code, message and details.
    """

    code: ClassVar[Code]

    def __init__(
        self,
        reason: str,
        message: str,
        *,
        resource: Resource | None = None,
        metadata: Mapping[str, str] | None = None,
        retry_after_s: float | None = None,
        field: str = "",
        details: Sequence[Packed] = (),
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.resource = resource
        self.metadata: dict[str, str] = dict(metadata or {})
        self.retry_after_s = retry_after_s
        self.field = field
        self.details = tuple(details)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.reason}, {self.message!r})"


class InvalidArgumentError(PagletError):
    """The request itself is wrong: mend it, sending it again will not help."""

    code = Code.INVALID_ARGUMENT


class OutOfRangeError(PagletError):
    """The request goes past what there is: go on from where the metadata says."""

    code = Code.OUT_OF_RANGE


class NotFoundError(PagletError):
    """What was named is not there."""

    code = Code.NOT_FOUND


class AlreadyExistsError(PagletError):
    """What was to be made is there already: decide whether that will do, or take another name."""

    code = Code.ALREADY_EXISTS


class PermissionDeniedError(PagletError):
    """The host's owner does not allow this."""

    code = Code.PERMISSION_DENIED


class ExhaustedError(PagletError):
    """There is no room now: free some, or try again after `retry_after_s`."""

    code = Code.RESOURCE_EXHAUSTED


class PreconditionError(PagletError):
    """The request does not fit how things stand: change that first."""

    code = Code.FAILED_PRECONDITION


class ConflictError(PagletError):
    """Somebody else came first, or the attempt was given up: look again, then try the whole of it again."""

    code = Code.ABORTED


class UnavailableError(PagletError):
    """Something cannot be reached now: try the same request again, with its request id if it has one."""

    code = Code.UNAVAILABLE


class DataLossError(PagletError):
    """Stored bytes are not what they were: fetch them from elsewhere."""

    code = Code.DATA_LOSS


class DeadlineError(PagletError):
    """Time ran out."""

    code = Code.DEADLINE_EXCEEDED


class CancelledCallError(PagletError):
    """The caller gave the call up."""

    code = Code.CANCELLED


class OperationNotFoundError(PagletError):
    """The paglet has no such operation."""

    code = Code.UNIMPLEMENTED


class InternalError(PagletError):
    """A defect: the host's log has the text under the incident id in the metadata."""

    code = Code.INTERNAL


class CallerError(PagletError):
    """A peer answered with an error that is none of ours."""

    code = Code.UNKNOWN


_BY_CODE: dict[int, type[PagletError]] = {
    leaf.code: leaf
    for leaf in (
        InvalidArgumentError,
        OutOfRangeError,
        NotFoundError,
        AlreadyExistsError,
        PermissionDeniedError,
        ExhaustedError,
        PreconditionError,
        ConflictError,
        UnavailableError,
        DataLossError,
        DeadlineError,
        CancelledCallError,
        OperationNotFoundError,
        InternalError,
        CallerError,
    )
}


def error_for(code: int) -> type[PagletError]:
    """The leaf for a status code; `CallerError` for one that paglets itself never sends."""
    return _BY_CODE.get(code, CallerError)


def as_paglet_error(error: BaseException, where: str) -> PagletError:
    """The error itself if it is ours; otherwise an INTERNAL one whose incident id is in the log beside the text."""
    if isinstance(error, PagletError):
        return error
    incident = uuid.uuid4().hex
    _log.error("incident %s in %s", incident, where, exc_info=error)
    return InternalError(
        "INTERNAL",
        f"an unexpected error; the host's log has it as incident {incident}",
        metadata={"incident": incident},
    )
