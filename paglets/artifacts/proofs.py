"""When the bytes of each blob were last found right: the rows that a scrubber goes by.

Every function runs inside its caller's transaction. This file must never read a blob.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from paglets.artifacts import references
from paglets.artifacts.references import Blob

__all__ = ["DueBlob", "due_blobs", "note_proven", "oldest_proof"]

_DUE = """
SELECT digest, generation, size, last_verified_at FROM blobs
WHERE NOT corrupt AND last_verified_at <= ? AND (last_verified_at, digest) > (?, ?)
ORDER BY last_verified_at, digest LIMIT ?
"""
_OLDEST = "SELECT min(last_verified_at) FROM blobs WHERE NOT corrupt"


@dataclass(frozen=True, slots=True)
class DueBlob:
    """A blob that was last found right at that time, in seconds since the epoch."""

    blob: Blob
    verified_at: float


def due_blobs(connection: sqlite3.Connection, until: float, after: DueBlob | None, limit: int) -> list[DueBlob]:
    """Up to `limit` blobs that nobody found right since `until`, the longest unproven first, from `after` on."""
    at, digest = (-1.0, b"") if after is None else (after.verified_at, after.blob.digest)
    rows = connection.execute(_DUE, (until, at, digest, limit)).fetchall()
    return [DueBlob(Blob(row["digest"], row["generation"], row["size"]), row["last_verified_at"]) for row in rows]


def oldest_proof(connection: sqlite3.Connection) -> float | None:
    """When the blob was proven that has waited longest since; None where there is none."""
    (found,) = connection.execute(_OLDEST).fetchone()
    return found


def note_proven(connection: sqlite3.Connection, blobs: list[Blob], now: float) -> None:
    """Notes that these files were found right. One that is nobody's any more is passed over."""
    for blob in blobs:
        references.prove(connection, blob, now)
