"""The posts that the paglets of one host made, wherever those are in their lives."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import partial

from paglets.core.cause import OutgoingPost
from paglets.host.outbox import Outbox
from paglets.host.parts import HostParts
from paglets.host.postbox import PostLimits
from paglets.host.settle import until_reached
from paglets.values import PagletState

__all__ = ["Outboxes"]

_TIMEOUT_S = 10.0
_LOADED_LATER = frozenset({PagletState.ACTIVE, PagletState.DEPARTING, PagletState.ARRIVING, PagletState.FAILED})


class Outboxes:
    """The outboxes of one host. One that sends is found again, whoever asks for it."""

    def __init__(self, parts: HostParts) -> None:
        self._parts = parts
        self._busy: dict[str, Outbox] = {}

    def open(self, paglet_id: str, posts: Iterable[OutgoingPost] = ()) -> Outbox:
        """The outbox of a paglet, with `posts` among its posts; nothing is sent before it is told to begin."""
        found = self._busy.get(paglet_id)
        if found is not None:
            found.add(posts)
            return found
        settings, rows = self._parts.settings.posts, self._parts.journal.outbox
        limits = PostLimits(settings.max_posts, settings.max_bytes)
        return Outbox(paglet_id, limits, rows, self._send, self._busy, posts)

    @property
    def sending(self) -> frozenset[str]:
        """The paglets whose posts are being sent."""
        return frozenset(self._busy)

    async def load(self, paglet_id: str) -> Outbox:
        """The outbox of a paglet that is kept here."""
        posts = [] if paglet_id in self._busy else await self._parts.journal.outbox.of(paglet_id)
        return self.open(paglet_id, posts)

    async def recover(self) -> None:
        """Sends on what a restart found of paglets that rest here, cannot be read, or have ended.

        Those of active ones are sent when these come back; of one that belongs to another host it has them itself.
        """
        leaving = {departure.paglet_id for departure in await self._parts.journal.departures()}
        for paglet_id in await self._parts.journal.outbox.ids():
            row = await until_reached(partial(self._parts.directory.get, paglet_id))
            if row is None or row.state is PagletState.DISPOSED or row.owner == self._parts.name:
                if row is None or row.state not in _LOADED_LATER:
                    (await self.load(paglet_id)).begin()
            elif paglet_id not in leaving:
                await self._parts.journal.outbox.drop_all(paglet_id)

    async def close(self) -> None:
        """Sends nothing any more; what is left is sent when the host is started again."""
        await asyncio.gather(*(outbox.stop() for outbox in list(self._busy.values())))

    async def _send(self, sender: str, post: OutgoingPost) -> None:
        """By this host's own door, which knows the way to every paglet."""
        peer = await self._parts.peers.poster(self._parts.name)
        await peer.send(sender, post, _TIMEOUT_S)
