"""The rows of artifacts: found, listed and removed.

Expiry is exact here: what has expired is never found. This file must never touch a file; it says which files are to be
unlinked.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, replace

from paglets.artifacts import references
from paglets.artifacts.ledger import Ledger
from paglets.artifacts.references import Blob
from paglets.digest import Digest
from paglets.values import ArtifactRef, OwnerPolicy

__all__ = ["SWEEP_BATCH", "Catalogue", "Removal", "StoredArtifact", "insert_artifact", "remove_artifact"]

SWEEP_BATCH = 500
_FIND = """
SELECT a.*, b.generation, b.corrupt, b.last_verified_at FROM artifacts a JOIN blobs b USING (digest)
WHERE artifact_id = :id AND (expires_at IS NULL OR expires_at > :now)
"""
_PAGE = """
SELECT * FROM artifacts
WHERE artifact_id > :after AND (expires_at IS NULL OR expires_at > :now) ORDER BY artifact_id LIMIT :limit
"""
_PAGE_OF_OWNER = """
SELECT * FROM artifacts
WHERE owner = :owner AND artifact_id > :after AND (expires_at IS NULL OR expires_at > :now)
ORDER BY artifact_id LIMIT :limit
"""
_EXPIRY = "SELECT expires_at FROM artifacts WHERE artifact_id = ?"
_OF_OWNER = """
SELECT artifact_id FROM artifacts
WHERE owner = ? AND created_at <= ? AND owner_policy = 'delete-with-owner' LIMIT ?
"""
_EXPIRED = "SELECT artifact_id FROM artifacts WHERE expires_at <= ? LIMIT ?"
_TOMBSTONES = """
SELECT t.digest, t.generation, t.size FROM tombstones t
WHERE NOT EXISTS (SELECT 1 FROM blobs b WHERE b.digest = t.digest AND b.generation = t.generation) LIMIT ?
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
        if row is None:
            return None
        blob = Blob(row["digest"], row["generation"], row["size"])
        ref = replace(self._ref(row), corrupt=bool(row["corrupt"]), verified_at=row["last_verified_at"])
        return StoredArtifact(ref, blob)

    async def page(self, owner: str | None, after: str, limit: int) -> list[ArtifactRef]:
        """Up to `limit` artifacts with ids after `after`, in order."""
        query = _PAGE if owner is None else _PAGE_OF_OWNER
        values = {"after": after, "now": self._clock(), "owner": owner, "limit": limit}
        rows = await self._ledger.read(lambda connection: connection.execute(query, values).fetchall())
        return [self._ref(row) for row in rows]

    async def remove(self, artifact_id: str) -> Removal:
        """Removes one artifact; an expired one is removed too, and not counted."""
        now = self._clock()

        def work(connection: sqlite3.Connection) -> Removal:
            row = connection.execute(_EXPIRY, (artifact_id,)).fetchone()
            if row is None:
                return Removal(0, [])
            alive = row["expires_at"] is None or row["expires_at"] > now
            return Removal(int(alive), remove_artifact(connection, artifact_id))

        return await self._ledger.free(work)

    async def remove_of_owner(self, owner: str, created_until: float | None) -> Removal:
        """Removes a batch of the owner's artifacts that go with him, or of those committed until a time."""
        return await self._remove_selected(_OF_OWNER, owner, math.inf if created_until is None else created_until)

    async def remove_expired(self) -> Removal:
        """Removes a batch of what has expired."""
        return await self._remove_selected(_EXPIRED, self._clock())

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
        query = "UPDATE blobs SET corrupt = 1 WHERE digest = ? AND generation = ? AND NOT corrupt"
        values = (blob.digest, blob.generation)
        return await self._ledger.free(lambda connection: connection.execute(query, values).rowcount > 0)

    async def find_blob(self, digest: Digest) -> Blob | None:
        """The current file of these bytes, if it is trusted."""
        return await self._ledger.read(lambda connection: references.find_blob(connection, digest.value))

    async def next_expiry(self) -> float | None:
        """When the next artifact expires; None for never."""
        query = "SELECT min(expires_at) FROM artifacts WHERE expires_at IS NOT NULL"
        (found,) = await self._ledger.read(lambda connection: connection.execute(query).fetchone())
        return found

    async def _remove_selected(self, query: str, *values: object) -> Removal:
        def work(connection: sqlite3.Connection) -> Removal:
            ids = [row["artifact_id"] for row in connection.execute(query, (*values, SWEEP_BATCH)).fetchall()]
            blobs = [blob for artifact_id in ids for blob in remove_artifact(connection, artifact_id)]
            return Removal(len(ids), blobs)

        return await self._ledger.free(work)

    def _ref(self, row: sqlite3.Row) -> ArtifactRef:
        return ArtifactRef(
            host=self._host,
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
        )


def insert_artifact(connection: sqlite3.Connection, ref: ArtifactRef) -> None:
    """Makes an artifact visible; its blob holds a reference for it already."""
    connection.execute(
        "INSERT INTO artifacts (artifact_id, digest, size, name, owner, owner_policy, content_type, content_encoding,"
        " labels, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            ref.artifact_id,
            ref.digest.value,
            ref.size_bytes,
            ref.name,
            ref.owner,
            ref.owner_policy.value,
            ref.content_type,
            ref.content_encoding,
            json.dumps(dict(ref.labels)),
            ref.created_at,
            ref.expires_at,
        ),
    )


def remove_artifact(connection: sqlite3.Connection, artifact_id: str) -> list[Blob]:
    """Removes an artifact that exists; returns the file to unlink if it was the last to point to it."""
    (digest,) = connection.execute(
        "DELETE FROM artifacts WHERE artifact_id = ? RETURNING digest", (artifact_id,)
    ).fetchone()
    return references.release(connection, digest)
