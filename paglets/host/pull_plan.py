"""What a pull is to make of the artifact that it finds at its source, decided once.

This file must never know how the bytes come.
"""

from __future__ import annotations

import time

from paglets.artifacts.store import ArtifactWrite, PullRequest
from paglets.errors import NotFoundError, Resource
from paglets.values import ArtifactRef

__all__ = ["planned", "require_same"]


def planned(request: PullRequest, ref: ArtifactRef) -> ArtifactWrite:
    """What is to be made of an artifact of the source."""
    ttl_s = request.ttl_s
    if ttl_s is None and ref.expires_at is not None:
        ttl_s = max(ref.expires_at - time.time(), 0.001)
    return ArtifactWrite(
        upload_id=request.pull_id,
        artifact_id=request.artifact_id,
        name=ref.name if request.name is None else request.name,
        owner=ref.owner if request.owner is None else request.owner,
        owner_policy=ref.owner_policy if request.owner_policy is None else request.owner_policy,
        content_type=ref.content_type if request.content_type is None else request.content_type,
        content_encoding=ref.content_encoding if request.content_encoding is None else request.content_encoding,
        labels=request.labels or ref.labels,
        ttl_s=ttl_s,
        size_bytes=ref.size_bytes,
        expected_digest=ref.digest,
    )


def require_same(ref: ArtifactRef, write: ArtifactWrite) -> None:
    """Raises ARTIFACT_NOT_FOUND for a source that has other bytes by now."""
    if ref.digest != write.expected_digest:
        raise NotFoundError(
            "ARTIFACT_NOT_FOUND",
            f"artifact {ref.artifact_id} of the source was replaced: {ref.digest} instead of {write.expected_digest}",
            resource=Resource("artifact", ref.artifact_id),
            metadata={"artifact_id": ref.artifact_id},
        )
