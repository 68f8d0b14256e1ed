"""The history of a store: every change of an artifact has a revision, counted without gaps, and an event.

Each function that changes something is part of the transaction that makes the change. The last events are kept. This
file must never touch a file.
"""

from __future__ import annotations

import sqlite3

from paglets.artifacts.rows import ref_of
from paglets.artifacts.store import ArtifactEvent, ArtifactEventKind
from paglets.cursors import Kept

__all__ = ["events_after", "keep_events", "kept", "next_mark", "note_event", "to_event"]

_NEXT = "UPDATE history SET last = last + 1 RETURNING life || '-' || last"
_NOTE = """
INSERT INTO events (revision, kind, happened_at, artifact_id, digest, size, name, owner, owner_policy, content_type,
    content_encoding, labels, created_at, expires_at, etag, updated_at)
SELECT last, :kind, :happened_at, artifact_id, digest, size, name, owner, owner_policy, content_type,
    content_encoding, labels, created_at, expires_at, etag, updated_at
FROM artifacts, history WHERE artifact_id = :artifact_id
"""
_TRIM = "DELETE FROM events WHERE revision <= (SELECT last - keep FROM history)"
_KEPT = "SELECT life, last, coalesce((SELECT min(revision) FROM events) - 1, last) AS oldest FROM history"
_AFTER = "SELECT * FROM events WHERE revision > ? ORDER BY revision LIMIT ?"


def next_mark(connection: sqlite3.Connection) -> str:
    """A text for the change that is being made, which no other change of any store ever had."""
    (mark,) = connection.execute(_NEXT).fetchone()
    return mark


def note_event(connection: sqlite3.Connection, artifact_id: str, kind: ArtifactEventKind, happened_at: float) -> None:
    """Notes the change that has the last mark, with the artifact as its row is now; forgets the oldest event."""
    values = {"artifact_id": artifact_id, "kind": kind.value, "happened_at": happened_at}
    connection.execute(_NOTE, values)
    connection.execute(_TRIM)


def keep_events(connection: sqlite3.Connection, number: int) -> None:
    """So many events are kept from now on, at least 1."""
    wanted = max(1, number)
    connection.execute("UPDATE history SET keep = ? WHERE keep <> ?", (wanted, wanted))


def kept(connection: sqlite3.Connection) -> Kept:
    """What is kept now."""
    row = connection.execute(_KEPT).fetchone()
    return Kept(row["life"], row["last"], row["oldest"])


def events_after(connection: sqlite3.Connection, revision: int, limit: int) -> list[sqlite3.Row]:
    """The rows of up to `limit` events, the first of which has the next revision unless that is no longer kept."""
    return connection.execute(_AFTER, (revision, limit)).fetchall()


def to_event(row: sqlite3.Row, host: str) -> ArtifactEvent:
    """The event that a row holds."""
    return ArtifactEvent(ArtifactEventKind(row["kind"]), ref_of(row, host), row["happened_at"])
