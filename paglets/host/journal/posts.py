"""What the journal keeps of posts: those that were acknowledged and have not run to their end, and dead letters."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence

import msgspec

from paglets.host.journal.rows import not_kept, put_replies
from paglets.host.post_records import StoredPost
from paglets.host.records import StoredReply
from paglets.sqlite import Database

__all__ = ["PostRows", "drop_post", "find_posts", "put_posts"]


class PostRows:
    """Rows of one host. What a future or coroutine returns for is durable by then."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, paglet_id: str, posts: Sequence[StoredPost], gone: Sequence[int] = ()) -> asyncio.Future[None]:
        """Keeps posts as they are now, and forgets those whose numbers are `gone`.

        The future raises EPOCH_FENCED when the paglet is not kept here.
        """

        def work(db: sqlite3.Connection) -> None:
            if not db.execute("SELECT 1 FROM paglets WHERE paglet_id = ?", (paglet_id,)).fetchone():
                raise not_kept(paglet_id, "is no longer on this host; the post was not taken")
            for number in gone:
                drop_post(db, paglet_id, number)
            put_posts(db, paglet_id, posts)

        return self._database.submit(work)

    async def bury(
        self,
        paglet_id: str,
        numbers: Sequence[int],
        replies: Sequence[StoredReply],
        evicted: Sequence[tuple[str, str]],
    ) -> None:
        """Forgets posts, and keeps how they failed. Raises EPOCH_FENCED when the paglet is not kept here."""

        def work(db: sqlite3.Connection) -> None:
            if not db.execute("SELECT 1 FROM paglets WHERE paglet_id = ?", (paglet_id,)).fetchone():
                raise not_kept(paglet_id, "is no longer on this host; nothing was dropped")
            for number in numbers:
                drop_post(db, paglet_id, number)
            put_replies(db, paglet_id, replies, evicted)

        await self._database.write(work)

    async def of(self, paglet_id: str) -> list[StoredPost]:
        """The posts of a paglet, in their order."""
        return await self._database.read(lambda db: find_posts(db, paglet_id))

    async def wait_for(self, paglet_id: str) -> bool:
        """Whether posts wait for a paglet."""
        query = "SELECT 1 FROM posts WHERE paglet_id = ? AND NOT dead"
        return bool(await self._database.read(lambda db: db.execute(query, (paglet_id,)).fetchone()))

    async def at_rest(self) -> list[str]:
        """The paglets that are inactive and have posts that wait."""
        query = "SELECT paglet_id FROM dormant WHERE paglet_id IN (SELECT paglet_id FROM posts WHERE NOT dead)"
        return [row["paglet_id"] for row in await self._database.read(lambda db: db.execute(query).fetchall())]

    async def settled(self) -> None:
        """Returns when all that was written before is durable."""
        await self._database.write(lambda _: None)


def find_posts(db: sqlite3.Connection, paglet_id: str) -> list[StoredPost]:
    """The posts of a paglet, in their order."""
    query = "SELECT post FROM posts WHERE paglet_id = ? ORDER BY number"
    return [msgspec.msgpack.decode(row["post"], type=StoredPost) for row in db.execute(query, (paglet_id,))]


def put_posts(db: sqlite3.Connection, paglet_id: str, posts: Sequence[StoredPost]) -> None:
    """Keeps posts, replacing those of the same numbers."""
    rows = [(paglet_id, post.number, post.dead, msgspec.msgpack.encode(post)) for post in posts]
    db.executemany("INSERT OR REPLACE INTO posts VALUES (?, ?, ?, ?)", rows)


def drop_post(db: sqlite3.Connection, paglet_id: str, number: int) -> None:
    """Forgets a post."""
    db.execute("DELETE FROM posts WHERE paglet_id = ? AND number = ?", (paglet_id, number))
