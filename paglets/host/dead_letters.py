"""The dead letters of one host's paglets: read, run again, or forgotten."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from paglets.faults import point
from paglets.host.parts import HostParts
from paglets.host.post_records import StoredPost
from paglets.host.resident import Resident

__all__ = ["DEAD_LETTER_POINTS", "DeadLetters"]

DEAD_LETTER_POINTS = ("post.replay.after", "post.drop.after")
"""The named points of what is done with dead letters."""


class DeadLetters:
    """What is done is durable on return. `deadline`, a time of the loop's clock, is for a paglet on a journey.

    Raises DEADLINE_BEFORE_RUN, or why the paglet is not here any more.
    """

    def __init__(self, parts: HostParts) -> None:
        self._parts = parts

    async def list(self, resident: Resident, deadline: float | None) -> Sequence[StoredPost]:
        """All of them, in the order in which they came."""
        await resident.gate.passage(deadline)
        return _dead(resident)

    async def replay(self, resident: Resident, post_ids: Collection[str], deadline: float | None) -> Sequence[str]:
        """Has some run again, behind what waits; returns which. Raises ARRIVAL_FAILED."""
        await resident.gate.passage(deadline)
        resident.require_sound()
        wanted = [post for post in _dead(resident) if post.post_id in post_ids]
        again = [resident.box.renew(post) for post in wanted]
        kept = self._parts.journal.posts.put(resident.paglet_id, again, gone=[post.number for post in wanted])
        resident.deliveries.look()
        await kept
        point("post.replay.after")
        return [post.post_id for post in wanted]

    async def drop(self, resident: Resident, post_ids: Collection[str], deadline: float | None) -> Sequence[str]:
        """Forgets some but for how they failed, which their duplicates are told; returns which."""
        await resident.gate.passage(deadline)
        wanted = [post for post in _dead(resident) if post.post_id in post_ids]
        book = resident.book
        replies = [book.make(post.key, post.fingerprint, status=post.status) for post in wanted]
        evicted = [key for reply in replies for key in book.add(reply)]
        for post in wanted:
            resident.box.remove(post)
        numbers = [post.number for post in wanted]
        await self._parts.journal.posts.bury(resident.paglet_id, numbers, replies, evicted)
        point("post.drop.after")
        return [post.post_id for post in wanted]


def _dead(resident: Resident) -> list[StoredPost]:
    return [post for post in resident.box.all() if post.dead]
