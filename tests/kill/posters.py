"""Clients that post to one ledger without pause, and know what was acknowledged."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from paglet.examples.counter.v1.counter_pb2 import AddRequest
from paglets.client.client import Client
from paglets.client.dead_letters import DeadLetters
from paglets.errors import DeadlineError
from paglets.testing import eventually
from paglets.values import new_id
from tests.kill.mesh import PATIENCE_S

__all__ = ["POISON", "Posters", "is_dead"]

POISON = -1
"""The amount that no ledger takes."""

_ADD = "paglet.examples.counter.v1.CounterService/Add"
_PACE_S = 0.01


class Posters:
    """Posts to a ledger by every client while the block runs; `lanes` has each client's amounts, in its order.

    All amounts are `first` and above: others may write smaller ones meanwhile.
    """

    def __init__(self, clients: Sequence[Client], paglet_id: str, *, first: int = 1, pace_s: float = _PACE_S) -> None:
        self.lanes: list[list[int]] = [[] for _ in clients]
        self._clients = clients
        self._paglet_id = paglet_id
        self._first = first
        self._pace_s = pace_s
        self._numbers = itertools.count(first)
        self._enough = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        pairs = zip(self._clients, self.lanes, strict=True)
        self._tasks = [asyncio.create_task(self._work(client, lane)) for client, lane in pairs]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._enough.set()
        if error is not None:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)
            return
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

    def check(self, amounts: Sequence[int]) -> None:
        """Of what a ledger has taken down, after the last post: what was acknowledged ran once, in each one's order."""
        ran = [amount for amount in amounts if amount >= self._first]
        assert len(set(ran)) == len(ran), "a post ran twice"
        assert set(ran) == set(self.acknowledged), "lost, or never sent: " + str(set(ran) ^ set(self.acknowledged))
        places = {amount: place for place, amount in enumerate(ran)}
        for lane in self.lanes:
            assert lane == sorted(lane, key=lambda amount: places[amount]), "a client's posts ran out of their order"
        assert POISON not in amounts

    async def poison(self) -> str:
        """Posts what fails whenever it is run; gives the post's id."""
        return await self._post(self._clients[0], POISON)

    async def _work(self, client: Client, lane: list[int]) -> None:
        while not self._enough.is_set():
            amount = next(self._numbers)
            await self._post(client, amount)
            lane.append(amount)
            await asyncio.sleep(self._pace_s)

    async def _post(self, client: Client, amount: int) -> str:
        """Posts until it is acknowledged."""
        request_id = new_id()
        while True:
            try:
                return await client.post(self._paglet_id, _ADD, AddRequest(amount=amount), request_id=request_id)
            except DeadlineError:
                continue


async def is_dead(letters: DeadLetters, paglet_id: str, post_id: str) -> None:
    """Waits until a post is the one dead letter of its paglet."""

    async def look() -> bool:
        return [letter.post_id async for letter in letters.list(paglet_id)] == [post_id]

    await eventually(look, PATIENCE_S, "a dead letter")
