"""What the journal keeps of the events of paglets: the last of each, in a sequence without a gap.

The last event of a paglet is always kept, so that its number is known and no other event ever gets it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from paglets.config import EventSettings
from paglets.core.cursor_events import CursorEvent
from paglets.sqlite import Database

__all__ = ["EventRows", "last_event"]

_PAGE_BYTES = 256 * 1024


class EventRows:
    """Rows of one host, within its bounds for each paglet."""

    def __init__(self, database: Database, bounds: EventSettings) -> None:
        self._database = database
        self._bounds = bounds

    def put(self, db: sqlite3.Connection, paglet_id: str, events: Sequence[CursorEvent]) -> None:
        """Keeps events after those that are kept, inside a transaction, and drops the oldest that are too many."""
        if not events:
            return
        # What a turn has left that was given up after all, when its write was on its way; nobody was told of it.
        db.execute("DELETE FROM events WHERE paglet_id = ? AND cursor >= ?", (paglet_id, events[0].cursor))
        query = "SELECT total FROM events WHERE paglet_id = ? ORDER BY cursor DESC LIMIT 1"
        last = db.execute(query, (paglet_id,)).fetchone()
        total: int = 0 if last is None else last["total"]
        rows: list[tuple[str, int, int, str, bytes, int]] = []
        for event in events:
            total += len(event.value)
            rows.append((paglet_id, event.cursor, total, event.type_url, event.value, event.create_ms))
        db.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", rows)
        self._trim(db, paglet_id, events[-1].cursor, total)

    def _trim(self, db: sqlite3.Connection, paglet_id: str, last: int, total: int) -> None:
        """Looks at what it drops, and at one more: its cost does not grow with what is kept."""
        query = "SELECT cursor, total - length(value) AS before FROM events WHERE paglet_id = ? ORDER BY cursor LIMIT 1"
        while True:
            oldest = db.execute(query, (paglet_id,)).fetchone()
            cursor: int = oldest["cursor"]
            is_many = last - cursor >= self._bounds.max_events or total - oldest["before"] > self._bounds.max_bytes
            if cursor == last or not is_many:
                return
            db.execute("DELETE FROM events WHERE paglet_id = ? AND cursor = ?", (paglet_id, cursor))

    async def oldest(self, paglet_id: str) -> int:
        """The cursor of the oldest event that is kept of a paglet; 0 for none."""
        query = "SELECT MIN(cursor) AS oldest FROM events WHERE paglet_id = ?"
        row = await self._database.read(lambda db: db.execute(query, (paglet_id,)).fetchone())
        return row["oldest"] or 0

    async def page(self, paglet_id: str, after: int, limit: int) -> list[CursorEvent]:
        """The oldest events after a cursor: so many at most, and one, or no more than fit into some memory."""
        query = (
            "SELECT cursor, type_url, value, create_ms FROM events WHERE paglet_id = :paglet_id AND cursor > :after"
            " AND total <= :bytes + (SELECT total FROM events WHERE paglet_id = :paglet_id AND cursor > :after"
            " ORDER BY cursor LIMIT 1) ORDER BY cursor LIMIT :limit"
        )
        values = {"paglet_id": paglet_id, "after": after, "limit": limit, "bytes": _PAGE_BYTES}
        rows = await self._database.read(lambda db: db.execute(query, values).fetchall())
        return [CursorEvent(**dict(row)) for row in rows]

    async def all(self, paglet_id: str) -> list[CursorEvent]:
        """All events that are kept of a paglet, in their order."""
        query = "SELECT cursor, type_url, value, create_ms FROM events WHERE paglet_id = ? ORDER BY cursor"
        rows = await self._database.read(lambda db: db.execute(query, (paglet_id,)).fetchall())
        return [CursorEvent(**dict(row)) for row in rows]


def last_event(db: sqlite3.Connection, paglet_id: str) -> int:
    """The cursor of the last event of a paglet; 0 for none."""
    row = db.execute("SELECT MAX(cursor) AS last FROM events WHERE paglet_id = ?", (paglet_id,)).fetchone()
    return row["last"] or 0
