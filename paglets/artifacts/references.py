"""Blobs and who points to them: counts, generations, tombstones.

A blob is a file, named by digest and generation, or a small one lies in the catalogue itself: then its generation is
below 0. A file that nobody points to becomes a tombstone of its generation, so that a late unlink can never hit a newer
upload of the same bytes; what lies in the catalogue is just deleted. Every function runs inside its caller's
transaction.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from paglets.artifacts import quota

__all__ = [
    "Blob",
    "bury",
    "distrust",
    "entomb",
    "find_readable",
    "hold",
    "inline_data",
    "make_current",
    "next_generation",
    "next_inline",
    "prove",
    "release",
]

_FIND = "SELECT * FROM blobs WHERE substr(digest, 1, 8) = substr(:digest, 1, 8) AND digest = :digest"
_FIND_READABLE = """
SELECT size, generation FROM blobs
WHERE substr(digest, 1, 8) = substr(:digest, 1, 8) AND digest = :digest AND NOT corrupt AND EXISTS (
    SELECT 1 FROM artifacts a
    WHERE a.blob = blobs.number AND a.owner IN ('', :owner) AND (a.expires_at IS NULL OR a.expires_at > :now)
)
"""


@dataclass(frozen=True, slots=True)
class Blob:
    """One copy of bytes: `digest` is the raw hash."""

    digest: bytes
    generation: int
    size_bytes: int

    @property
    def is_inline(self) -> bool:
        """Whether the bytes lie in the catalogue; else they have a file."""
        return self.generation < 0


def find_readable(connection: sqlite3.Connection, digest: bytes, owner: str, now: float) -> Blob | None:
    """The blob of a digest that `owner` may read: some artifact of his points to it, or one that is nobody's.

    None when there is none, or none to be trusted. What he may not read takes as long as what is not there.
    """
    row = connection.execute(_FIND_READABLE, {"digest": digest, "owner": owner, "now": now}).fetchone()
    return Blob(digest, row["generation"], row["size"]) if row else None


def next_generation(connection: sqlite3.Connection) -> int:
    """A generation that no file ever had."""
    (generation,) = connection.execute("UPDATE generations SET last = last + 1 RETURNING last").fetchone()
    return generation


def next_inline(connection: sqlite3.Connection) -> int:
    """The generation of a new blob that lies in the catalogue."""
    return -next_generation(connection)


def inline_data(connection: sqlite3.Connection, blob: Blob) -> bytes | None:
    """The bytes of a blob that lies in the catalogue; None when it does no longer."""
    row = connection.execute("SELECT data FROM inline_blobs WHERE number = ?", (-blob.generation,)).fetchone()
    return row["data"] if row else None


def hold(connection: sqlite3.Connection, digest: bytes) -> None:
    """Adds one reference to a blob that exists."""
    _hold(connection, _existing(connection, digest))


def release(connection: sqlite3.Connection, digest: bytes) -> list[Blob]:
    """Takes one reference away; returns the file to unlink if it was the last and there is one."""
    row = _existing(connection, digest)
    if row["refs"] > 1:
        connection.execute("UPDATE blobs SET refs = refs - 1 WHERE number = ?", (row["number"],))
        return []
    connection.execute("DELETE FROM blobs WHERE number = ?", (row["number"],))
    return _drop(connection, Blob(digest, row["generation"], row["size"]))


def make_current(connection: sqlite3.Connection, blob: Blob, now: float, data: bytes | None = None) -> list[Blob]:
    """Adds a reference by way of a new copy of these bytes; returns the file that is now spare, if there is one.

    The copy was found right at `now`, in seconds since the epoch; `data` are the bytes if it shall lie in the
    catalogue. A trusted copy that came first stays the current one, unless only the new one is a file. A corrupt one is
    replaced, and all who point to it are healed. The new copy must count as used already; what is not kept is counted
    as free, a file once it is buried.
    """
    row = _find(connection, blob.digest)
    if row is None:
        connection.execute(
            "INSERT INTO blobs (digest, size, generation, refs, last_verified_at) VALUES (?, ?, ?, 1, ?)",
            (blob.digest, blob.size_bytes, blob.generation, now),
        )
        _keep(connection, blob, data)
        return []
    _hold(connection, row)
    here = Blob(blob.digest, row["generation"], blob.size_bytes)
    if not row["corrupt"] and (blob.is_inline or not here.is_inline):
        return _drop(connection, blob)
    connection.execute(
        "UPDATE blobs SET generation = ?, corrupt = 0, last_verified_at = ? WHERE number = ?",
        (blob.generation, now, row["number"]),
    )
    _keep(connection, blob, data)
    return _drop(connection, here)


def distrust(connection: sqlite3.Connection, blob: Blob) -> bool:
    """Notes that a copy is wrong; False when that is known, or the copy is nobody's any more."""
    query = "UPDATE blobs SET corrupt = 1 WHERE number = ? AND NOT corrupt"
    row = _find(connection, blob.digest)
    if row is None or row["generation"] != blob.generation:
        return False
    return connection.execute(query, (row["number"],)).rowcount > 0


def prove(connection: sqlite3.Connection, blob: Blob, now: float) -> None:
    """Notes that a copy was found right at `now`, in seconds since the epoch; one that is nobody's is passed over."""
    row = _find(connection, blob.digest)
    if row is not None and row["generation"] == blob.generation:
        connection.execute("UPDATE blobs SET last_verified_at = ? WHERE number = ?", (now, row["number"]))


def _find(connection: sqlite3.Connection, digest: bytes) -> sqlite3.Row | None:
    found: sqlite3.Row | None = connection.execute(_FIND, {"digest": digest}).fetchone()
    return found


def _existing(connection: sqlite3.Connection, digest: bytes) -> sqlite3.Row:
    row = _find(connection, digest)
    if row is None:
        raise LookupError(f"blob {digest.hex()} has an artifact, but no row")
    return row


def _hold(connection: sqlite3.Connection, row: sqlite3.Row) -> None:
    connection.execute("UPDATE blobs SET refs = refs + 1 WHERE number = ?", (row["number"],))


def _keep(connection: sqlite3.Connection, blob: Blob, data: bytes | None) -> None:
    if blob.is_inline:
        connection.execute("INSERT INTO inline_blobs (number, data) VALUES (?, ?)", (-blob.generation, data))


def _drop(connection: sqlite3.Connection, blob: Blob) -> list[Blob]:
    """Lets go of a copy that is nobody's: of a file by way of a tombstone, which is returned."""
    if not blob.is_inline:
        return [entomb(connection, blob)]
    connection.execute("DELETE FROM inline_blobs WHERE number = ?", (-blob.generation,))
    quota.free(connection, blob.size_bytes)
    return []


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
