"""What the journal keeps of inactive paglets, beside the paglets themselves: what is to bring them back."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

import msgspec

from paglets.core.cause import OutgoingPost
from paglets.core.cursor_events import CursorEvent
from paglets.core.turn import OwnRequest
from paglets.host.journal.events import EventRows
from paglets.host.journal.outbox import put_outgoing
from paglets.host.journal.rows import (
    drop_own_request,
    not_kept,
    put_dormant,
    put_own_request,
    put_replies,
    update_paglet,
)
from paglets.host.records import StoredPaglet, StoredReply
from paglets.sqlite import Database
from paglets.values import DeactivationPolicy

__all__ = ["DormantRows"]


class DormantRows:
    """Rows of one host. What writes returns when the write is durable."""

    def __init__(self, database: Database, events: EventRows) -> None:
        self._database = database
        self._events = events

    async def rest(
        self,
        paglet: StoredPaglet,
        policy: DeactivationPolicy,
        *,
        reply: StoredReply | None = None,
        evicted: Sequence[tuple[str, str]] = (),
        done: OwnRequest | None = None,
        wanted: OwnRequest | None = None,
        sent: Sequence[OutgoingPost] = (),
        events: Sequence[CursorEvent] = (),
    ) -> None:
        """Keeps a paglet as its last turn left it, with its policy, and the outcome of the request for it.

        `done` is the paglet's own request that this fulfils, `wanted` what it asked for in its last turn,
        `sent` what it posted, and `events` what it said. Raises EPOCH_FENCED when the paglet is not kept here.
        """

        def work(db: sqlite3.Connection) -> None:
            if not update_paglet(db, paglet):
                raise not_kept(paglet.paglet_id, "is not on this host")
            put_dormant(db, paglet.paglet_id, policy)
            put_replies(db, paglet.paglet_id, () if reply is None else (reply,), evicted)
            if done is not None:
                drop_own_request(db, paglet.paglet_id, done)
            put_own_request(db, paglet.paglet_id, wanted)
            put_outgoing(db, paglet.paglet_id, sent)
            self._events.put(db, paglet.paglet_id, events)

        await self._database.write(work)

    async def take_back(
        self, paglet_id: str, key: tuple[str, str], done: OwnRequest | None, wanted: OwnRequest | None
    ) -> None:
        """Forgets a rest that came to nothing, with the outcome of the request `key`; what its last turn did stays.

        The paglet's own request, which `rest` dropped as `done`, is asked for again, unless it `wanted` more since.
        Safe to repeat.
        """

        def work(db: sqlite3.Connection) -> None:
            if db.execute("SELECT 1 FROM paglets WHERE paglet_id = ?", (paglet_id,)).fetchone():
                db.execute("DELETE FROM dormant WHERE paglet_id = ?", (paglet_id,))
                put_replies(db, paglet_id, (), (key,))
                put_own_request(db, paglet_id, wanted or done)

        await self._database.write(work)

    async def wake(
        self,
        paglet: StoredPaglet,
        wanted: OwnRequest | None,
        sent: Sequence[OutgoingPost] = (),
        events: Sequence[CursorEvent] = (),
    ) -> None:
        """Keeps a paglet as its first turn left it, with what it asked for, posted and said; forgets its policy."""

        def work(db: sqlite3.Connection) -> None:
            if not update_paglet(db, paglet):
                raise not_kept(paglet.paglet_id, "is not on this host")
            db.execute("DELETE FROM dormant WHERE paglet_id = ?", (paglet.paglet_id,))
            put_own_request(db, paglet.paglet_id, wanted)
            put_outgoing(db, paglet.paglet_id, sent)
            self._events.put(db, paglet.paglet_id, events)

        await self._database.write(work)

    async def awake(self, epochs: Iterable[tuple[str, int]]) -> None:
        """Remembers the epochs of paglets whose rests, if they had any, are over, and forgets what was to end those."""
        rows = [(epoch, paglet_id) for paglet_id, epoch in epochs]

        def work(db: sqlite3.Connection) -> None:
            db.executemany("UPDATE paglets SET epoch = ? WHERE paglet_id = ?", rows)
            db.executemany("DELETE FROM dormant WHERE paglet_id = ?", [(paglet_id,) for _, paglet_id in rows])

        await self._database.write(work)

    async def begun(self, paglet_ids: Sequence[str]) -> dict[str, int]:
        """Those of the paglets of which a policy is kept, with the epochs that they are known to have had here.

        One that has it still in the directory was never laid down there; a waking, too, leaves it behind.
        """
        query = "SELECT epoch FROM paglets JOIN dormant USING (paglet_id) WHERE paglet_id = ?"
        rows = await self._database.read(lambda db: [db.execute(query, (found,)).fetchone() for found in paglet_ids])
        return {found: row["epoch"] for found, row in zip(paglet_ids, rows, strict=True) if row is not None}

    async def replace(
        self,
        paglet_id: str,
        policy: DeactivationPolicy,
        reply: StoredReply | None = None,
        evicted: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Keeps another policy, with the outcome of the request for it. Raises EPOCH_FENCED as `rest` does."""

        def work(db: sqlite3.Connection) -> None:
            if not db.execute("SELECT 1 FROM paglets WHERE paglet_id = ?", (paglet_id,)).fetchone():
                raise not_kept(paglet_id, "is not on this host")
            put_dormant(db, paglet_id, policy)
            put_replies(db, paglet_id, () if reply is None else (reply,), evicted)

        await self._database.write(work)

    async def drop(self, paglet_ids: Sequence[str]) -> None:
        """Forgets the policies of paglets that are not inactive."""
        ids = [(paglet_id,) for paglet_id in paglet_ids]
        await self._database.write(lambda db: db.executemany("DELETE FROM dormant WHERE paglet_id = ?", ids))

    async def policy(self, paglet_id: str) -> DeactivationPolicy:
        """What is to bring a paglet back; the defaults for one of which nothing is kept."""
        query = "SELECT policy FROM dormant WHERE paglet_id = ?"
        row = await self._database.read(lambda db: db.execute(query, (paglet_id,)).fetchone())
        return DeactivationPolicy() if row is None else msgspec.msgpack.decode(row["policy"], type=DeactivationPolicy)

    async def ids(self) -> list[str]:
        """All paglets of which a policy is kept."""
        return await self._database.read(lambda db: _ids(db, "SELECT paglet_id FROM dormant"))

    async def on_startup(self) -> list[str]:
        """Those that a start brings back."""
        query = "SELECT paglet_id FROM dormant WHERE on_startup"
        return await self._database.read(lambda db: _ids(db, query))

    async def times(self, now: float) -> tuple[list[str], list[float]]:
        """Those whose time has come; and when the next one's comes, seconds since the epoch, nothing for never."""
        due = "SELECT paglet_id FROM dormant WHERE activate_at <= ? ORDER BY activate_at"
        following = "SELECT MIN(activate_at) AS first FROM dormant WHERE activate_at > ?"

        def work(db: sqlite3.Connection) -> tuple[list[str], list[float]]:
            (first,) = db.execute(following, (now,)).fetchone()
            return _ids(db, due, now), [] if first is None else [first]

        return await self._database.read(work)


def _ids(db: sqlite3.Connection, query: str, *values: float) -> list[str]:
    return [row["paglet_id"] for row in db.execute(query, values)]
