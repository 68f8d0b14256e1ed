"""Saves: what several turns of a paglet did, kept in one step."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from paglets.core.cause import OutgoingPost
from paglets.core.cursor_events import CursorEvent
from paglets.core.turn import OwnRequest
from paglets.host.journal.events import EventRows
from paglets.host.journal.outbox import put_outgoing
from paglets.host.journal.posts import drop_post
from paglets.host.journal.rows import not_kept, put_own_request, put_replies
from paglets.host.records import StoredReply
from paglets.sqlite import Database

__all__ = ["Save", "SaveRows"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Save:
    """A paglet's state after some turns, None if they left it as it was, and the outcomes of their requests.

    `posts` are the numbers of those that have run, `sent` are the paglet's own; `events` come after
    those that are kept.
    """

    paglet_id: str
    state: bytes | None
    state_version: int
    replies: Sequence[StoredReply] = ()
    evicted: Sequence[tuple[str, str]] = ()
    own_request: OwnRequest | None = None
    posts: Sequence[int] = ()
    sent: Sequence[OutgoingPost] = ()
    events: Sequence[CursorEvent] = ()


class SaveRows:
    """Rows of one host."""

    def __init__(self, database: Database, events: EventRows) -> None:
        self._database = database
        self._events = events

    def put(self, save: Save) -> asyncio.Future[None]:
        """Keeps all of it or nothing; saves of one paglet become durable in the order of these calls.

        The future raises EPOCH_FENCED when the paglet is no longer kept here.
        """

        def work(db: sqlite3.Connection) -> None:
            statement = (
                "UPDATE paglets SET state = COALESCE(?, state), state_version = IIF(?, ?, state_version)"
                " WHERE paglet_id = ?"
            )
            changed = save.state is not None
            if not db.execute(statement, (save.state, changed, save.state_version, save.paglet_id)).rowcount:
                raise not_kept(save.paglet_id, "is no longer on this host; nothing was saved")
            put_replies(db, save.paglet_id, save.replies, save.evicted)
            put_own_request(db, save.paglet_id, save.own_request)
            for number in save.posts:
                drop_post(db, save.paglet_id, number)
            put_outgoing(db, save.paglet_id, save.sent)
            self._events.put(db, save.paglet_id, save.events)

        return self._database.submit(work)
