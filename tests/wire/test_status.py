"""Errors come out of a status as they went in."""

from __future__ import annotations

import grpc
import pytest
from google.rpc.error_details_pb2 import (
    BadRequest,
    ErrorInfo,
    PreconditionFailure,
    QuotaFailure,
    ResourceInfo,
    RetryInfo,
)
from google.rpc.status_pb2 import Status

from paglets import errors
from paglets.errors import (
    Code,
    ExhaustedError,
    InternalError,
    InvalidArgumentError,
    PagletError,
    PreconditionError,
    Resource,
    UnavailableError,
)
from paglets.wire.status import (
    DETAILS_KEY,
    DOMAIN,
    MAX_TRAILER_BYTES,
    from_rpc_error,
    from_status,
    from_status_bytes,
    has_details,
    to_status,
    trailer_bytes,
)

LEAVES = [leaf for leaf in vars(errors).values() if isinstance(leaf, type) and issubclass(leaf, PagletError)]
LEAVES.remove(PagletError)


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.__name__)
def test_error_survives_the_wire(leaf: type[PagletError]) -> None:
    """Class, reason, message, resource, metadata, delay and field are the same at the other end."""
    sent = leaf(
        "QUOTA_EXCEEDED",
        "no room",
        resource=Resource("artifact", "a1"),
        metadata={"limit_bytes": "10"},
        retry_after_s=1.5,
        field="size",
    )
    found = from_status_bytes(to_status(sent).SerializeToString())
    assert type(found) is leaf
    assert (found.reason, found.message, found.resource) == ("QUOTA_EXCEEDED", "no room", Resource("artifact", "a1"))
    assert (found.metadata, found.retry_after_s, found.field) == ({"limit_bytes": "10"}, 1.5, "size")


def test_every_code_but_ok_has_one_leaf() -> None:
    """No two leaves share a code, and only UNAUTHENTICATED waits for its day."""
    codes = [leaf.code for leaf in LEAVES]
    assert len(codes) == len(set(codes))
    assert set(Code) - set(codes) == {Code.UNAUTHENTICATED}


def test_codes_are_those_of_grpc() -> None:
    """The numbers and names are gRPC's own."""
    assert {code.name: code.value for code in Code} == {
        code.name: code.value[0] for code in grpc.StatusCode if code is not grpc.StatusCode.OK
    }


def _details(error: PagletError) -> set[str]:
    return {detail.type_url.rpartition("/")[2] for detail in to_status(error).details}


def test_details_fit_the_error() -> None:
    """Each error carries the google.rpc messages that a program of any language looks for."""
    info = {ErrorInfo.DESCRIPTOR.full_name}
    assert _details(InvalidArgumentError("INVALID_ID", "x")) == info
    assert _details(InvalidArgumentError("INVALID_ID", "x", field="id")) == info | {BadRequest.DESCRIPTOR.full_name}
    assert _details(ExhaustedError("QUOTA_EXCEEDED", "x")) == info | {QuotaFailure.DESCRIPTOR.full_name}
    assert _details(ExhaustedError("DISK_FULL", "x", retry_after_s=1)) == info | {RetryInfo.DESCRIPTOR.full_name}
    assert _details(PreconditionError("TASK_RUNNING", "x", resource=Resource("paglet", "p"))) == info | {
        PreconditionFailure.DESCRIPTOR.full_name,
        ResourceInfo.DESCRIPTOR.full_name,
    }
    (detail,) = to_status(InvalidArgumentError("INVALID_ID", "x")).details
    found = ErrorInfo()
    detail.Unpack(found)
    assert (found.domain, found.reason) == (DOMAIN, "INVALID_ID") == ("paglet", "INVALID_ID")


def test_foreign_status_becomes_a_leaf() -> None:
    """A status of somebody else's keeps its code and message; its reason says that it is none of ours."""
    found = from_status(Status(code=grpc.StatusCode.ABORTED.value[0], message="theirs"))
    assert (type(found), found.reason, found.message) == (errors.ConflictError, "HANDLER_FAILED", "theirs")


@pytest.mark.parametrize("letter", ["x", "%", "\n", "é", "日", "😀", "\ud800"])
def test_long_texts_are_cut_to_fit(letter: str) -> None:
    """Code, reason, subject and metadata come through whole whatever is said; a text is cut between two characters."""
    text = letter * 5000
    said = {"limit_bytes": "10", "why": text}
    sent = PreconditionError("TASK_RUNNING", text, resource=Resource("paglet", "p"), metadata=said, field=text)
    status = to_status(sent)
    assert trailer_bytes(status) <= MAX_TRAILER_BYTES
    found = from_status(status)
    assert (type(found), found.reason, found.resource) == (PreconditionError, "TASK_RUNNING", sent.resource)
    assert found.metadata["limit_bytes"] == "10"
    for cut in (found.message, found.metadata["why"], found.field):
        assert cut.endswith("...")
        assert set(cut.removesuffix("...")) <= set("\\ud800" if letter == "\ud800" else letter)


def test_too_many_details_are_left_out() -> None:
    """Metadata that cannot fit cost the details, never code, message and reason."""
    sent = ExhaustedError("DISK_FULL", "no room", metadata={f"key-{number}": "x" for number in range(1000)})
    found = from_status(to_status(sent))
    assert (type(found), found.reason, found.message) == (ExhaustedError, "DISK_FULL", "no room")
    assert found.metadata == {}


class _CodelessError(PagletError):
    """A class of an author who forgot the code."""


class _OddError(PagletError):
    """A class of an author who made a code up."""

    code = 99  # pyright: ignore[reportAssignmentType] - what pyright would tell him


class _EmptyError(PreconditionError):
    """A class of an author who did not call the constructor."""

    def __init__(self) -> None:
        pass


@pytest.mark.parametrize(
    "error",
    [
        _CodelessError("MINE", "secret"),
        _OddError("MINE", "secret"),
        _EmptyError(),
        PreconditionError("MINE", 5),  # pyright: ignore[reportArgumentType] - what authors do
        PreconditionError("MINE", "secret", metadata={"secret": 5}),  # pyright: ignore[reportArgumentType] - what authors do
        UnavailableError("MINE", "secret", retry_after_s=float("nan")),
        UnavailableError("MINE", "secret", retry_after_s=float("inf")),
        UnavailableError("MINE", "secret", retry_after_s=1e300),
    ],
    ids=["no code", "odd code", "no fields", "message", "metadata", "nan", "inf", "too long"],
)
def test_error_that_is_none_is_internal(error: PagletError, caplog: pytest.LogCaptureFixture) -> None:
    """An author's error that cannot be told is INTERNAL; the log has it under the incident, the caller no text."""
    status = to_status(error)
    found = from_status(status)
    assert (type(found), found.reason) == (InternalError, "INTERNAL")
    assert found.metadata["incident"] in caplog.text
    assert b"secret" not in status.SerializeToString()


def _failed(code: grpc.StatusCode, *trailing: tuple[str, bytes]) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(*trailing), "theirs")


def test_details_that_cannot_be_read_are_no_ones() -> None:
    """A status in details of another kind, or with a broken one, is an error by its code, and an answer."""
    broken = Status(code=grpc.StatusCode.UNAVAILABLE.value[0], message="theirs")
    broken.details.add(type_url=f"type.googleapis.com/{ErrorInfo.DESCRIPTOR.full_name}", value=b"\xff\xff")
    for details in (b"\xff\xff\xff", broken.SerializeToString()):
        error = _failed(grpc.StatusCode.UNAVAILABLE, (DETAILS_KEY, details))
        found = from_rpc_error(error)
        assert (type(found), found.reason, found.message) == (UnavailableError, "HANDLER_FAILED", "theirs")
        assert has_details(error)
    assert from_status_bytes(b"\xff\xff\xff").reason == "HANDLER_FAILED"
    lost = _failed(grpc.StatusCode.UNAVAILABLE)
    assert from_rpc_error(lost).reason == "TRANSPORT"
    assert not has_details(lost)
