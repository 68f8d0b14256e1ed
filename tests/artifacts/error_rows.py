"""The error table: who does what, and what comes of it, in numbers and names of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from paglet.v1 import artifact_pb2
from tests.artifacts import provocations as by
from tests.artifacts.scene import MAX_BYTES, Bound, Scene
from tests.artifacts.test_wire import chunk, finish, header

__all__ = ["ROWS", "Row"]


@dataclass(frozen=True, slots=True)
class Row:
    """What is done, and the status that comes of it.

    `metadata` are the keys; `resource` is a type and a name, `failed` a failed precondition's type and subject. The
    store has other `bounds` than usual where some are given; it is not `patient` where something has to stand still,
    and lies on a `small_disk` where that has to be full.
    """

    rpc: str
    code: str
    reason: str
    does: Callable[[Scene], Awaitable[object]]
    fields: tuple[str, ...] = ()
    metadata: tuple[str, ...] = ()
    resource: tuple[str, str] = ("", "")
    quota_of: str = ""
    failed: tuple[str, str] = ("", "")
    retry_s: float = 0
    bounds: Mapping[str, Bound] = field(default_factory=dict[str, Bound])
    patient: bool = True
    small_disk: bool = False


_UPLOAD, _ARTIFACT = ("upload", "u"), ("artifact", "a")
_FOUND, _LIMITS = ("actual", "expected"), ("limit_bytes", "requested_bytes")
_QUOTA = ("limit_bytes", "requested_bytes", "reserved_bytes", "subject", "used_bytes")
_BAD = "INVALID_ARGUMENT"
_LARGE: Final = {"max_artifact_bytes": None, "quota_bytes": None}

_WRITE = (
    Row("WriteArtifact", _BAD, "MALFORMED_REQUEST", lambda s: s.write(), ("header",)),
    Row("WriteArtifact", _BAD, "MALFORMED_REQUEST", lambda s: s.write(chunk(0, b"x")), ("header",)),
    Row("WriteArtifact", _BAD, "MALFORMED_REQUEST", lambda s: s.write(header(), header()), ("header",)),
    Row("WriteArtifact", _BAD, "MALFORMED_REQUEST", lambda s: s.write(header(), chunk(-1, b"x")), ("chunk.offset",)),
    Row("WriteArtifact", _BAD, "MALFORMED_REQUEST", lambda s: s.write(header(), chunk(0, b"")), ("chunk.data",)),
    Row(
        "WriteArtifact",
        _BAD,
        "MALFORMED_REQUEST",
        lambda s: s.write(header(), chunk(0, bytes(2 * 1024 * 1024 + 1))),
        ("chunk.data",),
    ),
    Row("WriteArtifact", _BAD, "MALFORMED_REQUEST", lambda s: s.write(header(writer_epoch=-1)), ("writer_epoch",)),
    Row("WriteArtifact", _BAD, "MALFORMED_REQUEST", lambda s: s.write(header(writer_epoch=2**60)), ("writer_epoch",)),
    Row("WriteArtifact", _BAD, "INVALID_ID", lambda s: s.write(header(upload_id="../u")), ("upload_id",)),
    Row("WriteArtifact", _BAD, "INVALID_ID", lambda s: s.write(header(artifact_id="A")), ("artifact_id",)),
    Row("WriteArtifact", _BAD, "INVALID_ID", lambda s: s.write(header(owner="A")), ("owner",)),
    Row("WriteArtifact", _BAD, "SIZE_MISMATCH", lambda s: s.write(header(), finish(b"x")), metadata=_FOUND),
    Row(
        "WriteArtifact",
        _BAD,
        "SIZE_MISMATCH",
        lambda s: s.write(header(expected_size=1), chunk(0, b"xy")),
        metadata=_FOUND,
    ),
    Row(
        "WriteArtifact",
        _BAD,
        "DIGEST_MISMATCH",
        lambda s: s.write(header(), chunk(0, b"xy"), finish(b"yx")),
        metadata=_FOUND,
    ),
    Row(
        "WriteArtifact",
        _BAD,
        "ARTIFACT_TOO_LARGE",
        lambda s: s.write(header(expected_size=MAX_BYTES + 1)),
        ("expected_size",),
        _LIMITS,
    ),
    Row("WriteArtifact", _BAD, "ARTIFACT_TOO_LARGE", by.size_of_the_digest, ("expected_digest",), _LIMITS),
    Row(
        "WriteArtifact",
        _BAD,
        "ARTIFACT_TOO_LARGE",
        lambda s: s.write(header(), chunk(0, bytes(MAX_BYTES + 1))),
        ("chunk.data",),
        _LIMITS,
    ),
    Row(
        "WriteArtifact",
        "OUT_OF_RANGE",
        "OFFSET_MISMATCH",
        lambda s: s.write(header(), chunk(1, b"x")),
        metadata=("expected_offset", "provided_offset"),
    ),
    Row("WriteArtifact", "ALREADY_EXISTS", "ARTIFACT_EXISTS", by.id_is_taken, (), ("digest",), _ARTIFACT),
    Row("WriteArtifact", "ABORTED", "UPLOAD_STALLED", by.stalled, retry_s=1, patient=False),
    Row("WriteArtifact", "ABORTED", "UPLOAD_IN_PROGRESS", by.same_epoch, resource=_UPLOAD, retry_s=1),
    Row("WriteArtifact", "ABORTED", "UPLOAD_IN_PROGRESS", by.id_is_written, resource=_ARTIFACT, retry_s=1),
    Row("WriteArtifact", "ABORTED", "UPLOAD_CANCELLED", by.cancelled, resource=_UPLOAD),
    Row("WriteArtifact", "ABORTED", "WRITER_FENCED", by.fenced, (), ("current_epoch",), _UPLOAD),
    Row(
        "WriteArtifact",
        "FAILED_PRECONDITION",
        "REQUEST_ID_REUSED",
        by.another_request,
        metadata=("request_id",),
        resource=_UPLOAD,
        failed=("REQUEST_ID_REUSED", "u"),
    ),
    Row(
        "WriteArtifact",
        "FAILED_PRECONDITION",
        "PREFIX_MISMATCH",
        by.another_prefix,
        metadata=("actual", "committed_size", "expected"),
        resource=_UPLOAD,
        failed=("PREFIX_MISMATCH", "u"),
    ),
    Row("WriteArtifact", "NOT_FOUND", "ARTIFACT_NOT_FOUND", by.deleted_since, resource=_ARTIFACT),
    Row("WriteArtifact", "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", by.store_without_room, (), _QUOTA, quota_of="host"),
    Row(
        "WriteArtifact",
        "RESOURCE_EXHAUSTED",
        "QUOTA_EXCEEDED",
        by.owner_without_room,
        metadata=_QUOTA,
        quota_of="owner:ann",
    ),
    Row(
        "WriteArtifact",
        "RESOURCE_EXHAUSTED",
        "DISK_FULL",
        lambda s: s.write(header()),
        retry_s=30,
        bounds={"min_free_bytes": 1 << 60},
    ),
    Row("WriteArtifact", "RESOURCE_EXHAUSTED", "TOO_MANY_UPLOADS", by.too_many_open, (), ("limit",), retry_s=1),
    Row("WriteArtifact", "RESOURCE_EXHAUSTED", "TOO_MANY_UPLOADS", by.too_many_unfinished, (), ("limit",), retry_s=1),
)

_UPLOADS = (
    Row("GetUpload", _BAD, "INVALID_ID", lambda s: s.upload("U"), ("upload_id",)),
    Row("GetUpload", "NOT_FOUND", "UPLOAD_NOT_FOUND", lambda s: s.upload("u"), resource=_UPLOAD),
    Row("GetUpload", "ABORTED", "UPLOAD_IN_PROGRESS", by.failed_upload_is_asked_for, resource=_UPLOAD, retry_s=1),
    Row(
        "ListUploads",
        _BAD,
        "MALFORMED_REQUEST",
        lambda s: s.stub.ListUploads(artifact_pb2.ListUploadsRequest(page_size=-1)),
        ("page_size",),
    ),
    Row(
        "ListUploads",
        _BAD,
        "MALFORMED_REQUEST",
        lambda s: s.stub.ListUploads(artifact_pb2.ListUploadsRequest(page_token="x")),  # noqa: S106 - no password
        ("page_token",),
    ),
    Row("CancelUpload", _BAD, "INVALID_ID", lambda s: s.cancel(""), ("upload_id",)),
    Row("CancelUpload", "NOT_FOUND", "UPLOAD_NOT_FOUND", lambda s: s.cancel("u"), resource=_UPLOAD),
    Row("CancelUpload", "ABORTED", "UPLOAD_IN_PROGRESS", by.cancel_at_the_end, resource=_UPLOAD, retry_s=1),
)

_READS = (
    Row("ReadArtifact", _BAD, "INVALID_ID", lambda s: s.read("A"), ("artifact_id",)),
    Row("ReadArtifact", _BAD, "MALFORMED_REQUEST", lambda s: s.read("a", -1), ("read_offset",)),
    Row("ReadArtifact", _BAD, "MALFORMED_REQUEST", lambda s: s.read("a", 0, -1), ("read_limit",)),
    Row("ReadArtifact", "NOT_FOUND", "ARTIFACT_NOT_FOUND", lambda s: s.read("a"), resource=_ARTIFACT),
    Row(
        "ReadArtifact", "OUT_OF_RANGE", "RANGE_NOT_SATISFIABLE", by.past_the_end, metadata=("read_offset", "size_bytes")
    ),
    Row("ReadArtifact", "DATA_LOSS", "STORED_BLOB_CORRUPT", by.corrupt, (), ("artifact_id",), _ARTIFACT),
    Row(
        "ReadArtifact",
        "RESOURCE_EXHAUSTED",
        "TOO_MANY_READS",
        by.second_read,
        metadata=("limit",),
        retry_s=1,
        bounds=_LARGE,
    ),
    Row(
        "ReadArtifact",
        "DEADLINE_EXCEEDED",
        "DEADLINE_EXCEEDED",
        by.read_that_stands_still,
        bounds=_LARGE,
        patient=False,
    ),
    Row("GetArtifact", _BAD, "INVALID_ID", lambda s: s.get("a/b"), ("artifact_id",)),
    Row("GetArtifact", "NOT_FOUND", "ARTIFACT_NOT_FOUND", lambda s: s.get("a"), resource=_ARTIFACT),
    Row("GetArtifact", "NOT_FOUND", "ARTIFACT_NOT_FOUND", by.expired, resource=_ARTIFACT),
    Row(
        "ListArtifacts",
        _BAD,
        "MALFORMED_REQUEST",
        lambda s: s.stub.ListArtifacts(artifact_pb2.ListArtifactsRequest(page_size=-1)),
        ("page_size",),
    ),
    Row(
        "ListArtifacts",
        _BAD,
        "MALFORMED_REQUEST",
        lambda s: s.stub.ListArtifacts(artifact_pb2.ListArtifactsRequest(page_token="x")),  # noqa: S106 - no password
        ("page_token",),
    ),
    Row("ListArtifacts", _BAD, "MALFORMED_REQUEST", by.unknown_order, ("order_by",)),
    Row(
        "ListArtifacts",
        _BAD,
        "MALFORMED_REQUEST",
        lambda s: s.stub.ListArtifacts(artifact_pb2.ListArtifactsRequest(labels={"": "x"})),
        ("labels",),
    ),
    Row(
        "ListArtifacts",
        _BAD,
        "MALFORMED_REQUEST",
        lambda s: s.stub.ListArtifacts(artifact_pb2.ListArtifactsRequest(name_prefix="x" * 256)),
        ("name_prefix",),
    ),
    Row(
        "GetUsage",
        _BAD,
        "INVALID_ID",
        lambda s: s.stub.GetUsage(artifact_pb2.GetUsageRequest(owner="A")),
        ("owner",),
    ),
    Row(
        "GetUsage",
        _BAD,
        "MALFORMED_REQUEST",
        lambda s: s.stub.GetUsage(artifact_pb2.GetUsageRequest(page_size=-1)),
        ("page_size",),
    ),
    Row(
        "GetUsage",
        _BAD,
        "MALFORMED_REQUEST",
        lambda s: s.stub.GetUsage(artifact_pb2.GetUsageRequest(page_token="x")),  # noqa: S106 - no password
        ("page_token",),
    ),
)

_CHANGES = (
    Row("UpdateArtifact", _BAD, "MALFORMED_REQUEST", lambda s: s.update(artifact_id="a"), ("update_mask",)),
    Row("UpdateArtifact", _BAD, "MALFORMED_REQUEST", lambda s: s.update("digest", artifact_id="a"), ("update_mask",)),
    Row("UpdateArtifact", _BAD, "MALFORMED_REQUEST", lambda s: s.update(artifact_id="a", name="x" * 256), ("name",)),
    Row("UpdateArtifact", _BAD, "INVALID_ID", lambda s: s.update(name="x"), ("artifact_id",)),
    Row("UpdateArtifact", _BAD, "INVALID_ID", lambda s: s.update(artifact_id="a", owner="A"), ("owner",)),
    Row(
        "UpdateArtifact",
        "NOT_FOUND",
        "ARTIFACT_NOT_FOUND",
        lambda s: s.update(artifact_id="a", name="x"),
        resource=_ARTIFACT,
    ),
    Row("UpdateArtifact", "ABORTED", "ETAG_MISMATCH", by.update_of_another_version, (), _FOUND, _ARTIFACT),
    Row(
        "UpdateArtifact",
        "RESOURCE_EXHAUSTED",
        "QUOTA_EXCEEDED",
        by.new_owner_without_room,
        metadata=_QUOTA,
        quota_of="owner:ann",
    ),
    Row("UpdateArtifact", "RESOURCE_EXHAUSTED", "DISK_FULL", by.update_on_a_full_disk, retry_s=30, small_disk=True),
    Row("DeleteArtifact", _BAD, "INVALID_ID", lambda s: s.delete("A"), ("artifact_id",)),
    Row("DeleteArtifact", "NOT_FOUND", "ARTIFACT_NOT_FOUND", lambda s: s.delete("a"), resource=_ARTIFACT),
    Row("DeleteArtifact", "ABORTED", "ETAG_MISMATCH", by.delete_of_another_version, (), _FOUND, _ARTIFACT),
    Row("DeleteArtifact", "RESOURCE_EXHAUSTED", "DISK_FULL", by.delete_without_any_room, retry_s=30, small_disk=True),
    Row("WatchArtifacts", _BAD, "MALFORMED_REQUEST", lambda s: s.watch("x"), ("cursor",)),
    Row("WatchArtifacts", "OUT_OF_RANGE", "CURSOR_EXPIRED", by.cursor_of_old, (), ("oldest",)),
    Row("WatchArtifacts", "RESOURCE_EXHAUSTED", "TOO_MANY_READS", by.second_watch, (), ("limit",), retry_s=1),
    Row(
        "WatchArtifacts",
        "DEADLINE_EXCEEDED",
        "DEADLINE_EXCEEDED",
        by.watch_that_stands_still,
        bounds={"keep_events": 100_000},
        patient=False,
    ),
)

_TICKETS = (
    Row("ReadArtifact", "PERMISSION_DENIED", "TICKET_INVALID", by.read_by_a_wrong_ticket, (), ("cause",), _ARTIFACT),
    Row("GetArtifact", "PERMISSION_DENIED", "TICKET_INVALID", by.get_by_a_wrong_ticket, (), ("cause",), _ARTIFACT),
    Row("CreateReadTicket", _BAD, "INVALID_ID", lambda s: s.ticket("A"), ("artifact_id",)),
    Row("CreateReadTicket", _BAD, "MALFORMED_REQUEST", by.ticket_that_ends_before_it_begins, ("ttl",)),
    Row("CreateReadTicket", "NOT_FOUND", "ARTIFACT_NOT_FOUND", lambda s: s.ticket("a"), resource=_ARTIFACT),
)

# Told in the comment of the service, since any rpc may come while its host ends.
_CLOSING = (
    Row("WriteArtifact", "UNAVAILABLE", "SHUTTING_DOWN", by.store_closes),
    Row("WatchArtifacts", "UNAVAILABLE", "SHUTTING_DOWN", by.watch_of_a_closing_host),
)

ROWS = (*_WRITE, *_UPLOADS, *_READS, *_CHANGES, *_TICKETS, *_CLOSING)
