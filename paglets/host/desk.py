"""Where the posts of a paglet are dealt with, whether it is awake or inactive here."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from paglets.core.paglet import Paglet
from paglets.host.dormant import Dormant
from paglets.host.gate import moved
from paglets.host.outbox import Outbox
from paglets.host.parts import HostParts
from paglets.host.postbox import PostBox
from paglets.host.replies import ReplyBook
from paglets.host.resident import Resident
from paglets.host.residents import Residents

__all__ = ["Desk", "Desks"]


@dataclass(frozen=True, slots=True)
class Desk:
    """The posts of one paglet, and what its requests came to; `look` is to be called when a post is to be run.

    `require_sound` raises ARRIVAL_FAILED for a paglet that runs none.
    """

    paglet_id: str
    paglet_type: type[Paglet[Any]]
    box: PostBox
    outbox: Outbox
    book: ReplyBook
    look: Callable[[], None]
    require_sound: Callable[[], None]


class Desks:
    """The desks of one host. `find` looks for a paglet that is awake here."""

    def __init__(
        self,
        parts: HostParts,
        residents: Residents,
        dormant: Dormant,
        find: Callable[[str], Awaitable[Resident | None]],
    ) -> None:
        self._parts = parts
        self._residents = residents
        self._dormant = dormant
        self._find = find

    @asynccontextmanager
    async def open(self, paglet_id: str, deadline: float | None) -> AsyncGenerator[Desk | None]:
        """The desk of a paglet, for the block; None when the paglet is not here.

        Of one that is awake nothing may be awaited in the block before all is written: its gate is open at first, and
        whoever closes it must find everything. One that is inactive stays so for the block. `deadline`, a time of the
        loop's clock, is for one on a journey. Raises DEADLINE_BEFORE_RUN, or why the paglet is not here any more.
        """
        if await self._dormant.holds(paglet_id):
            async with self._dormant.lock(paglet_id):
                if paglet_id not in self._dormant:
                    raise moved(paglet_id)  # it was woken just now: look again
                yield await self._at_rest(paglet_id)
            return
        resident = await self._find(paglet_id)
        if resident is None:
            yield None
            return
        await resident.gate.passage(deadline)
        yield Desk(
            paglet_id,
            type(resident.paglet),
            resident.box,
            resident.outbox,
            resident.book,
            resident.deliveries.look,
            resident.require_sound,
        )

    async def _at_rest(self, paglet_id: str) -> Desk:
        journal = self._parts.journal
        paglet_type = self._parts.registry.get((await journal.required(paglet_id)).type)
        box = self._residents.box(paglet_id, await journal.posts.of(paglet_id))
        book = self._residents.book(paglet_id, await journal.replies(paglet_id))
        outbox = await self._residents.outboxes.load(paglet_id)
        return Desk(paglet_id, paglet_type, box, outbox, book, _nothing, _nothing)


def _nothing() -> None:
    """Nobody runs the posts of a paglet that rests."""
