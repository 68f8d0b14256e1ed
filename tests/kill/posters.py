"""Clients that post to one ledger without pause, and know what was acknowledged."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from paglet.examples.counter.v1.counter_pb2 import AddRequest
from paglets.client.client import Client
from paglets.errors import DeadlineError
from paglets.testing import eventually
from paglets.values import new_id
from tests.kill.mesh import PATIENCE_S

__all__ = ["POISON", "Posters"]

POISON = -1
"""The amount that no ledger takes."""

_ADD = "paglet.examples.counter.v1.CounterService/Add"
_PACE_S = 0.01


class Posters:
    """Posts to a ledger by every client while the block runs; `lanes` has each client's amounts, in its order."""

    def __init__(self, clients: Sequence[Client], paglet_id: str) -> None:
        self.lanes: list[list[int]] = [[] for _ in clients]
        self._clients = clients
        self._paglet_id = paglet_id
        self._numbers = itertools.count(1)
        self._enough = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        pairs = zip(self._clients, self.lanes, strict=True)
        self._tasks = [asyncio.create_task(self._work(client, lane)) for client, lane in pairs]
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        self._enough.set()
        await asyncio.gather(*self._tasks)

    @property
    def acknowledged(self) -> list[int]:
        """Every amount whose post was acknowledged."""
        return [amount for lane in self.lanes for amount in lane]

    async def more(self, count: int = 10) -> None:
        """Waits until so many more posts are acknowledged."""
        wanted = len(self.acknowledged) + count

        async def are_there() -> bool:
            for task in self._tasks:
                if task.done():
                    task.result()
            return len(self.acknowledged) >= wanted

        await eventually(are_there, PATIENCE_S, f"{count} acknowledged posts")

    async def poison(self) -> str:
        """Posts what fails whenever it is run; gives the post's id."""
        return await self._post(self._clients[0], POISON)

    async def _work(self, client: Client, lane: list[int]) -> None:
        while not self._enough.is_set():
            amount = next(self._numbers)
            await self._post(client, amount)
            lane.append(amount)
            await asyncio.sleep(_PACE_S)

    async def _post(self, client: Client, amount: int) -> str:
        """Posts until it is acknowledged."""
        request_id = new_id()
        while True:
            try:
                return await client.post(self._paglet_id, _ADD, AddRequest(amount=amount), request_id=request_id)
            except DeadlineError:
                continue
