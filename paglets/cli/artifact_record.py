"""What commands show of an artifact: for programs everything, for people what is set."""

from __future__ import annotations

from paglets.cli.output import Record, time_text
from paglets.values import ArtifactRef

__all__ = ["artifact_record", "health_record", "known_record"]


def artifact_record(ref: ArtifactRef) -> Record:
    """All that is known of an artifact."""
    return {
        "artifact_id": ref.artifact_id,
        "name": ref.name,
        "size_bytes": ref.size_bytes,
        "digest": str(ref.digest),
        "owner": ref.owner,
        "content_type": ref.content_type,
        "content_encoding": ref.content_encoding,
        "labels": dict(ref.labels),
        "owner_policy": ref.owner_policy.value,
        "created": time_text(ref.created_at),
        "updated": time_text(ref.updated_at),
        "expires": time_text(ref.expires_at),
        "etag": ref.etag,
        "host": ref.host,
    }


def health_record(ref: ArtifactRef) -> Record:
    """What the host that was asked knows of the stored bytes."""
    return {"corrupt": ref.corrupt, "verified": time_text(ref.verified_at)}


def known_record(ref: ArtifactRef) -> Record:
    """For people: labels one by one, and nothing that is not set."""
    labels = ", ".join(f"{key}={value}" for key, value in ref.labels.items())
    return {
        name: value for name, value in {**artifact_record(ref), "labels": labels}.items() if value not in ("", None)
    }
