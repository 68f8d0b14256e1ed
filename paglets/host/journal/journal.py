"""The host's journal: all that must survive a crash, in one SQLite file whose commits are grouped.

It knows rows, not what they mean: the runner and the journeys say when to write. An I/O error ends the process, since a
host that cannot keep what it acknowledges must not go on.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from paglets.config import EventSettings
from paglets.core.cause import OutgoingPost
from paglets.core.cursor_events import CursorEvent
from paglets.core.turn import OwnRequest
from paglets.errors import PreconditionError, Resource
from paglets.host.files import RegisteredFile
from paglets.host.journal.belongings import find_belongings, find_paglet, find_replies
from paglets.host.journal.claims import ClaimRows, put_parting
from paglets.host.journal.dormant import DormantRows
from paglets.host.journal.events import EventRows
from paglets.host.journal.outbox import OutboxRows, drop_outgoing, put_outgoing
from paglets.host.journal.posts import PostRows, drop_post, put_posts
from paglets.host.journal.rows import (
    LAYOUT,
    SCHEMA,
    drop_own_request,
    forget_paglet,
    not_kept,
    pull_of,
    put_arrival,
    put_dormant,
    put_files,
    put_own_request,
    put_paglet,
    put_replies,
)
from paglets.host.journal.saves import SaveRows
from paglets.host.records import Arrival, Belongings, Departure, Settled, StoredPaglet, StoredPull, StoredReply
from paglets.sqlite import Database

__all__ = ["Journal"]

T = TypeVar("T")
_log = logging.getLogger(__name__)


class Journal:
    """Durable rows of one host. Every method that writes returns when the write is durable.

    What is kept of inactive paglets is in `dormant`, of posts in `posts`, of those that paglets made in `outbox`, of
    what they say to their readers in `events`; what several turns did at once goes to `saves`. `claims` tells which
    paglets are here, and which parted.
    """

    def __init__(self, database: Database, events: EventSettings) -> None:
        self._database = database
        self.events = EventRows(database, events)
        self.dormant = DormantRows(database, self.events)
        self.posts = PostRows(database)
        self.saves = SaveRows(database, self.events)
        self.outbox = OutboxRows(database)
        self.claims = ClaimRows(database)

    @classmethod
    def open(cls, path: Path, events: EventSettings | None = None) -> Journal:
        """Opens or makes the journal file; blocking."""
        return cls(Database(path, SCHEMA, version=LAYOUT, on_failure=_end_process), events or EventSettings())

    async def close(self) -> None:
        """Finishes what is queued and closes the file."""
        await self._database.close()

    async def meta(self, key: str) -> str:
        """One remembered setting; empty when there is none."""
        row = await self._database.read(
            lambda db: db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        )
        return "" if row is None else row["value"]

    async def set_meta(self, key: str, value: str) -> None:
        """Remembers one setting."""
        await self._database.write(lambda db: db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value)))

    # Pulls.

    async def save_pull(self, pull: StoredPull) -> None:
        """Keeps a pull as it is now."""
        row = (pull.request.pull_id, pull.ended_at, msgspec.msgpack.encode(pull))
        await self._database.write(lambda db: db.execute("INSERT OR REPLACE INTO pulls VALUES (?, ?, ?)", row))

    async def pull(self, pull_id: str) -> StoredPull | None:
        """Reads one pull."""
        query = "SELECT pull FROM pulls WHERE pull_id = ?"
        row = await self._database.read(lambda db: db.execute(query, (pull_id,)).fetchone())
        return None if row is None else pull_of(row)

    async def running_pulls(self) -> list[StoredPull]:
        """The pulls that have not ended."""
        query = "SELECT pull FROM pulls WHERE ended_at = 0.0 ORDER BY pull_id"
        return [pull_of(row) for row in await self._database.read(lambda db: db.execute(query).fetchall())]

    async def drop_pulls(self, ended_until: float) -> None:
        """Forgets pulls that ended until then, seconds since the epoch."""
        query = "DELETE FROM pulls WHERE ended_at > 0.0 AND ended_at <= ?"
        await self._database.write(lambda db: db.execute(query, (ended_until,)))

    # Paglets and their turns.

    async def save_newborn(
        self,
        paglet: StoredPaglet,
        files: Sequence[RegisteredFile],
        after_epoch: int,
        own_request: OwnRequest | None = None,
        sent: Sequence[OutgoingPost] = (),
        events: Sequence[CursorEvent] = (),
    ) -> None:
        """Keeps a paglet that is being created, in place of what is left of a life that ended at `after_epoch`.

        Raises EPOCH_FENCED when a later life of the same id is kept here.
        """

        def work(db: sqlite3.Connection) -> None:
            if not put_paglet(db, paglet):
                row = db.execute("SELECT epoch FROM paglets WHERE paglet_id = ?", (paglet.paglet_id,)).fetchone()
                if row["epoch"] > after_epoch:
                    raise not_kept(paglet.paglet_id, "lives here already")
                forget_paglet(db, paglet.paglet_id)
                put_paglet(db, paglet)
            put_files(db, paglet.paglet_id, files)
            put_own_request(db, paglet.paglet_id, own_request)
            put_outgoing(db, paglet.paglet_id, sent)
            self.events.put(db, paglet.paglet_id, events)

        await self._database.write(work)

    def commit_turn(
        self,
        paglet_id: str,
        state: bytes | None,
        version: int,
        reply: StoredReply | None,
        evicted: Sequence[tuple[str, str]] = (),
        own_request: OwnRequest | None = None,
        post: int = 0,
        sent: Sequence[OutgoingPost] = (),
        events: Sequence[CursorEvent] = (),
    ) -> asyncio.Future[None]:
        """Keeps what a turn did; turns of one paglet become durable in the order of these calls.

        The `post` that it ran, by its number, is gone with that; `sent` is what it posted itself, and
        `events` what it said.
        The future raises EPOCH_FENCED when the paglet is no longer kept here.
        """

        def work(db: sqlite3.Connection) -> None:
            if state is not None:
                statement = "UPDATE paglets SET state = ?, state_version = ? WHERE paglet_id = ?"
                found = db.execute(statement, (state, version, paglet_id)).rowcount
            else:
                found = len(db.execute("SELECT 1 FROM paglets WHERE paglet_id = ?", (paglet_id,)).fetchall())
            if not found:
                raise not_kept(paglet_id, "is no longer on this host; the turn was rolled back")
            put_replies(db, paglet_id, () if reply is None else (reply,), evicted)
            put_own_request(db, paglet_id, own_request)
            if post:
                drop_post(db, paglet_id, post)
            put_outgoing(db, paglet_id, sent)
            self.events.put(db, paglet_id, events)

        return self._database.submit(work)

    async def set_epochs(self, epochs: Sequence[tuple[str, int]]) -> None:
        """Remembers the epochs of paglets."""
        rows = [(epoch, paglet_id) for paglet_id, epoch in epochs]
        await self._database.write(lambda db: db.executemany("UPDATE paglets SET epoch = ? WHERE paglet_id = ?", rows))

    async def paglet(self, paglet_id: str) -> StoredPaglet | None:
        """Reads one paglet."""
        return await self._database.read(lambda db: find_paglet(db, paglet_id))

    async def required(self, paglet_id: str) -> StoredPaglet:
        """As `paglet`, for one that must be there. Raises STATE_UNREADABLE."""
        return _required(await self.paglet(paglet_id), paglet_id)

    async def belongings(self, paglet_id: str) -> Belongings:
        """Reads one paglet that must be there with all that is its own. Raises STATE_UNREADABLE."""
        return _required(await self._database.read(lambda db: find_belongings(db, paglet_id)), paglet_id)

    async def paglet_ids(self) -> list[str]:
        """The ids of all paglets kept here."""
        rows = await self._database.read(lambda db: db.execute("SELECT paglet_id FROM paglets").fetchall())
        return [row["paglet_id"] for row in rows]

    async def replies(self, paglet_id: str) -> list[StoredReply]:
        """The stored outcomes of a paglet's requests, oldest first."""
        return await self._database.read(lambda db: find_replies(db, paglet_id))

    async def drop_own_request(self, paglet_id: str, request: OwnRequest) -> None:
        """Drops what a paglet asked for, unless it asked for something else since."""
        await self._database.write(lambda db: drop_own_request(db, paglet_id, request))

    async def forget_paglet(self, paglet_id: str, up_to_epoch: int, *, tombstone_epoch: int = 0) -> None:
        """Drops a paglet with its replies and registrations, unless a later life of its id is kept by now.

        A newborn whose creation is not confirmed has epoch 0 and is later than any other. That one ended is remembered,
        with the epoch of its tombstone.
        """

        def work(db: sqlite3.Connection) -> None:
            row = db.execute("SELECT epoch FROM paglets WHERE paglet_id = ?", (paglet_id,)).fetchone()
            if row is not None and (row["epoch"] == up_to_epoch or 0 < row["epoch"] < up_to_epoch):
                if tombstone_epoch:
                    put_parting(db, paglet_id, tombstone_epoch)
                forget_paglet(db, paglet_id)
                if row["epoch"] == 0:  # it never was, and posted nothing; one that ended did
                    drop_outgoing(db, paglet_id)

        await self._database.write(work)

    # Registered files.

    async def put_file(self, paglet_id: str, file: RegisteredFile) -> None:
        """Keeps a registration, replacing one of the same name; does nothing while the paglet itself is not kept."""

        def work(db: sqlite3.Connection) -> None:
            if db.execute("SELECT 1 FROM paglets WHERE paglet_id = ?", (paglet_id,)).fetchone():
                put_files(db, paglet_id, (file,))

        await self._database.write(work)

    async def drop_file(self, paglet_id: str, name: str) -> None:
        """Drops a registration."""

        def work(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM files WHERE paglet_id = ? AND name = ?", (paglet_id, name))

        await self._database.write(work)

    async def files_until(self, paglet_id: str, up_to_epoch: int) -> list[RegisteredFile]:
        """The registrations that `forget_paglet` with this epoch drops: none of a later life of the id."""
        statement = (
            "SELECT file FROM files JOIN paglets USING (paglet_id)"
            " WHERE paglet_id = ? AND (epoch = ? OR epoch BETWEEN 1 AND ?)"
        )
        values = (paglet_id, up_to_epoch, up_to_epoch)
        rows = await self._database.read(lambda db: db.execute(statement, values).fetchall())
        return [msgspec.msgpack.decode(row["file"], type=RegisteredFile) for row in rows]

    # Journeys.

    async def put_departure(self, departure: Departure, own_request: OwnRequest | None = None) -> None:
        """Keeps a journey of which this host is the source, in place of the paglet's own request for it."""
        row = (departure.transfer_id, msgspec.msgpack.encode(departure))

        def work(db: sqlite3.Connection) -> None:
            db.execute("INSERT OR REPLACE INTO departures VALUES (?, ?)", row)
            if not departure.clone_of:
                db.execute("UPDATE paglets SET epoch = ? WHERE paglet_id = ?", (departure.epoch, departure.paglet_id))
            if own_request is not None:
                drop_own_request(db, departure.paglet_id, own_request)

        await self._database.write(work)

    async def departures(self) -> list[Departure]:
        """All journeys of which this host is the source."""
        rows = await self._database.read(lambda db: db.execute("SELECT departure FROM departures").fetchall())
        return [msgspec.msgpack.decode(row["departure"], type=Departure) for row in rows]

    async def end_departure(self, departure: Departure, *, left: bool, epoch: int = 0) -> None:
        """Drops the record of a journey, with the paglet if it left, which is remembered; else keeps its new epoch."""

        def work(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM departures WHERE transfer_id = ?", (departure.transfer_id,))
            row = db.execute("SELECT epoch FROM paglets WHERE paglet_id = ?", (departure.paglet_id,)).fetchone()
            if row is None or row["epoch"] != departure.epoch:  # gone, or a later paglet of the same id
                return
            if left:
                put_parting(db, departure.paglet_id, departure.epoch, departure.target)
                forget_paglet(db, departure.paglet_id)
                drop_outgoing(db, departure.paglet_id)
            elif epoch:
                db.execute("UPDATE paglets SET epoch = ? WHERE paglet_id = ?", (epoch, departure.paglet_id))

        await self._database.write(work)

    async def put_arrival(self, arrival: Arrival) -> None:
        """Keeps a journey of which this host is the target, replacing what was known of it."""
        await self._database.write(lambda db: put_arrival(db, arrival))

    async def arrivals(self) -> list[Arrival]:
        """All journeys of which this host is the target."""
        rows = await self._database.read(lambda db: db.execute("SELECT * FROM arrivals").fetchall())
        return [Arrival(**dict(row)) for row in rows]

    async def settle_arrival(self, settled: Settled) -> None:
        """Keeps an arrived paglet and the outcome of its arrival turn, in one step."""

        def work(db: sqlite3.Connection) -> None:
            paglet = settled.paglet
            forget_paglet(db, paglet.paglet_id)
            put_paglet(db, paglet)
            put_replies(db, paglet.paglet_id, settled.replies)
            put_files(db, paglet.paglet_id, settled.files)
            put_own_request(db, paglet.paglet_id, settled.own_request)
            put_posts(db, paglet.paglet_id, settled.posts)
            if settled.policy is not None:
                put_dormant(db, paglet.paglet_id, settled.policy)
            drop_outgoing(db, paglet.paglet_id)
            put_outgoing(db, paglet.paglet_id, settled.outgoing)
            self.events.put(db, paglet.paglet_id, settled.events)
            put_arrival(db, settled.arrival)

        await self._database.write(work)

    async def drop_arrival(self, transfer_id: str) -> None:
        """Drops the record of a transfer to this host."""
        await self._database.write(lambda db: db.execute("DELETE FROM arrivals WHERE transfer_id = ?", (transfer_id,)))


def _required(found: T | None, paglet_id: str) -> T:
    if found is None:
        raise PreconditionError(
            "STATE_UNREADABLE",
            f"the journal has no state for paglet {paglet_id}",
            resource=Resource("paglet", paglet_id),
        )
    return found


def _end_process(error: sqlite3.Error) -> None:
    _log.critical("the journal cannot be written, the host ends: %s", error)
    logging.shutdown()
    os._exit(70)
