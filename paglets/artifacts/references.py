"""Blobs and who points to them: counts, generations, tombstones.

A file is named by digest and generation. Bytes that nobody points to become a tombstone of their generation, so that a
late unlink can never hit a newer upload of the same bytes. Every function runs inside its caller's transaction.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from paglets.artifacts import quota

__all__ = ["Blob", "bury", "entomb", "find_readable", "hold", "make_current", "next_generation", "release"]


@dataclass(frozen=True, slots=True)
class Blob:
    """One file of bytes: `digest` is the raw hash."""

    digest: bytes
    generation: int
    size_bytes: int


def find_readable(connection: sqlite3.Connection, digest: bytes, owner: str, now: float) -> Blob | None:
    """The file of a digest that `owner` may read: some artifact of his points to it, or one that is nobody's.

    None when there is none, or none to be trusted. What he may not read takes as long as what is not there.
    """
    row = connection.execute(
        "SELECT b.size, b.generation FROM artifacts a JOIN blobs b USING (digest) WHERE a.digest = ?"
        " AND a.owner IN ('', ?) AND (a.expires_at IS NULL OR a.expires_at > ?) AND NOT b.corrupt LIMIT 1",
        (digest, owner, now),
    ).fetchone()
    return Blob(digest, row["generation"], row["size"]) if row else None


def next_generation(connection: sqlite3.Connection) -> int:
    """A generation that no file ever had."""
    (generation,) = connection.execute("UPDATE generations SET last = last + 1 RETURNING last").fetchone()
    return generation


def hold(connection: sqlite3.Connection, digest: bytes) -> None:
    """Adds one reference to a blob that exists."""
    connection.execute("UPDATE blobs SET refs = refs + 1 WHERE digest = ?", (digest,))


def release(connection: sqlite3.Connection, digest: bytes) -> list[Blob]:
    """Takes one reference away; returns the file to unlink if it was the last."""
    row = connection.execute("SELECT size, generation, refs FROM blobs WHERE digest = ?", (digest,)).fetchone()
    if row["refs"] > 1:
        connection.execute("UPDATE blobs SET refs = refs - 1 WHERE digest = ?", (digest,))
        return []
    connection.execute("DELETE FROM blobs WHERE digest = ?", (digest,))
    return [entomb(connection, Blob(digest, row["generation"], row["size"]))]


def make_current(connection: sqlite3.Connection, blob: Blob, now: float) -> list[Blob]:
    """Adds a reference by way of a new file of these bytes; returns the file that is now spare, if there are two.

    The new file was found right at `now`, in seconds since the epoch. A trusted file that came first stays the current
    one. A corrupt one is replaced, and all who point to it are healed.
    """
    row = connection.execute("SELECT generation, corrupt FROM blobs WHERE digest = ?", (blob.digest,)).fetchone()
    if row is None:
        connection.execute(
            "INSERT INTO blobs (digest, size, generation, refs, last_verified_at) VALUES (?, ?, ?, 1, ?)",
            (blob.digest, blob.size_bytes, blob.generation, now),
        )
        return []
    hold(connection, blob.digest)
    if not row["corrupt"]:
        return [entomb(connection, blob)]
    connection.execute(
        "UPDATE blobs SET generation = ?, corrupt = 0, last_verified_at = ? WHERE digest = ?",
        (blob.generation, now, blob.digest),
    )
    return [entomb(connection, Blob(blob.digest, row["generation"], blob.size_bytes))]


def entomb(connection: sqlite3.Connection, blob: Blob) -> Blob:
    """Notes that a file is nobody's and to be unlinked; its bytes count as used until it is buried."""
    connection.execute(
        "INSERT INTO tombstones (digest, generation, size) VALUES (?, ?, ?)",
        (blob.digest, blob.generation, blob.size_bytes),
    )
    return blob


def bury(connection: sqlite3.Connection, blobs: list[Blob]) -> None:
    """Forgets tombstones whose files are gone, and counts their bytes as free. Safe to repeat."""
    for blob in blobs:
        gone = connection.execute(
            "DELETE FROM tombstones WHERE digest = ? AND generation = ?", (blob.digest, blob.generation)
        )
        if gone.rowcount:
            quota.free(connection, blob.size_bytes)
