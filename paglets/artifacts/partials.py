"""The rows of open uploads between their admission and their intent: grown, kept, listed, and found idle.

Each function is the work of one transaction. This file must never touch a file.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from paglets.artifacts import quota
from paglets.artifacts.quota import Limits
from paglets.artifacts.requests import owner_of, ref_of
from paglets.artifacts.store import UploadInfo, UploadState
from paglets.digest import Digest
from paglets.values import OwnerPolicy

__all__ = [
    "LeftPart",
    "describe",
    "find",
    "grow",
    "idle",
    "keep",
    "left_open",
    "mark_durable",
    "next_idle",
    "of_owner",
    "page",
    "rebooted",
]

_STATES = {"open": UploadState.OPEN, "intent": UploadState.COMMITTING, "done": UploadState.COMMITTED}


@dataclass(frozen=True, slots=True)
class LeftPart:
    """What a dead process left of an upload: so many bytes, written last at that time, in seconds since the epoch."""

    upload_id: str
    size_bytes: int
    touched_at: float


def find(connection: sqlite3.Connection, upload_id: str) -> sqlite3.Row | None:
    """The row of an upload."""
    return connection.execute("SELECT * FROM uploads WHERE upload_id = ?", (upload_id,)).fetchone()


def page(connection: sqlite3.Connection, after: str, limit: int) -> list[sqlite3.Row]:
    """Up to `limit` unfinished uploads with ids after `after`, in order."""
    query = "SELECT * FROM uploads WHERE state <> 'done' AND upload_id > ? ORDER BY upload_id LIMIT ?"
    return connection.execute(query, (after, limit)).fetchall()


def of_owner(connection: sqlite3.Connection, owner: str, begun_until: float) -> list[str]:
    """Unfinished uploads that were begun no later than that, of artifacts that are to go with their owner."""
    query = "SELECT upload_id, request FROM uploads WHERE state <> 'done' AND created_at <= ?"
    found = ((row["upload_id"], json.loads(row["request"])) for row in connection.execute(query, (begun_until,)))
    with_him = (owner, OwnerPolicy.DELETE_WITH_OWNER)
    return [upload_id for upload_id, request in found if (request["owner"], request["owner_policy"]) == with_him]


def grow(connection: sqlite3.Connection, upload_id: str, owner: str, limits: Limits, needed: int, wanted: int) -> int:
    """Reserves more for an open upload and returns how much. Raises QUOTA_EXCEEDED."""
    granted = quota.reserve(connection, limits, owner, needed, wanted)
    connection.execute("UPDATE uploads SET reserved = reserved + ? WHERE upload_id = ?", (granted, upload_id))
    return granted


def mark_durable(connection: sqlite3.Connection, upload_id: str, size: int) -> None:
    """Notes that the first `size` bytes will survive a loss of power."""
    connection.execute("UPDATE uploads SET durable = ? WHERE upload_id = ?", (size, upload_id))


def keep(connection: sqlite3.Connection, upload_id: str, size: int, now: float) -> None:
    """Lets an upload of `size` bytes rest; what was reserved beyond them goes back, unless its size was declared."""
    row = find(connection, upload_id)
    if row is None or row["state"] != "open":
        return
    _give_back(connection, row, size)
    connection.execute("UPDATE uploads SET touched_at = ? WHERE upload_id = ?", (now, upload_id))


def left_open(connection: sqlite3.Connection) -> list[sqlite3.Row]:
    """The rows of all open uploads."""
    return connection.execute("SELECT * FROM uploads WHERE state = 'open'").fetchall()


def rebooted(connection: sqlite3.Connection, found: Sequence[LeftPart], boot: str) -> None:
    """Notes in which run of the machine the parts were looked at, and when each was written last; lets them rest."""
    for part in found:
        row = find(connection, part.upload_id)
        if row is not None:
            _give_back(connection, row, part.size_bytes)
        connection.execute(
            "UPDATE uploads SET boot = ?, touched_at = max(touched_at, ?) WHERE upload_id = ?",
            (boot, part.touched_at, part.upload_id),
        )


def idle(connection: sqlite3.Connection, until: float, limit: int) -> list[str]:
    """Open uploads whose writers came, or went, no later than `until`."""
    rows = connection.execute(
        "SELECT upload_id FROM uploads WHERE state <> 'done' AND state = 'open' AND touched_at <= ? LIMIT ?",
        (until, limit),
    ).fetchall()
    return [row["upload_id"] for row in rows]


def next_idle(connection: sqlite3.Connection, writing: Collection[str]) -> float | None:
    """When the upload that rests longest was touched last; None when none rests."""
    rows = connection.execute("SELECT upload_id, touched_at FROM uploads WHERE state <> 'done' AND state = 'open'")
    return min((row["touched_at"] for row in rows if row["upload_id"] not in writing), default=None)


def describe(
    row: sqlite3.Row, host: str, *, committed: int, prefix: Digest | None, writing: bool, ttl_s: float
) -> UploadInfo:
    """A row for people and programs."""
    request, state, size = json.loads(row["request"]), _STATES[row["state"]], row["expected_size"]
    ref = ref_of(row, host) if state is UploadState.COMMITTED else None
    digest = row["expected_digest"]
    rests = state is UploadState.OPEN and not writing
    return UploadInfo(
        upload_id=row["upload_id"],
        artifact_id=row["artifact_id"],
        state=state,
        committed_size=committed,
        prefix=prefix,
        writer_epoch=row["writer_epoch"],
        writing=writing,
        name=request["name"],
        owner=request["owner"],
        expected_size=size,
        expected_digest=None if digest is None else Digest(digest, size),
        reserved_bytes=row["reserved"],
        created_at=row["created_at"],
        expires_at=row["touched_at"] + ttl_s if rests else None,
        ref=ref,
    )


def _give_back(connection: sqlite3.Connection, row: sqlite3.Row, size: int) -> None:
    """Ends the reservation of what an upload of unknown size has beyond its `size` bytes."""
    spare = 0 if row["expected_size"] is not None else max(0, row["reserved"] - size)
    quota.settle(connection, owner_of(row), spare, 0)
    connection.execute("UPDATE uploads SET reserved = reserved - ? WHERE upload_id = ?", (spare, row["upload_id"]))
