"""Posts that paglets of this host made in their turns: sent when the turn is durable, until each is acknowledged.

Those to one receiver are sent in their order, one after the other; each receiver has them at its own pace. They are
sent on while their paglet rests, and when it has ended; if it leaves, it takes them along.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace

from paglets.core.cause import OutgoingPost, OutgoingPosts
from paglets.errors import (
    ExhaustedError,
    InvalidArgumentError,
    NotFoundError,
    OperationNotFoundError,
    PagletError,
    PreconditionError,
    Resource,
)
from paglets.faults import point
from paglets.host.journal.outbox import OutboxRows
from paglets.host.postbox import PostLimits
from paglets.host.settle import backoff
from paglets.wire.status import to_status

__all__ = ["OUTBOX_POINTS", "Outbox"]

_log = logging.getLogger(__name__)
_LONGEST_PAUSE_S = 30.0
_EAGER_ATTEMPTS = 5
_FINAL = (InvalidArgumentError, NotFoundError, OperationNotFoundError, PreconditionError)

OUTBOX_POINTS = ("outbox.send.before", "outbox.send.after", "outbox.drop.after")
"""The named points of a post that a paglet made."""

Send = Callable[[str, OutgoingPost], Awaitable[None]]


class Outbox:
    """The posts of one paglet that are not acknowledged. `busy` has it, by the paglet's id, while it sends."""

    def __init__(
        self,
        paglet_id: str,
        limits: PostLimits,
        rows: OutboxRows,
        send: Send,
        busy: dict[str, Outbox],
        posts: Iterable[OutgoingPost] = (),
    ) -> None:
        self._paglet_id = paglet_id
        self._limits = limits
        self._rows = rows
        self._send = send
        self._busy = busy
        self._posts = OutgoingPosts()
        self._last = 0
        self._lanes: dict[str, asyncio.Task[None]] = {}
        self._begun = False
        self.add(posts)

    def all(self) -> tuple[OutgoingPost, ...]:
        """Every post, in their order."""
        return tuple(self._posts)

    def number(self) -> int:
        """The place of a post that is being made: later than all others, also of an earlier life of the paglet."""
        self._last = max(self._last + 1, time.time_ns() // 1000)
        return self._last

    def require_room(self, made: OutgoingPosts, size_bytes: int) -> None:
        """Raises POSTS_FULL when a running turn, which made some already, can make no post of that size."""
        number, taken = len(self._posts) + len(made), self._posts.size_bytes + made.size_bytes
        if number >= self._limits.max_posts or taken + size_bytes > self._limits.max_bytes:
            raise ExhaustedError(
                "POSTS_FULL",
                f"{number} posts with {taken} bytes of paglet {self._paglet_id} are not acknowledged yet; it may"
                f" have {self._limits.max_posts} posts and {self._limits.max_bytes} bytes",
                resource=Resource("paglet", self._paglet_id),
                retry_after_s=1.0,
            )

    def add(self, posts: Iterable[OutgoingPost]) -> None:
        """Takes posts in, in their order. Safe to repeat."""
        for post in posts:
            if post.request_id not in self._posts:
                self._posts.put(post)
            self._last = max(self._last, post.number)
        if self._begun:
            self._look()

    def begin(self) -> None:
        """What is here is durable, and is sent from now on. Safe to repeat."""
        self._begun = True
        self._look()

    async def stop(self) -> None:
        """Sends nothing any more."""
        lanes = list(self._lanes.values())
        self.abandon()
        if lanes:
            await asyncio.wait(lanes)

    def abandon(self) -> None:
        """As `stop`, without waiting: the paglet has left, and took its posts along."""
        self._begun = False
        self._busy.pop(self._paglet_id, None)
        for lane in self._lanes.values():
            lane.cancel()

    async def renew(self, post_ids: Sequence[OutgoingPost]) -> None:
        """Has dead posts sent again, in their old places."""
        renewed = [replace(post, status=b"", dead=False) for post in post_ids]
        for post in renewed:
            self._posts.put(post)
        await self._rows.update(self._paglet_id, renewed)
        self.begin()

    async def drop(self, posts: Sequence[OutgoingPost]) -> None:
        """Forgets posts."""
        for post in posts:
            self._posts.remove(post.request_id)
        await self._rows.drop(self._paglet_id, posts)

    def _look(self) -> None:
        for receiver in {post.paglet_id for post in self._posts if not post.dead} - self._lanes.keys():
            self._busy[self._paglet_id] = self
            self._lanes[receiver] = asyncio.create_task(self._deliver(receiver))

    async def _deliver(self, receiver: str) -> None:
        attempts = 0
        try:
            while (post := self._first(receiver)) is not None:
                attempts = 0 if await self._try(post, attempts) else attempts + 1
        finally:
            del self._lanes[receiver]
            if not self._lanes and self._busy.get(self._paglet_id) is self:
                del self._busy[self._paglet_id]

    def _first(self, receiver: str) -> OutgoingPost | None:
        waiting = (post for post in self._posts if post.paglet_id == receiver and not post.dead)
        return next(waiting, None)

    async def _try(self, post: OutgoingPost, attempts: int) -> bool:
        """Sends one post once; whether nothing is left to do for it. If there is, it pauses."""
        point("outbox.send.before")
        try:
            await self._send(self._paglet_id, post)
        except PagletError as error:
            if isinstance(error, _FINAL):
                await self._bury(post, error)
                return True
            eagerness = max(1, attempts - _EAGER_ATTEMPTS)
            await asyncio.sleep(max(error.retry_after_s or 0.0, min(_LONGEST_PAUSE_S, backoff(attempts) * eagerness)))
            return False
        point("outbox.send.after")
        await self.drop([post])
        point("outbox.drop.after")
        return True

    async def _bury(self, post: OutgoingPost, error: PagletError) -> None:
        _log.warning("a post of paglet %s to %s is a dead letter: %s", self._paglet_id, post.paglet_id, error)
        dead = replace(post, status=to_status(error).SerializeToString(), dead=True)
        self._posts.put(dead)
        await self._rows.update(self._paglet_id, [dead])
