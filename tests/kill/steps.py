"""What a paglet of the soak goes through, one step after the other, each drawn."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

from paglets.client.client import Client
from paglets.errors import PagletError
from paglets.values import ArrivalMode, TransferTicket, new_id
from tests.kill.mesh import PATIENCE_S
from tests.kill.posters import Posters, is_dead
from tests.kill.story import Story

__all__ = ["Steps"]

_AT_REST = TransferTicket(arrival=ArrivalMode.INACTIVE)
_HURRY_S = 0.3
"""A journey that may take no longer than a part of that is made, or given up at any of its steps."""


class Steps:
    """The steps of a ledger, and of the `peer` to which it posts. `here` is where the ledger is."""

    def __init__(self, story: Story, posters: Posters, peer: str, chance: random.Random) -> None:
        self.here = story.mesh.source
        self._story = story
        self._posters = posters
        self._peer = peer
        self._chance = chance
        self._steps: dict[str, tuple[int, Callable[[], Awaitable[PagletError | None]]]] = {
            "dispatch": (4, self._dispatch),
            "dispatch in a hurry": (2, self._hurry),
            "dispatch to rest": (1, self._lie_down),
            "retract": (2, self._retract),
            "rest": (2, self._rest),
            "clone": (2, self._clone),
            "clone in a hurry": (2, self._hurried_clone),
            "poison": (2, self._poison),
            "peer's journey": (2, self._move_peer),
            "peer's rest": (1, self._rest_peer),
        }

    async def take(self) -> str:
        """Takes one step to its end, whatever dies meanwhile; its name, and whether it was given up."""
        weights = [weight for weight, _ in self._steps.values()]
        name = self._chance.choices(list(self._steps), weights)[0]
        _, step = self._steps[name]
        return name if await step() is None else f"{name} given up"

    @property
    def there(self) -> str:
        """Where the ledger is not."""
        mesh = self._story.mesh
        return mesh.target if self.here == mesh.source else mesh.source

    async def _dispatch(self, ticket: TransferTicket | None = None) -> PagletError | None:
        door = self._chance.choice(list(self._story.clients))
        return self._went(await self._story.dispatch(self.there, door=door, ticket=ticket))

    async def _hurry(self) -> PagletError | None:
        return await self._dispatch(self._hurried())

    async def _lie_down(self) -> PagletError | None:
        return await self._dispatch(_AT_REST)

    async def _retract(self) -> PagletError | None:
        return self._went(await self._story.retract(self.there))

    def _went(self, error: PagletError | None) -> PagletError | None:
        if error is None:
            self.here = self.there
        return error

    async def _rest(self) -> None:
        await self._story.rest()

    async def _clone(self, ticket: TransferTicket | None = None) -> PagletError | None:
        clone, error = await self._story.clone(self._chance.choice((self.here, self.there)), ticket=ticket)
        if error is None:
            await self._client().dispose(clone)
        return error

    async def _hurried_clone(self) -> PagletError | None:
        return await self._clone(self._hurried())

    def _hurried(self) -> TransferTicket:
        return TransferTicket(deadline_s=self._chance.uniform(0.01, _HURRY_S))

    async def _poison(self) -> None:
        """A post that fails whenever it is run becomes a dead letter; is perhaps run again, in vain; and is dropped."""
        paglet_id, letters = self._story.paglet_id, self._client().dead_letters
        post_id = await self._posters.poison()
        await is_dead(letters, paglet_id, post_id)
        if self._chance.random() < 0.5:
            await letters.replay(paglet_id, post_id)
            await is_dead(letters, paglet_id, post_id)
        await letters.drop(paglet_id, post_id)

    async def _move_peer(self) -> PagletError | None:
        mesh = self._story.mesh
        target = self._chance.choice((mesh.source, mesh.target))
        try:
            await self._story.clients[target].retract(self._peer, request_id=new_id(), timeout_s=PATIENCE_S)
        except PagletError as error:
            return error
        return None

    async def _rest_peer(self) -> None:
        """Posts bring it back."""
        await self._client().deactivate(self._peer, request_id=new_id())

    def _client(self) -> Client:
        return self._chance.choice(list(self._story.clients.values()))
