"""Artifacts and what is asked of their store, as messages and back, in pairs."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from paglet.v1 import artifact_pb2
from paglets.artifacts.store import (
    ArtifactPage,
    ArtifactWrite,
    ArtifactWriteResult,
    ByteRange,
    StoreUsage,
    UploadInfo,
    UploadPage,
    UploadState,
    Usage,
    WriteOutcome,
)
from paglets.digest import Digest
from paglets.errors import CallerError, InvalidArgumentError
from paglets.values import ArtifactRef, OwnerPolicy, check_id
from paglets.wire.digest import digest_from_message, digest_to_message
from paglets.wire.times import duration_from_message, duration_to_message, time_from_message, time_to_message

__all__ = [
    "artifact_from_message",
    "artifact_to_message",
    "finish_from_message",
    "finish_to_message",
    "outcome_from_message",
    "outcome_to_message",
    "page_from_message",
    "page_to_message",
    "partial_to_message",
    "policy_from_message",
    "policy_to_message",
    "prefix_from_header",
    "read_from_request",
    "read_header",
    "read_to_request",
    "result_from_message",
    "result_to_message",
    "upload_from_message",
    "upload_to_message",
    "uploads_from_message",
    "uploads_to_message",
    "usage_from_message",
    "usage_to_message",
    "write_from_header",
    "write_to_header",
]

_POLICIES = {policy: artifact_pb2.OwnerPolicy.Value(f"OWNER_POLICY_{policy.name}") for policy in OwnerPolicy}
_POLICIES_BACK = {number: policy for policy, number in _POLICIES.items()}
_OUTCOMES = {outcome: artifact_pb2.WriteOutcome.Value(f"WRITE_OUTCOME_{outcome.name}") for outcome in WriteOutcome}
_OUTCOMES_BACK = {number: outcome for outcome, number in _OUTCOMES.items()}
_STATES = {state: artifact_pb2.UploadState.Value(f"UPLOAD_STATE_{state.name}") for state in UploadState}
_STATES_BACK = {number: state for state, number in _STATES.items()}


def artifact_to_message(ref: ArtifactRef) -> artifact_pb2.Artifact:
    """A reference as a message."""
    return artifact_pb2.Artifact(
        artifact_id=ref.artifact_id,
        name=ref.name,
        owner=ref.owner,
        digest=digest_to_message(ref.digest),
        content_type=ref.content_type,
        content_encoding=ref.content_encoding,
        labels=ref.labels,
        owner_policy=policy_to_message(ref.owner_policy),
        create_time=time_to_message(ref.created_at),
        expire_time=_time_to_message(ref.expires_at),
        host=ref.host,
        etag=ref.etag,
        update_time=time_to_message(ref.updated_at),
        corrupt=ref.corrupt,
        verified_time=_time_to_message(ref.verified_at),
    )


def artifact_from_message(message: artifact_pb2.Artifact) -> ArtifactRef:
    """A message as a reference. A policy that this version does not know is taken for KEEP."""
    return ArtifactRef(
        host=message.host,
        artifact_id=message.artifact_id,
        digest=digest_from_message(message.digest),
        name=message.name,
        owner=message.owner,
        content_type=message.content_type,
        content_encoding=message.content_encoding,
        labels=dict(message.labels),
        owner_policy=_POLICIES_BACK.get(message.owner_policy, OwnerPolicy.KEEP),
        created_at=time_from_message(message.create_time),
        expires_at=time_from_message(message.expire_time) if message.HasField("expire_time") else None,
        etag=message.etag,
        updated_at=time_from_message(message.update_time),
        corrupt=message.corrupt,
        verified_at=time_from_message(message.verified_time) if message.HasField("verified_time") else None,
    )


def policy_to_message(policy: OwnerPolicy) -> artifact_pb2.OwnerPolicy.ValueType:
    """A policy as the wire has it."""
    return _POLICIES[policy]


def policy_from_message(number: artifact_pb2.OwnerPolicy.ValueType) -> OwnerPolicy:
    """What the wire has as a policy; KEEP where none is given. Raises MALFORMED_REQUEST for one that is unknown."""
    if number == artifact_pb2.OWNER_POLICY_UNSPECIFIED:
        return OwnerPolicy.KEEP
    policy = _POLICIES_BACK.get(number)
    if policy is None:
        raise InvalidArgumentError("MALFORMED_REQUEST", f"owner_policy {number} is unknown", field="owner_policy")
    return policy


def write_to_header(write: ArtifactWrite, writer_epoch: int, prefix: Digest) -> artifact_pb2.WriteHeader:
    """What is to be written, as the first frame of an upload; `upload_id` must be set.

    `prefix` is of the bytes that will not be sent.
    """
    return artifact_pb2.WriteHeader(
        upload_id=write.upload_id,
        artifact_id=write.artifact_id,
        name=write.name,
        owner=write.owner,
        labels=write.labels,
        content_type=write.content_type,
        content_encoding=write.content_encoding,
        expected_size=write.size_bytes,
        expected_digest=None if write.expected_digest is None else digest_to_message(write.expected_digest),
        ttl=None if write.ttl_s is None else duration_to_message(write.ttl_s, "ttl"),
        owner_policy=policy_to_message(write.owner_policy),
        writer_epoch=writer_epoch,
        prefix_digest=digest_to_message(prefix),
        as_file=write.as_file,
    )


def prefix_from_header(header: artifact_pb2.WriteHeader) -> Digest | None:
    """What the writer of an upload will not send, since the host has it. Raises MALFORMED_REQUEST."""
    return digest_from_message(header.prefix_digest) if header.HasField("prefix_digest") else None


def write_from_header(header: artifact_pb2.WriteHeader) -> ArtifactWrite:
    """The first frame of an upload as what is to be written. Raises INVALID_ID, MALFORMED_REQUEST."""
    return ArtifactWrite(
        upload_id=check_id(header.upload_id, "upload_id"),
        artifact_id=header.artifact_id,
        name=header.name,
        owner=header.owner,
        owner_policy=policy_from_message(header.owner_policy),
        content_type=header.content_type,
        content_encoding=header.content_encoding,
        labels=dict(header.labels),
        ttl_s=duration_from_message(header.ttl) if header.HasField("ttl") else None,
        size_bytes=header.expected_size if header.HasField("expected_size") else None,
        expected_digest=digest_from_message(header.expected_digest) if header.HasField("expected_digest") else None,
        as_file=header.as_file,
    )


def finish_to_message(digest: Digest) -> artifact_pb2.WriteFinish:
    """What was sent, as the last frame of an upload."""
    return artifact_pb2.WriteFinish(total_size=digest.size_bytes, digest=digest_to_message(digest))


def finish_from_message(message: artifact_pb2.WriteFinish) -> Digest:
    """The last frame of an upload as what was sent. Raises MALFORMED_REQUEST."""
    if not message.HasField("digest"):
        raise InvalidArgumentError("MALFORMED_REQUEST", "finish carries the digest of all bytes", field="finish.digest")
    digest = digest_from_message(message.digest)
    if digest.size_bytes != message.total_size:
        raise InvalidArgumentError(
            "MALFORMED_REQUEST",
            f"finish says {message.total_size} bytes, its digest {digest.size_bytes}",
            field="finish.total_size",
        )
    return digest


def read_to_request(
    artifact_id: str, offset: int, length: int | None, read_ticket: bytes = b""
) -> artifact_pb2.ReadArtifactRequest:
    """What is to be read, as a message; a length is at least 1, None for all to the end."""
    return artifact_pb2.ReadArtifactRequest(
        artifact_id=artifact_id, read_offset=offset, read_limit=length or 0, read_ticket=read_ticket
    )


def read_from_request(request: artifact_pb2.ReadArtifactRequest) -> tuple[str, int, int | None]:
    """A message as what is to be read: the artifact, an offset, and a length or None for all to the end."""
    return request.artifact_id, request.read_offset, request.read_limit or None


def read_header(ref: ArtifactRef, byte_range: ByteRange, message_bytes: int) -> artifact_pb2.ReadArtifactResponse:
    """The first frame of a read: what will come, and in chunks of which size."""
    return artifact_pb2.ReadArtifactResponse(
        header=artifact_pb2.ReadHeader(
            artifact=artifact_to_message(ref),
            offset=byte_range.offset,
            length=byte_range.length,
            message_bytes=message_bytes,
        )
    )


def outcome_to_message(outcome: WriteOutcome) -> artifact_pb2.WriteOutcome.ValueType:
    """How a write ended well, as a number of the wire."""
    return _OUTCOMES[outcome]


def outcome_from_message(number: artifact_pb2.WriteOutcome.ValueType) -> WriteOutcome:
    """A number of the wire as how a write ended well. Raises TRANSPORT for an outcome that no host sends."""
    outcome = _OUTCOMES_BACK.get(number)
    if outcome is None:
        raise CallerError("TRANSPORT", f"the host answered with the unknown outcome {number}")
    return outcome


def result_to_message(result: ArtifactWriteResult) -> artifact_pb2.WriteArtifactResponse:
    """How an upload ended, as a message."""
    return artifact_pb2.WriteArtifactResponse(
        outcome=outcome_to_message(result.outcome),
        artifact=artifact_to_message(result.ref),
        committed_size=result.ref.size_bytes,
    )


def partial_to_message(committed_size: int) -> artifact_pb2.WriteArtifactResponse:
    """A partial, as how an upload's stream ended."""
    return artifact_pb2.WriteArtifactResponse(outcome=artifact_pb2.WRITE_OUTCOME_PARTIAL, committed_size=committed_size)


def result_from_message(message: artifact_pb2.WriteArtifactResponse) -> ArtifactWriteResult | None:
    """A message as how an upload ended; None for a partial. Raises TRANSPORT for an outcome that no host sends."""
    if message.outcome == artifact_pb2.WRITE_OUTCOME_PARTIAL:
        return None
    outcome = outcome_from_message(message.outcome)
    return ArtifactWriteResult(artifact_from_message(message.artifact), outcome)


def upload_to_message(info: UploadInfo) -> artifact_pb2.Upload:
    """An upload as a message."""
    return artifact_pb2.Upload(
        upload_id=info.upload_id,
        artifact_id=info.artifact_id,
        state=_STATES[info.state],
        committed_size=info.committed_size,
        prefix_digest=None if info.prefix is None else digest_to_message(info.prefix),
        writer_epoch=info.writer_epoch,
        writing=info.writing,
        name=info.name,
        owner=info.owner,
        expected_size=info.expected_size,
        expected_digest=None if info.expected_digest is None else digest_to_message(info.expected_digest),
        reserved_bytes=info.reserved_bytes,
        create_time=time_to_message(info.created_at),
        expire_time=_expiry_to_message(info.expires_at),
        artifact=None if info.ref is None else artifact_to_message(info.ref),
    )


def upload_from_message(message: artifact_pb2.Upload) -> UploadInfo:
    """A message as an upload. A state that this version does not know is taken for COMMITTING: nothing to do with."""
    return UploadInfo(
        upload_id=message.upload_id,
        artifact_id=message.artifact_id,
        state=_STATES_BACK.get(message.state, UploadState.COMMITTING),
        committed_size=message.committed_size,
        prefix=digest_from_message(message.prefix_digest) if message.HasField("prefix_digest") else None,
        writer_epoch=message.writer_epoch,
        writing=message.writing,
        name=message.name,
        owner=message.owner,
        expected_size=message.expected_size if message.HasField("expected_size") else None,
        expected_digest=digest_from_message(message.expected_digest) if message.HasField("expected_digest") else None,
        reserved_bytes=message.reserved_bytes,
        created_at=time_from_message(message.create_time),
        expires_at=time_from_message(message.expire_time) if message.HasField("expire_time") else None,
        ref=artifact_from_message(message.artifact) if message.HasField("artifact") else None,
    )


def uploads_to_message(page: UploadPage) -> artifact_pb2.ListUploadsResponse:
    """A page of uploads as a message."""
    return artifact_pb2.ListUploadsResponse(
        uploads=map(upload_to_message, page.uploads), next_page_token=page.next_token
    )


def uploads_from_message(message: artifact_pb2.ListUploadsResponse) -> UploadPage:
    """A message as a page of uploads."""
    return UploadPage(tuple(map(upload_from_message, message.uploads)), message.next_page_token)


def usage_to_message(usage: StoreUsage) -> artifact_pb2.GetUsageResponse:
    """The counters of a store as a message."""
    return artifact_pb2.GetUsageResponse(
        host=_usage_to_message(usage.host),
        owners=map(_usage_to_message, usage.owners),
        next_page_token=usage.next_token,
        disk_free_bytes=usage.disk_free,
        disk_floor_bytes=usage.disk_floor,
    )


def usage_from_message(message: artifact_pb2.GetUsageResponse) -> StoreUsage:
    """A message as the counters of a store."""
    return StoreUsage(
        host=_usage_from_message(message.host),
        owners=tuple(map(_usage_from_message, message.owners)),
        next_token=message.next_page_token,
        disk_free=message.disk_free_bytes,
        disk_floor=message.disk_floor_bytes,
    )


def page_to_message(page: ArtifactPage) -> artifact_pb2.ListArtifactsResponse:
    """A page as a message."""
    return artifact_pb2.ListArtifactsResponse(
        artifacts=map(artifact_to_message, page.refs), next_page_token=page.next_token, cursor=page.cursor
    )


def page_from_message(message: artifact_pb2.ListArtifactsResponse) -> ArtifactPage:
    """A message as a page."""
    return ArtifactPage(tuple(map(artifact_from_message, message.artifacts)), message.next_page_token, message.cursor)


def _usage_to_message(usage: Usage) -> artifact_pb2.Usage:
    return artifact_pb2.Usage(
        owner=usage.owner, limit_bytes=usage.limit, used_bytes=usage.used, reserved_bytes=usage.reserved
    )


def _usage_from_message(message: artifact_pb2.Usage) -> Usage:
    return Usage(
        owner=message.owner,
        limit=message.limit_bytes if message.HasField("limit_bytes") else None,
        used=message.used_bytes,
        reserved=message.reserved_bytes,
    )


def _expiry_to_message(expires_at: float | None) -> Timestamp | None:
    return None if expires_at is None else time_to_message(expires_at)


def _time_to_message(seconds: float | None) -> Timestamp | None:
    return None if seconds is None else time_to_message(seconds)
