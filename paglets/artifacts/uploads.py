"""The rows of uploads, from admission to commit.

open -> intent -> done, or forgotten; until then a row holds its reservation. Each function is the work of one
transaction. This file must never touch a file; what becomes of rows between two writers is in `partials`.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection
from dataclasses import dataclass

from paglets.artifacts import quota, references, refusals, rows
from paglets.artifacts.catalogue import SWEEP_BATCH, insert_artifact, remove_artifact
from paglets.artifacts.quota import Limits
from paglets.artifacts.references import Blob
from paglets.artifacts.requests import owner_of, ref_of, request_text, require_same
from paglets.artifacts.store import ArtifactWrite
from paglets.config import StoreSettings
from paglets.digest import Digest
from paglets.values import ArtifactRef, new_id

__all__ = [
    "KEEP_FINISHED_S",
    "Admission",
    "Committed",
    "Intent",
    "Moment",
    "admit",
    "claim_artifact_id",
    "commit",
    "commit_inline",
    "doom",
    "find_finished",
    "forget",
    "hold_known",
    "insert_finished",
    "next_purge",
    "purge_finished",
    "record_intent",
    "unfinished",
]

KEEP_FINISHED_S = 24 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What a transaction has to know of the store around it.

    `now` is seconds since the epoch, `boot` names this run of the machine, `writing` the uploads that have a writer.
    """

    host: str
    settings: StoreSettings
    now: float
    boot: str
    writing: Collection[str]

    @property
    def limits(self) -> Limits:
        """The quotas."""
        return Limits(host=self.settings.quota_bytes, owner=self.settings.owner_quota_bytes)


@dataclass(frozen=True, slots=True)
class Intent:
    """What a proven upload is about to become.

    `held` tells that the bytes were here already and `blob` is where, to which the upload holds a reference; otherwise
    `blob` is the file that the upload's part is to be renamed to, or what the catalogue is to keep.
    """

    upload_id: str
    blob: Blob
    held: bool


@dataclass(frozen=True, slots=True)
class Committed:
    """What an upload became; `held` tells that the bytes were here already, `spare` which files are to be unlinked."""

    ref: ArtifactRef
    held: bool
    spare: list[Blob]


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """A writer is let in: his number, and how many bytes are reserved for him."""

    writer_epoch: int
    reserved: int


def admit(connection: sqlite3.Connection, write: ArtifactWrite, writer_epoch: int, moment: Moment) -> Admission:
    """Opens an upload with its reservation, or gives an open one, which nobody writes, to its next writer.

    Raises UPLOAD_IN_PROGRESS, also for one that has just been finished, REQUEST_ID_REUSED, ARTIFACT_EXISTS,
    TOO_MANY_UPLOADS, QUOTA_EXCEEDED, WRITER_FENCED.
    """
    row = connection.execute("SELECT * FROM uploads WHERE upload_id = ?", (write.upload_id,)).fetchone()
    if row is None:
        return _open(connection, write, max(writer_epoch, 1), moment)
    if row["state"] != "open":
        raise refusals.upload_in_progress("upload", write.upload_id)
    return _go_on(connection, row, write, writer_epoch, moment)


def hold_known(
    connection: sqlite3.Connection, write: ArtifactWrite, writer_epoch: int, moment: Moment
) -> Intent | None:
    """Opens an upload whose bytes are here, where its owner may read them, and holds them; None if there are none.

    It takes as long to find none as to find those of others. Raises ARTIFACT_EXISTS, UPLOAD_IN_PROGRESS,
    TOO_MANY_UPLOADS.
    """
    known = connection.execute("SELECT 1 FROM uploads WHERE upload_id = ?", (write.upload_id,)).fetchone()
    if known is not None or write.expected_digest is None:
        return None
    blob = _find_usable(connection, write, write.expected_digest, moment)
    if blob is None:
        return None
    _insert(connection, write, max(writer_epoch, 1), 0, moment)
    return _intend(connection, write.upload_id, blob, held=True)


def record_intent(
    connection: sqlite3.Connection, write: ArtifactWrite, digest: Digest, moment: Moment, *, inline: bool = False
) -> Intent:
    """Notes which bytes an upload has proven and what shall hold them: a file, or the catalogue, in which they are not.

    That is a blob that is there only if the owner may read it: else nobody shall find out that it is. Raises
    ARTIFACT_EXISTS, UPLOAD_IN_PROGRESS.
    """
    (artifact_id,) = connection.execute(
        "SELECT artifact_id FROM uploads WHERE upload_id = ?", (write.upload_id,)
    ).fetchone()
    claim_artifact_id(connection, artifact_id, write.upload_id, moment, writing=())
    blob = _find_usable(connection, write, digest, moment)
    if blob is not None:
        return _intend(connection, write.upload_id, blob, held=True)
    number = references.next_inline(connection) if inline else references.next_generation(connection)
    return _intend(connection, write.upload_id, Blob(digest.value, number, digest.size_bytes), held=False)


def commit(
    connection: sqlite3.Connection, intent: Intent, host: str, now: float, limits: Limits, data: bytes | None = None
) -> Committed:
    """Makes the artifact visible and ends the upload. `data` are the bytes that the catalogue is to keep.

    Raises QUOTA_EXCEEDED where an owner got bytes that were here already and has no room for them.
    """
    row = connection.execute(
        "UPDATE uploads SET state = 'done', done_at = ? WHERE upload_id = ? RETURNING *", (now, intent.upload_id)
    ).fetchone()
    quota.settle(connection, owner_of(row), row["reserved"], 0 if intent.held else intent.blob.size_bytes)
    spare = [] if intent.held else references.make_current(connection, intent.blob, now, data)
    ref = insert_artifact(connection, ref_of(row, host), limits)
    connection.execute("UPDATE uploads SET reserved = 0 WHERE upload_id = ?", (intent.upload_id,))
    return Committed(ref, intent.held, spare)


def commit_inline(
    connection: sqlite3.Connection, write: ArtifactWrite, digest: Digest, data: bytes, moment: Moment
) -> Committed:
    """Makes an artifact of an upload whose proven bytes the catalogue keeps. Raises as `record_intent`, `commit`."""
    intent = record_intent(connection, write, digest, moment, inline=True)
    return commit(connection, intent, moment.host, moment.now, moment.limits, data)


def insert_finished(
    connection: sqlite3.Connection, write: ArtifactWrite, ref: ArtifactRef, blob: Blob, moment: Moment
) -> None:
    """Remembers a write that never was an open upload, for when it is repeated."""
    digest = None if write.expected_digest is None else write.expected_digest.value
    connection.execute(
        "INSERT INTO uploads (upload_id, artifact_id, state, request, expected_size, expected_digest, reserved,"
        " writer_epoch, boot, created_at, touched_at, digest, size, generation, done_at)"
        " VALUES (?, ?, 'done', ?, ?, ?, 0, 1, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(write.upload_id, ref.artifact_id, request_text(write), write.size_bytes, digest),
            *(moment.boot, moment.now, moment.now, blob.digest, blob.size_bytes, blob.generation, moment.now),
        ),
    )


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
    quota.settle(connection, owner_of(row), row["reserved"], row["size"] if published else 0)
    if published:
        return [references.entomb(connection, Blob(row["digest"], row["generation"], row["size"]))]
    return references.release(connection, row["digest"]) if row["held"] else []


def doom(connection: sqlite3.Connection, upload_id: str, now: float) -> list[Blob]:
    """Has an upload that cannot be stopped any more make an artifact that expires at once.

    One that it has made just now is removed; returns the files that are to be unlinked.
    """
    row = connection.execute("SELECT * FROM uploads WHERE upload_id = ?", (upload_id,)).fetchone()
    if row is None:
        return []
    if row["state"] != "done":
        request = json.dumps({**json.loads(row["request"]), "ttl_s": 0.0}, sort_keys=True)
        connection.execute("UPDATE uploads SET request = ? WHERE upload_id = ?", (request, upload_id))
        return []
    made = connection.execute(
        "SELECT 1 FROM artifacts WHERE artifact_id = ? AND created_at = ?", (row["artifact_id"], row["done_at"])
    ).fetchone()
    return remove_artifact(connection, row["artifact_id"], now) if made else []


def unfinished(connection: sqlite3.Connection) -> list[Intent]:
    """The intents of uploads that were about to be committed."""
    rows = connection.execute("SELECT * FROM uploads WHERE state = 'intent'").fetchall()
    return [
        Intent(row["upload_id"], Blob(row["digest"], row["generation"], row["size"]), bool(row["held"])) for row in rows
    ]


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


def _find_usable(connection: sqlite3.Connection, write: ArtifactWrite, digest: Digest, moment: Moment) -> Blob | None:
    """A blob to point to that the owner may read; it has a file if one is wanted."""
    blob = references.find_readable(connection, digest.value, write.owner, moment.now)
    if blob is None or blob.size_bytes != digest.size_bytes or (blob.is_inline and write.as_file):
        return None
    return blob


def _open(connection: sqlite3.Connection, write: ArtifactWrite, writer_epoch: int, moment: Moment) -> Admission:
    size = write.size_bytes or 0
    _insert(connection, write, writer_epoch, size, moment)
    quota.reserve(connection, moment.limits, write.owner, size, size)
    return Admission(writer_epoch=writer_epoch, reserved=size)


def _insert(
    connection: sqlite3.Connection, write: ArtifactWrite, writer_epoch: int, reserved: int, moment: Moment
) -> None:
    if write.artifact_id:
        claim_artifact_id(connection, write.artifact_id, write.upload_id, moment, moment.writing)
    (count,) = connection.execute("SELECT count(*) FROM uploads WHERE state <> 'done'").fetchone()
    if count >= moment.settings.max_partials:
        raise refusals.too_many_uploads(moment.settings.max_partials, "unfinished")
    connection.execute(
        "INSERT INTO uploads (upload_id, artifact_id, state, request, expected_size, expected_digest, reserved,"
        " writer_epoch, boot, created_at, touched_at) VALUES (?, ?, 'open', ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            write.upload_id,
            write.artifact_id or new_id(moment.now),
            request_text(write),
            write.size_bytes,
            None if write.expected_digest is None else write.expected_digest.value,
            reserved,
            writer_epoch,
            moment.boot,
            moment.now,
            moment.now,
        ),
    )


def _go_on(
    connection: sqlite3.Connection, row: sqlite3.Row, write: ArtifactWrite, writer_epoch: int, moment: Moment
) -> Admission:
    require_same(row, write)
    current = row["writer_epoch"]
    epoch = writer_epoch or current + 1
    if epoch < current:
        raise refusals.writer_fenced(write.upload_id, current)
    claim_artifact_id(connection, row["artifact_id"], write.upload_id, moment, moment.writing)
    connection.execute(
        "UPDATE uploads SET writer_epoch = ?, touched_at = ? WHERE upload_id = ?", (epoch, moment.now, write.upload_id)
    )
    return Admission(writer_epoch=epoch, reserved=row["reserved"])


def _intend(connection: sqlite3.Connection, upload_id: str, blob: Blob, *, held: bool) -> Intent:
    if held:
        references.hold(connection, blob.digest)
    connection.execute(
        "UPDATE uploads SET state = 'intent', digest = ?, size = ?, generation = ?, held = ? WHERE upload_id = ?",
        (blob.digest, blob.size_bytes, blob.generation, held, upload_id),
    )
    return Intent(upload_id, blob, held)


def find_finished(
    connection: sqlite3.Connection, row: sqlite3.Row, write: ArtifactWrite, moment: Moment
) -> ArtifactRef:
    """What the finished upload of this row made. Raises REQUEST_ID_REUSED, ARTIFACT_NOT_FOUND."""
    ref = ref_of(row, moment.host)
    differs = write.expected_digest not in (None, ref.digest) or write.size_bytes not in (None, ref.size_bytes)
    if differs or row["request"] != request_text(write):
        raise refusals.upload_reused(write.upload_id)
    # Its id may be another's by now, which has been committed later.
    query = (
        "SELECT * FROM artifacts WHERE artifact_id = ? AND digest = ? AND created_at = ?"
        " AND (expires_at IS NULL OR expires_at > ?)"
    )
    values = (ref.artifact_id, ref.digest.value, ref.created_at, moment.now)
    found = connection.execute(query, values).fetchone()
    if found is None:
        raise refusals.artifact_deleted(ref.artifact_id, write.upload_id)
    return rows.ref_of(found, moment.host)


def claim_artifact_id(
    connection: sqlite3.Connection, artifact_id: str, upload_id: str, moment: Moment, writing: Collection[str]
) -> None:
    """Sees to it that the id is free, also of those who are `writing`; a partial at rest keeps nobody from it."""
    row = connection.execute(
        "SELECT digest, size, expires_at FROM artifacts WHERE artifact_id = ?", (artifact_id,)
    ).fetchone()
    if row is not None:
        if row["expires_at"] is None or row["expires_at"] > moment.now:
            raise refusals.artifact_exists(artifact_id, str(Digest(row["digest"], row["size"])))
        remove_artifact(connection, artifact_id)
    others = connection.execute(
        "SELECT upload_id, state FROM uploads WHERE artifact_id = ? AND upload_id <> ? AND state <> 'done'",
        (artifact_id, upload_id),
    ).fetchall()
    if any(other["state"] == "intent" or other["upload_id"] in writing for other in others):
        raise refusals.upload_in_progress("artifact", artifact_id)
