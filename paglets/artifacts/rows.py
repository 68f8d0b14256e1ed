"""An artifact as a row of the catalogue, and back."""

from __future__ import annotations

import json
import sqlite3

from paglets.digest import Digest
from paglets.values import ArtifactRef, OwnerPolicy

__all__ = ["INSERT", "UPDATE", "ref_of", "values_of"]

INSERT = """\
INSERT INTO artifacts (artifact_id, blob, digest, size, name, owner, owner_policy, content_type, content_encoding,
    labels, created_at, expires_at, etag, updated_at)
VALUES (:artifact_id,
    (SELECT number FROM blobs WHERE substr(digest, 1, 8) = substr(:digest, 1, 8) AND digest = :digest),
    :digest, :size, :name, :owner, :owner_policy, :content_type, :content_encoding, :labels, :created_at,
    :expires_at, :etag, :updated_at)
"""
UPDATE = """
UPDATE artifacts SET name = :name, owner = :owner, owner_policy = :owner_policy, content_type = :content_type,
    content_encoding = :content_encoding, labels = :labels, expires_at = :expires_at, etag = :etag,
    updated_at = :updated_at
WHERE artifact_id = :artifact_id
"""


def values_of(ref: ArtifactRef) -> dict[str, object]:
    """What the columns hold."""
    return {
        "artifact_id": ref.artifact_id,
        "digest": ref.digest.value,
        "size": ref.size_bytes,
        "name": ref.name,
        "owner": ref.owner,
        "owner_policy": ref.owner_policy.value,
        "content_type": ref.content_type,
        "content_encoding": ref.content_encoding,
        "labels": json.dumps(dict(ref.labels)),
        "created_at": ref.created_at,
        "expires_at": ref.expires_at,
        "etag": ref.etag,
        "updated_at": ref.updated_at,
    }


def ref_of(row: sqlite3.Row, host: str, *, corrupt: bool = False, verified_at: float | None = None) -> ArtifactRef:
    """The artifact that a row of the store of `host` describes, with what is known of its bytes."""
    return ArtifactRef(
        host=host,
        artifact_id=row["artifact_id"],
        digest=Digest(row["digest"], row["size"]),
        name=row["name"],
        owner=row["owner"],
        content_type=row["content_type"],
        content_encoding=row["content_encoding"],
        labels=json.loads(row["labels"]),
        owner_policy=OwnerPolicy(row["owner_policy"]),
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        etag=row["etag"],
        updated_at=row["updated_at"],
        corrupt=corrupt,
        verified_at=verified_at,
    )
