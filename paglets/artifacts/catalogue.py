"""The rows of artifacts: found, listed, changed and removed.

Expiry is exact here: what has expired is never found. This file must never touch a file; it says which files are to be
unlinked.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from paglets.artifacts import events, quota, references, refusals
from paglets.artifacts.ledger import Ledger
from paglets.artifacts.listing import read_page
from paglets.artifacts.paging import Position
from paglets.artifacts.quota import Limits
from paglets.artifacts.references import Blob
from paglets.artifacts.rows import INSERT, UPDATE, ref_of, values_of
from paglets.artifacts.store import ArtifactChanges, ArtifactEventKind, ArtifactQuery, SmallArtifact
from paglets.digest import Digest
from paglets.values import ArtifactRef

__all__ = [
    "SWEEP_BATCH",
    "Catalogue",
    "Removal",
    "StoredArtifact",
    "insert_artifact",
    "remove_artifact",
    "update_artifact",
]

SWEEP_BATCH = 500
_FIND = """
SELECT a.*, b.generation, b.corrupt, b.last_verified_at FROM artifacts a JOIN blobs b ON b.number = a.blob
WHERE artifact_id = :id AND (expires_at IS NULL OR expires_at > :now)
"""
_FIND_INLINE = """
SELECT a.*, b.last_verified_at, i.data
FROM artifacts a JOIN blobs b ON b.number = a.blob JOIN inline_blobs i ON i.number = -b.generation
WHERE artifact_id = :id AND (expires_at IS NULL OR expires_at > :now) AND NOT b.corrupt
"""
_ROW = "SELECT * FROM artifacts WHERE artifact_id = ?"
_OF_OWNER = """
SELECT artifact_id FROM artifacts
WHERE owner = ? AND created_at <= ? AND owner_policy = 'delete-with-owner' LIMIT ?
"""
_EXPIRED = "SELECT artifact_id FROM artifacts WHERE expires_at <= ? LIMIT ?"
_TOMBSTONES = """
SELECT t.digest, t.generation, t.size FROM tombstones t
WHERE NOT EXISTS (
    SELECT 1 FROM blobs b
    WHERE substr(b.digest, 1, 8) = substr(t.digest, 1, 8) AND b.digest = t.digest AND b.generation = t.generation
) LIMIT ?
"""


@dataclass(frozen=True, slots=True)
class StoredArtifact:
    """An artifact and the file that holds its bytes."""

    ref: ArtifactRef
    blob: Blob


@dataclass(frozen=True, slots=True)
class Removal:
    """How many artifacts were removed, and which files nobody points to any more."""

    count: int
    blobs: list[Blob]


class Catalogue:
    """The artifacts of one host, by one clock (seconds since the epoch)."""

    def __init__(self, ledger: Ledger, host: str, clock: Callable[[], float]) -> None:
        self._ledger = ledger
        self._host = host
        self._clock = clock

    async def find(self, artifact_id: str) -> StoredArtifact | None:
        """One artifact that has not expired."""
        values = {"id": artifact_id, "now": self._clock()}
        row = await self._ledger.read(lambda connection: connection.execute(_FIND, values).fetchone())
        return None if row is None else self._stored(row)

    async def find_all(self, artifact_ids: Iterable[str]) -> list[StoredArtifact]:
        """Those of the artifacts that have not expired."""
        now = self._clock()

        def work(connection: sqlite3.Connection) -> list[sqlite3.Row | None]:
            return [connection.execute(_FIND, {"id": each, "now": now}).fetchone() for each in artifact_ids]

        return [self._stored(row) for row in await self._ledger.read(work) if row is not None]

    async def find_inline(self, artifact_ids: Iterable[str]) -> dict[str, SmallArtifact]:
        """Those of the artifacts that have not expired and whose trusted bytes lie in the catalogue."""
        now = self._clock()

        def work(connection: sqlite3.Connection) -> list[sqlite3.Row | None]:
            values = ({"id": artifact_id, "now": now} for artifact_id in artifact_ids)
            return [connection.execute(_FIND_INLINE, each).fetchone() for each in values]

        rows = [row for row in await self._ledger.read(work) if row is not None]
        refs = [ref_of(row, self._host, verified_at=row["last_verified_at"]) for row in rows]
        return {ref.artifact_id: SmallArtifact(ref, row["data"]) for ref, row in zip(refs, rows, strict=True)}

    async def page(self, query: ArtifactQuery, start: Position | None, limit: int) -> tuple[list[ArtifactRef], str]:
        """Up to `limit` artifacts of a list, from the one after `start`, and the cursor of before they were read."""
        now = self._clock()

        def work(connection: sqlite3.Connection) -> tuple[list[sqlite3.Row], str]:
            before = events.kept(connection)
            return read_page(connection, query, start, now, limit), before.cursor(before.last)

        rows, cursor = await self._ledger.read(work)
        return [self._with_health(row) for row in rows], cursor

    async def update(self, artifact_id: str, changes: ArtifactChanges, etag: str, limits: Limits) -> ArtifactRef | None:
        """Changes an artifact that has not expired; None where there is none.

        Raises ETAG_MISMATCH, DISK_FULL, and QUOTA_EXCEEDED where a new owner has no room for it.
        """
        now = self._clock()

        def work(connection: sqlite3.Connection) -> ArtifactRef | None:
            row = connection.execute(_ROW, (artifact_id,)).fetchone()
            if row is None or _has_expired(row, now):
                return None
            _check_etag(row, etag)
            changed = changes.applied(ref_of(row, self._host))
            quota.move(connection, limits, row["size"], row["owner"], changed.owner)
            return update_artifact(connection, changed, now)

        return await self._ledger.write(work)

    async def remove(self, artifact_id: str, etag: str = "") -> Removal:
        """Removes one artifact; an expired one is removed too, and not counted. Raises ETAG_MISMATCH."""
        now = self._clock()

        def work(connection: sqlite3.Connection) -> Removal:
            row = connection.execute(_ROW, (artifact_id,)).fetchone()
            if row is None:
                return Removal(0, [])
            expired = _has_expired(row, now)
            if not expired:
                _check_etag(row, etag)
            return Removal(int(not expired), remove_artifact(connection, artifact_id, now))

        return await self._ledger.free(work)

    async def remove_all(self, artifact_ids: Sequence[str]) -> Removal:
        """Removes those of the artifacts that are there."""
        now = self._clock()

        def work(connection: sqlite3.Connection) -> Removal:
            ids = [each for each in artifact_ids if connection.execute(_ROW, (each,)).fetchone() is not None]
            return Removal(len(ids), [blob for each in ids for blob in remove_artifact(connection, each, now)])

        return await self._ledger.free(work)

    async def remove_of_owner(self, owner: str, created_until: float | None) -> Removal:
        """Removes a batch of the owner's artifacts that go with him, or of those committed until a time."""
        until = math.inf if created_until is None else created_until
        return await self._remove_selected(self._clock(), _OF_OWNER, owner, until)

    async def remove_expired(self) -> Removal:
        """Removes a batch of what has expired."""
        return await self._remove_selected(None, _EXPIRED, self._clock())

    async def tombstones(self) -> list[Blob]:
        """A batch of files to unlink: their generation is nobody's."""
        rows = await self._ledger.read(lambda connection: connection.execute(_TOMBSTONES, (SWEEP_BATCH,)).fetchall())
        return [Blob(row["digest"], row["generation"], row["size"]) for row in rows]

    async def bury(self, blobs: list[Blob]) -> None:
        """Forgets tombstones whose files are gone."""
        await self._ledger.free(lambda connection: references.bury(connection, blobs))

    async def distrust(self, blob: Blob) -> bool:
        """Notes that a file's bytes are wrong; says whether that is news.

        Nobody reads them from then on, and nothing is stored by pointing to them, until they are sent again.
        """
        return await self._ledger.free(lambda connection: references.distrust(connection, blob))

    async def find_readable(self, digest: Digest, owner: str) -> Blob | None:
        """The current file of these bytes, if it is trusted and `owner` may read it."""
        now = self._clock()
        return await self._ledger.read(lambda rows: references.find_readable(rows, digest.value, owner, now))

    async def next_expiry(self) -> float | None:
        """When the next artifact expires; None for never."""
        query = "SELECT min(expires_at) FROM artifacts WHERE expires_at IS NOT NULL"
        (found,) = await self._ledger.read(lambda connection: connection.execute(query).fetchone())
        return found

    def _stored(self, row: sqlite3.Row) -> StoredArtifact:
        return StoredArtifact(self._with_health(row), Blob(row["digest"], row["generation"], row["size"]))

    def _with_health(self, row: sqlite3.Row) -> ArtifactRef:
        """The artifact with what is known of its bytes."""
        return ref_of(row, self._host, corrupt=bool(row["corrupt"]), verified_at=row["last_verified_at"])

    async def _remove_selected(self, deleted_at: float | None, query: str, *values: object) -> Removal:
        def work(connection: sqlite3.Connection) -> Removal:
            ids = [row["artifact_id"] for row in connection.execute(query, (*values, SWEEP_BATCH)).fetchall()]
            blobs = [blob for artifact_id in ids for blob in remove_artifact(connection, artifact_id, deleted_at)]
            return Removal(len(ids), blobs)

        return await self._ledger.free(work)


def insert_artifact(connection: sqlite3.Connection, ref: ArtifactRef, limits: Limits) -> ArtifactRef:
    """Makes an artifact visible, and returns it with its first etag; its blob holds a reference for it already.

    Raises QUOTA_EXCEEDED where its owner has no room for it.
    """
    quota.own(connection, limits, ref.owner, ref.size_bytes)
    made = replace(ref, etag=events.next_mark(connection), updated_at=ref.created_at)
    connection.execute(INSERT, values_of(made))
    events.note_event(connection, made.artifact_id, ArtifactEventKind.CREATED, made.created_at)
    return made


def update_artifact(connection: sqlite3.Connection, ref: ArtifactRef, now: float) -> ArtifactRef:
    """Replaces what is known of an artifact that exists, and returns it with its new etag."""
    made = replace(ref, etag=events.next_mark(connection), updated_at=now)
    connection.execute(UPDATE, values_of(made))
    events.note_event(connection, made.artifact_id, ArtifactEventKind.UPDATED, now)
    return made


def remove_artifact(connection: sqlite3.Connection, artifact_id: str, deleted_at: float | None = None) -> list[Blob]:
    """Removes an artifact that exists; returns the file to unlink if it was the last to point to it.

    `deleted_at` is when somebody asked for that; an artifact of which nobody did, or that had expired by then, expired.
    """
    row = connection.execute(_ROW, (artifact_id,)).fetchone()
    events.next_mark(connection)
    if deleted_at is None or _has_expired(row, deleted_at):
        events.note_event(connection, artifact_id, ArtifactEventKind.EXPIRED, row["expires_at"])
    else:
        events.note_event(connection, artifact_id, ArtifactEventKind.DELETED, deleted_at)
    connection.execute("DELETE FROM artifacts WHERE artifact_id = ?", (artifact_id,))
    quota.disown(connection, row["owner"], row["size"])
    return references.release(connection, row["digest"])


def _has_expired(row: sqlite3.Row, now: float) -> bool:
    return row["expires_at"] is not None and row["expires_at"] <= now


def _check_etag(row: sqlite3.Row, etag: str) -> None:
    if etag and etag != row["etag"]:
        raise refusals.etag_mismatch(row["artifact_id"], etag, row["etag"])
