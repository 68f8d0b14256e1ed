"""What the journal keeps of posts that its paglets made, until they are acknowledged by their receivers' hosts."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import msgspec

from paglets.core.cause import OutgoingPost
from paglets.sqlite import Database

__all__ = ["OutboxRows", "drop_outgoing", "put_outgoing"]


class OutboxRows:
    """Rows of one host, also of paglets that have ended. What writes returns when the write is durable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def update(self, paglet_id: str, posts: Sequence[OutgoingPost]) -> None:
        """Keeps posts as they are now; those that are gone stay so."""
        rows = [(msgspec.msgpack.encode(post), paglet_id, post.request_id) for post in posts]
        query = "UPDATE outbox SET post = ? WHERE paglet_id = ? AND request_id = ?"
        await self._database.write(lambda db: db.executemany(query, rows))

    async def drop(self, paglet_id: str, posts: Sequence[OutgoingPost]) -> None:
        """Forgets posts."""
        rows = [(paglet_id, post.request_id) for post in posts]
        query = "DELETE FROM outbox WHERE paglet_id = ? AND request_id = ?"
        await self._database.write(lambda db: db.executemany(query, rows))

    async def drop_all(self, paglet_id: str) -> None:
        """Forgets the posts of a paglet that has left with them."""
        await self._database.write(lambda db: drop_outgoing(db, paglet_id))

    async def of(self, paglet_id: str) -> list[OutgoingPost]:
        """The posts of a paglet, in their order."""
        query = "SELECT post FROM outbox WHERE paglet_id = ? ORDER BY number"
        rows = await self._database.read(lambda db: db.execute(query, (paglet_id,)).fetchall())
        return [msgspec.msgpack.decode(row["post"], type=OutgoingPost) for row in rows]

    async def ids(self) -> list[str]:
        """The paglets of which posts are kept."""
        query = "SELECT DISTINCT paglet_id FROM outbox"
        return [row["paglet_id"] for row in await self._database.read(lambda db: db.execute(query).fetchall())]


def put_outgoing(db: sqlite3.Connection, paglet_id: str, posts: Sequence[OutgoingPost]) -> None:
    """Keeps posts, replacing those of the same request ids."""
    rows = [(paglet_id, post.request_id, post.number, msgspec.msgpack.encode(post)) for post in posts]
    db.executemany("INSERT OR REPLACE INTO outbox VALUES (?, ?, ?, ?)", rows)


def drop_outgoing(db: sqlite3.Connection, paglet_id: str) -> None:
    """Forgets all posts of a paglet."""
    db.execute("DELETE FROM outbox WHERE paglet_id = ?", (paglet_id,))
