"""The turns of a paglet that is saved now and then: they count at once, and are durable together at the next save.

State and outcomes of requests are saved in one step, so a crash forgets both or neither; a post that has run stays in
the journal until then, and is run again on the state of the save before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from paglets.core.cause import OutgoingPost
from paglets.core.cursor_events import CursorEvent
from paglets.core.turn import OwnRequest
from paglets.host.journal.journal import Journal
from paglets.host.journal.saves import Save
from paglets.host.records import StoredReply

__all__ = ["Savings"]


class Savings:
    """What one paglet's turns did since its last save."""

    def __init__(self, paglet_id: str, journal: Journal) -> None:
        self._paglet_id = paglet_id
        self._journal = journal
        self._state: bytes | None = None
        self._version = 0
        self._replies: dict[tuple[str, str], StoredReply] = {}
        self._evicted: set[tuple[str, str]] = set()
        self._posts: set[int] = set()
        self._last: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._last.set_result(None)

    def commit_turn(
        self,
        _paglet_id: str,
        state: bytes | None,
        version: int,
        reply: StoredReply | None,
        evicted: Iterable[tuple[str, str]] = (),
        own_request: OwnRequest | None = None,
        post: int = 0,
        sent: Sequence[OutgoingPost] = (),
        events: Sequence[CursorEvent] = (),
    ) -> asyncio.Future[None]:
        """As the journal's, but it is there with the next save; one that asks something of the host, or posts, is that.

        So is one that has events: the number of an event that was told must never be another's.

        The future is done, or that of a save which is under way: what a turn lets out never overtakes an earlier one's.
        """
        if state is not None:
            self._state, self._version = state, version
        if reply is not None:
            self._replies[reply.key] = reply
            self._evicted.discard(reply.key)
        for key in evicted:
            self._replies.pop(key, None)
            self._evicted.add(key)
        if post:
            self._posts.add(post)
        return self.save(own_request, sent, events) if own_request is not None or sent or events else self._last

    def save(
        self,
        own_request: OwnRequest | None = None,
        sent: Sequence[OutgoingPost] = (),
        events: Sequence[CursorEvent] = (),
    ) -> asyncio.Future[None]:
        """Makes durable whatever there is; the future of that, or of the save before it.

        It raises EPOCH_FENCED when the paglet is no longer kept here.
        """
        kept = self._state is not None or self._replies or self._evicted or self._posts
        if kept or own_request is not None or sent or events:
            self._last = self._journal.saves.put(
                Save(
                    paglet_id=self._paglet_id,
                    state=self._state,
                    state_version=self._version,
                    replies=tuple(self._replies.values()),
                    evicted=tuple(self._evicted),
                    own_request=own_request,
                    posts=tuple(self._posts),
                    sent=sent,
                    events=events,
                )
            )
            self._state = None
            self._replies, self._evicted, self._posts = {}, set(), set()
        return self._last
