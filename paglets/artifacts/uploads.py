"""The rows of uploads, from admission to commit.

open -> intent -> done, or forgotten; until then a row holds its reservation and its artifact id. Each function is the
work of one transaction. This file must never touch a file.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass

from paglets.artifacts import quota, references, refusals
from paglets.artifacts.catalogue import SWEEP_BATCH, insert_artifact, remove_artifact
from paglets.artifacts.references import Blob
from paglets.artifacts.store import ArtifactWrite
from paglets.config import StoreSettings
from paglets.digest import Digest
from paglets.values import ArtifactRef, OwnerPolicy, new_id

__all__ = [
    "KEEP_FINISHED_S",
    "Admission",
    "Intent",
    "admit",
    "commit",
    "forget",
    "grow",
    "next_purge",
    "purge_finished",
    "record_intent",
    "unfinished",
]

KEEP_FINISHED_S = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Intent:
    """What a proven upload is about to become.

    `held` tells that the bytes were here already and `blob` is their file, to which the upload holds a reference;
    otherwise `blob` is the file that the upload's part is to be renamed to.
    """

    upload_id: str
    blob: Blob
    held: bool


@dataclass(frozen=True, slots=True)
class Admission:
    """A new upload (`finished` is None), or the artifact that this upload made before."""

    artifact_id: str
    finished: ArtifactRef | None = None


def admit(
    connection: sqlite3.Connection, write: ArtifactWrite, settings: StoreSettings, host: str, now: float
) -> Admission:
    """Opens an upload with its reservation.

    Raises UPLOAD_IN_PROGRESS, REQUEST_ID_REUSED, ARTIFACT_NOT_FOUND, ARTIFACT_EXISTS, TOO_MANY_UPLOADS, QUOTA_EXCEEDED.
    """
    row = connection.execute("SELECT * FROM uploads WHERE upload_id = ?", (write.upload_id,)).fetchone()
    if row is not None:
        return _known(connection, row, write, host, now)
    if write.artifact_id:
        _claim_artifact_id(connection, write.artifact_id, now)
    (count,) = connection.execute("SELECT count(*) FROM uploads WHERE state <> 'done'").fetchone()
    if count >= settings.max_open_uploads:
        raise refusals.too_many_uploads(settings.max_open_uploads)
    size = write.size_bytes or 0
    quota.reserve(connection, settings.quota_bytes, size, size)
    artifact_id = write.artifact_id or new_id()
    connection.execute(
        "INSERT INTO uploads (upload_id, artifact_id, state, request, reserved) VALUES (?, ?, 'open', ?, ?)",
        (write.upload_id, artifact_id, _request_text(write), size),
    )
    return Admission(artifact_id)


def grow(connection: sqlite3.Connection, upload_id: str, limit: int | None, needed: int, wanted: int) -> int:
    """Reserves more for an open upload and returns how much. Raises QUOTA_EXCEEDED."""
    granted = quota.reserve(connection, limit, needed, wanted)
    connection.execute("UPDATE uploads SET reserved = reserved + ? WHERE upload_id = ?", (granted, upload_id))
    return granted


def record_intent(connection: sqlite3.Connection, upload_id: str, digest: Digest) -> Intent:
    """Notes which bytes an upload has proven and which file shall hold them."""
    blob = references.find_blob(connection, digest.value)
    held = blob is not None
    if blob is None:
        blob = Blob(digest.value, references.next_generation(connection), digest.size_bytes)
    else:
        references.hold(connection, digest.value)
    connection.execute(
        "UPDATE uploads SET state = 'intent', digest = ?, size = ?, generation = ?, held = ? WHERE upload_id = ?",
        (blob.digest, blob.size_bytes, blob.generation, held, upload_id),
    )
    return Intent(upload_id, blob, held)


def commit(connection: sqlite3.Connection, intent: Intent, host: str, now: float) -> tuple[ArtifactRef, list[Blob]]:
    """Makes the artifact visible and ends the upload; also returns a file that turned out to be spare."""
    spare = [] if intent.held else references.make_current(connection, intent.blob, now)
    row = connection.execute(
        "UPDATE uploads SET state = 'done', done_at = ? WHERE upload_id = ? RETURNING *", (now, intent.upload_id)
    ).fetchone()
    ref = _ref_of(row, host)
    insert_artifact(connection, ref)
    quota.settle(connection, row["reserved"], 0 if intent.held else intent.blob.size_bytes)
    connection.execute("UPDATE uploads SET reserved = 0 WHERE upload_id = ?", (intent.upload_id,))
    return ref, spare


def forget(connection: sqlite3.Connection, upload_id: str) -> list[Blob]:
    """Ends an unfinished upload whose part is gone. Returns files to unlink, which are tombstones from now on.

    That is the one it may have published: a file stays named in a row until it is durably gone. If it held the last
    reference to a file, it is that one.
    """
    row = connection.execute(
        "DELETE FROM uploads WHERE upload_id = ? AND state <> 'done' RETURNING *", (upload_id,)
    ).fetchone()
    if row is None:
        return []
    published = row["state"] == "intent" and not row["held"]
    quota.settle(connection, row["reserved"], row["size"] if published else 0)
    if published:
        return [references.entomb(connection, Blob(row["digest"], row["generation"], row["size"]))]
    return references.release(connection, row["digest"]) if row["held"] else []


def unfinished(connection: sqlite3.Connection) -> tuple[list[str], list[Intent]]:
    """The ids of open uploads, and the intents of those that were about to be committed."""
    rows = connection.execute("SELECT * FROM uploads WHERE state <> 'done'").fetchall()
    intents = [
        Intent(row["upload_id"], Blob(row["digest"], row["generation"], row["size"]), bool(row["held"]))
        for row in rows
        if row["state"] == "intent"
    ]
    return [row["upload_id"] for row in rows if row["state"] == "open"], intents


def purge_finished(connection: sqlite3.Connection, now: float) -> int:
    """Forgets a batch of uploads that were finished a day ago; says how many."""
    return connection.execute(
        "DELETE FROM uploads WHERE upload_id IN"
        " (SELECT upload_id FROM uploads WHERE state = 'done' AND done_at <= ? LIMIT ?)",
        (now - KEEP_FINISHED_S, SWEEP_BATCH),
    ).rowcount


def next_purge(connection: sqlite3.Connection) -> float | None:
    """When the next finished upload is to be forgotten; None for never."""
    (oldest,) = connection.execute("SELECT min(done_at) FROM uploads WHERE state = 'done'").fetchone()
    return None if oldest is None else oldest + KEEP_FINISHED_S


def _known(connection: sqlite3.Connection, row: sqlite3.Row, write: ArtifactWrite, host: str, now: float) -> Admission:
    if row["state"] != "done":
        raise refusals.upload_in_progress("upload", write.upload_id)
    ref = _ref_of(row, host)
    differs = write.expected_digest not in (None, ref.digest) or write.size_bytes not in (None, ref.size_bytes)
    if differs or row["request"] != _request_text(write):
        raise refusals.upload_reused(write.upload_id)
    # Its id may be another's by now, which has been committed later.
    query = (
        "SELECT 1 FROM artifacts WHERE artifact_id = ? AND digest = ? AND created_at = ?"
        " AND (expires_at IS NULL OR expires_at > ?)"
    )
    if not connection.execute(query, (ref.artifact_id, ref.digest.value, ref.created_at, now)).fetchone():
        raise refusals.artifact_deleted(ref.artifact_id, write.upload_id)
    return Admission(ref.artifact_id, ref)


def _claim_artifact_id(connection: sqlite3.Connection, artifact_id: str, now: float) -> None:
    row = connection.execute(
        "SELECT digest, size, expires_at FROM artifacts WHERE artifact_id = ?", (artifact_id,)
    ).fetchone()
    if row is not None:
        if row["expires_at"] is None or row["expires_at"] > now:
            raise refusals.artifact_exists(artifact_id, str(Digest(row["digest"], row["size"])))
        remove_artifact(connection, artifact_id)
    query = "SELECT 1 FROM uploads WHERE artifact_id = ? AND state <> 'done'"
    if connection.execute(query, (artifact_id,)).fetchone():
        raise refusals.upload_in_progress("artifact", artifact_id)


def _request_text(write: ArtifactWrite) -> str:
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


def _ref_of(row: sqlite3.Row, host: str) -> ArtifactRef:
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
