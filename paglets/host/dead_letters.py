"""The dead letters of one host's paglets: read, run or sent again, or forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence

from paglets.core.cause import OutgoingPost
from paglets.faults import point
from paglets.host.desk import Desk, Desks
from paglets.host.parts import HostParts
from paglets.host.post_records import StoredPost, outgoing_id_of

__all__ = ["DEAD_LETTER_POINTS", "DeadLetters"]

DEAD_LETTER_POINTS = ("post.replay.after", "post.drop.after")
"""The named points of what is done with dead letters."""


class DeadLetters:
    """What is done is durable on return; None says that the paglet is not here. Nothing wakes an inactive one.

    `deadline`, a time of the loop's clock, is for a paglet on a journey. Raises DEADLINE_BEFORE_RUN, or why the paglet
    is not here any more.
    """

    def __init__(self, parts: HostParts, desks: Desks, wake: Callable[[str], None]) -> None:
        self._parts = parts
        self._desks = desks
        self._wake = wake

    async def list(
        self, paglet_id: str, deadline: float | None
    ) -> tuple[Sequence[StoredPost], Sequence[OutgoingPost]] | None:
        """All that came to the paglet, and all that it made, in their order."""
        async with self._desks.open(paglet_id, deadline) as desk:
            return None if desk is None else (_dead(desk), _undelivered(desk))

    async def replay(self, paglet_id: str, post_ids: Collection[str], deadline: float | None) -> Sequence[str] | None:
        """Has some run again, behind what waits, or sent again; returns which. Raises ARRIVAL_FAILED.

        An inactive paglet is brought back for them if its policy says so.
        """
        async with self._desks.open(paglet_id, deadline) as desk:
            if desk is None:
                return None
            desk.require_sound()
            wanted = [post for post in _dead(desk) if post.post_id in post_ids]
            again = [desk.box.renew(post) for post in wanted]
            kept = self._parts.journal.posts.put(paglet_id, again, gone=[post.number for post in wanted])
            desk.look()
            sent = [post for post in _undelivered(desk) if outgoing_id_of(paglet_id, post) in post_ids]
            await asyncio.gather(kept, desk.outbox.renew(sent))
        point("post.replay.after")
        self._wake(paglet_id)
        return [*(post.post_id for post in wanted), *(outgoing_id_of(paglet_id, post) for post in sent)]

    async def drop(self, paglet_id: str, post_ids: Collection[str], deadline: float | None) -> Sequence[str] | None:
        """Forgets some but for how they failed, which their duplicates are told; returns which."""
        async with self._desks.open(paglet_id, deadline) as desk:
            if desk is None:
                return None
            wanted = [post for post in _dead(desk) if post.post_id in post_ids]
            replies = [desk.book.make(post.key, post.fingerprint, status=post.status) for post in wanted]
            evicted = [key for reply in replies for key in desk.book.add(reply)]
            for post in wanted:
                desk.box.remove(post)
            numbers = [post.number for post in wanted]
            sent = [post for post in _undelivered(desk) if outgoing_id_of(paglet_id, post) in post_ids]
            buried = self._parts.journal.posts.bury(paglet_id, numbers, replies, evicted)
            await asyncio.gather(buried, desk.outbox.drop(sent))
        point("post.drop.after")
        return [*(post.post_id for post in wanted), *(outgoing_id_of(paglet_id, post) for post in sent)]


def _undelivered(desk: Desk) -> list[OutgoingPost]:
    return [post for post in desk.outbox.all() if post.dead]


def _dead(desk: Desk) -> list[StoredPost]:
    return [post for post in desk.box.all() if post.dead]
