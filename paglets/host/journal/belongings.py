"""What the journal keeps of one paglet: its rows as values, one kind at a time or all at once.

Every read is a way to another thread and back, so whoever needs all of them asks once.
"""

from __future__ import annotations

import sqlite3

import msgspec

from paglets.core.turn import OwnRequest
from paglets.host.files import RegisteredFile
from paglets.host.journal.events import last_event
from paglets.host.journal.posts import find_posts
from paglets.host.journal.rows import reply_of
from paglets.host.records import Belongings, StoredPaglet, StoredReply

__all__ = ["find_belongings", "find_paglet", "find_replies"]


def find_belongings(db: sqlite3.Connection, paglet_id: str) -> Belongings | None:
    """All that a paglet consists of, but for the posts that it made; None when it is not kept here."""
    paglet = find_paglet(db, paglet_id)
    if paglet is None:
        return None
    return Belongings(
        paglet=paglet,
        replies=find_replies(db, paglet_id),
        files=_find_files(db, paglet_id),
        posts=find_posts(db, paglet_id),
        own_request=_find_own_request(db, paglet_id),
        last_event=last_event(db, paglet_id),
    )


def find_paglet(db: sqlite3.Connection, paglet_id: str) -> StoredPaglet | None:
    """The paglet itself."""
    row = db.execute("SELECT * FROM paglets WHERE paglet_id = ?", (paglet_id,)).fetchone()
    return None if row is None else StoredPaglet(**dict(row))


def find_replies(db: sqlite3.Connection, paglet_id: str) -> list[StoredReply]:
    """The outcomes of its requests, oldest first."""
    query = "SELECT * FROM replies WHERE paglet_id = ? ORDER BY create_ms, request_id"
    return [reply_of(row) for row in db.execute(query, (paglet_id,))]


def _find_files(db: sqlite3.Connection, paglet_id: str) -> list[RegisteredFile]:
    """Its registrations, in the order of their names."""
    query = "SELECT file FROM files WHERE paglet_id = ? ORDER BY name"
    return [msgspec.msgpack.decode(row["file"], type=RegisteredFile) for row in db.execute(query, (paglet_id,))]


def _find_own_request(db: sqlite3.Connection, paglet_id: str) -> OwnRequest | None:
    """What it asked to be done with itself, and was not done yet."""
    row = db.execute("SELECT request FROM own_requests WHERE paglet_id = ?", (paglet_id,)).fetchone()
    return None if row is None else msgspec.msgpack.decode(row["request"], type=OwnRequest)
