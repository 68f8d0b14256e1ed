"""What a host is to fetch from another one, and how far it is, as messages and back, in pairs."""

from __future__ import annotations

from paglet.v1 import artifact_pb2
from paglets.artifacts.store import ArtifactWriteResult, PullProgress, PullRequest
from paglets.wire.artifact import (
    artifact_from_message,
    artifact_to_message,
    outcome_from_message,
    outcome_to_message,
    policy_from_message,
    policy_to_message,
)
from paglets.wire.times import duration_from_message, duration_to_message

__all__ = ["progress_from_message", "progress_to_message", "pull_from_request", "pull_to_request"]


def pull_to_request(pull: PullRequest) -> artifact_pb2.PullArtifactRequest:
    """What to fetch, as a message."""
    message = artifact_pb2.PullArtifactRequest(
        pull_id=pull.pull_id,
        source_artifact_id=pull.source_artifact_id,
        read_ticket=pull.read_ticket,
        artifact_id=pull.artifact_id,
        name=pull.name,
        owner=pull.owner,
        labels=pull.labels,
        content_type=pull.content_type,
        content_encoding=pull.content_encoding,
        ttl=None if pull.ttl_s is None else duration_to_message(pull.ttl_s, "ttl"),
    )
    if pull.source_address:
        message.source_address = pull.source_address
    else:
        message.source_host = pull.source_host
    if pull.owner_policy is not None:
        message.owner_policy = policy_to_message(pull.owner_policy)
    return message


def pull_from_request(message: artifact_pb2.PullArtifactRequest) -> PullRequest:
    """A message as what to fetch; nothing is checked but the policy. Raises MALFORMED_REQUEST."""
    has_policy = message.owner_policy != artifact_pb2.OWNER_POLICY_UNSPECIFIED
    return PullRequest(
        pull_id=message.pull_id,
        source_host=message.source_host,
        source_address=message.source_address,
        source_artifact_id=message.source_artifact_id,
        read_ticket=message.read_ticket,
        artifact_id=message.artifact_id,
        name=message.name if message.HasField("name") else None,
        owner=message.owner if message.HasField("owner") else None,
        owner_policy=policy_from_message(message.owner_policy) if has_policy else None,
        labels=dict(message.labels),
        content_type=message.content_type if message.HasField("content_type") else None,
        content_encoding=message.content_encoding if message.HasField("content_encoding") else None,
        ttl_s=duration_from_message(message.ttl) if message.HasField("ttl") else None,
    )


def progress_to_message(progress: PullProgress) -> artifact_pb2.PullArtifactResponse:
    """How far a pull is, as a message."""
    message = artifact_pb2.PullArtifactResponse(
        bytes_done=progress.bytes_done, bytes_total=progress.bytes_total, problem=progress.problem
    )
    if progress.result is not None:
        message.artifact.CopyFrom(artifact_to_message(progress.result.ref))
        message.outcome = outcome_to_message(progress.result.outcome)
    return message


def progress_from_message(message: artifact_pb2.PullArtifactResponse) -> PullProgress:
    """A message as how far a pull is. Raises TRANSPORT for an outcome that no host sends."""
    result = None
    if message.HasField("artifact"):
        outcome = outcome_from_message(message.outcome)
        result = ArtifactWriteResult(artifact_from_message(message.artifact), outcome)
    return PullProgress(
        bytes_done=message.bytes_done,
        bytes_total=message.bytes_total if message.HasField("bytes_total") else None,
        problem=message.problem,
        result=result,
    )
