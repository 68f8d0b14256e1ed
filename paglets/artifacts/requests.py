"""What identifies an upload beside its bytes, as its row keeps it, and read back from there.

This file must never change a row.
"""

from __future__ import annotations

import json
import sqlite3

from paglets.artifacts import refusals
from paglets.artifacts.store import ArtifactWrite
from paglets.digest import Digest
from paglets.values import ArtifactRef, OwnerPolicy

__all__ = ["owner_of", "ref_of", "request_text", "require_same"]


def request_text(write: ArtifactWrite) -> str:
    """What identifies a write beside its bytes, always spelled the same way."""
    request = {
        "artifact_id": write.artifact_id,
        "name": write.name,
        "owner": write.owner,
        "owner_policy": write.owner_policy.value,
        "content_type": write.content_type,
        "content_encoding": write.content_encoding,
        "labels": dict(write.labels),
        "ttl_s": write.ttl_s,
    }
    return json.dumps(request, sort_keys=True)


def require_same(row: sqlite3.Row, write: ArtifactWrite) -> None:
    """Raises REQUEST_ID_REUSED unless the write is the one that opened this upload."""
    digest = None if write.expected_digest is None else write.expected_digest.value
    declared = (row["expected_size"], row["expected_digest"])
    if row["request"] != request_text(write) or declared != (write.size_bytes, digest):
        raise refusals.upload_reused(write.upload_id)


def owner_of(row: sqlite3.Row) -> str:
    """Whose an upload is."""
    owner: str = json.loads(row["request"])["owner"]
    return owner


def ref_of(row: sqlite3.Row, host: str) -> ArtifactRef:
    """The artifact that a finished upload made."""
    request = json.loads(row["request"])
    ttl_s = request["ttl_s"]
    return ArtifactRef(
        host=host,
        artifact_id=row["artifact_id"],
        digest=Digest(row["digest"], row["size"]),
        name=request["name"],
        owner=request["owner"],
        content_type=request["content_type"],
        content_encoding=request["content_encoding"],
        labels=request["labels"],
        owner_policy=OwnerPolicy(request["owner_policy"]),
        created_at=row["done_at"],
        expires_at=None if ttl_s is None else round(row["done_at"] + ttl_s, 6),
    )
