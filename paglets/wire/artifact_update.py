"""Updates of artifacts as messages and back: which fields change is told by a mask, as AIP-134 has it."""

from __future__ import annotations

import math

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from paglet.v1 import artifact_pb2
from paglets.artifacts.store import ArtifactChanges
from paglets.errors import InvalidArgumentError
from paglets.wire.artifact import policy_from_message, policy_to_message
from paglets.wire.times import time_from_message, time_to_message

__all__ = ["changes_from_message", "changes_to_message"]

_PATHS = {
    "name": "name",
    "owner": "owner",
    "owner_policy": "owner_policy",
    "content_type": "content_type",
    "content_encoding": "content_encoding",
    "labels": "labels",
    "expires_at": "expire_time",
}
"""The fields that may change, and what the wire calls them."""

_WHOLE = ["*"]


def changes_to_message(artifact_id: str, changes: ArtifactChanges, etag: str) -> artifact_pb2.UpdateArtifactRequest:
    """What is to change of which version of an artifact; an empty `etag` is any."""
    policy = artifact_pb2.OWNER_POLICY_UNSPECIFIED
    if changes.owner_policy is not None:
        policy = policy_to_message(changes.owner_policy)
    artifact = artifact_pb2.Artifact(
        artifact_id=artifact_id,
        name=changes.name or "",
        owner=changes.owner or "",
        owner_policy=policy,
        content_type=changes.content_type or "",
        content_encoding=changes.content_encoding or "",
        labels=changes.labels,
        expire_time=_expiry_to_message(changes.expires_at),
        etag=etag,
    )
    mask = FieldMask(paths=[_PATHS[name] for name in changes.given()])
    return artifact_pb2.UpdateArtifactRequest(artifact=artifact, update_mask=mask)


def changes_from_message(request: artifact_pb2.UpdateArtifactRequest) -> ArtifactChanges:
    """A message as what is to change. Raises MALFORMED_REQUEST for a path that cannot be changed, or is none."""
    artifact = request.artifact
    paths = _paths(request)
    return ArtifactChanges(
        name=artifact.name if "name" in paths else None,
        owner=artifact.owner if "owner" in paths else None,
        owner_policy=policy_from_message(artifact.owner_policy) if "owner_policy" in paths else None,
        content_type=artifact.content_type if "content_type" in paths else None,
        content_encoding=artifact.content_encoding if "content_encoding" in paths else None,
        labels=dict(artifact.labels) if "labels" in paths else None,
        expires_at=_expiry_from_message(artifact) if "expire_time" in paths else None,
    )


def _paths(request: artifact_pb2.UpdateArtifactRequest) -> set[str]:
    """What the mask names; without a mask, what is set and can be changed."""
    known = set(_PATHS.values())
    named = list(request.update_mask.paths)
    if not named:
        return known & {field.name for field, _ in request.artifact.ListFields()}
    if named == _WHOLE:
        return known
    for path in named:
        if path not in known:
            raise InvalidArgumentError(
                "MALFORMED_REQUEST",
                f"update_mask names {path!r}; what can change is {', '.join(sorted(known))}",
                field="update_mask",
            )
    return set(named)


def _expiry_to_message(expires_at: float | None) -> Timestamp | None:
    if expires_at is None or expires_at == math.inf:
        return None
    return time_to_message(expires_at) or Timestamp()


def _expiry_from_message(artifact: artifact_pb2.Artifact) -> float:
    return time_from_message(artifact.expire_time) if artifact.HasField("expire_time") else math.inf
