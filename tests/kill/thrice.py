"""Every request is sent three times, by any host and with any deadline, while its paglet moves, rests and dies."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import defaultdict
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field

import grpc

from paglet.examples.counter.v1 import counter_pb2_grpc
from paglet.examples.counter.v1.counter_pb2 import AddRequest
from paglets.client.client import Client
from paglets.errors import PagletError
from paglets.values import new_id
from paglets.wire.metadata import PAGLET_ID_KEY, REQUEST_ID_KEY
from tests.kill import audit
from tests.kill.ledger import Ledger
from tests.kill.mesh import Mesh
from tests.kill.story import quiet

__all__ = ["Thrice", "send_thrice"]

_LANES = 6
_MOST = 900
"""Requests of one paglet: it keeps 1 000 replies, those of moves and rests among them."""

_CALL_S = 20.0
_OPTIONS = (("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 300))


@dataclass
class Thrice:
    """Each request by its amount, which is its own: its id, and every reply to it."""

    request_ids: dict[int, str] = field(default_factory=dict[int, str])
    replies: defaultdict[int, list[int]] = field(default_factory=lambda: defaultdict[int, list[int]](list))
    lost: int = 0
    moves: int = 0
    rests: int = 0
    deaths: int = 0

    def __str__(self) -> str:
        answers = sum(map(len, self.replies.values()))
        done = f"{self.moves} moves, {self.rests} rests, {self.deaths} deaths"
        return f"{len(self.request_ids)} requests, {answers} answers, {self.lost} lost, {done}"


async def send_thrice(mesh: Mesh, chance: random.Random, seconds: float) -> Thrice:
    """Sends for so long, then each once more until it is answered; AssertionError where an id had not one effect."""
    thrice = Thrice()
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(Client(mesh.address(mesh.directory), timeout_s=_CALL_S))
        paglet_id = (await client.create(Ledger)).paglet_id
        channels = [
            await stack.enter_async_context(grpc.aio.insecure_channel(host.address, options=_OPTIONS)) for host in mesh
        ]
        stubs: list[counter_pb2_grpc.CounterServiceAsyncStub] = [
            counter_pb2_grpc.CounterServiceStub(channel) for channel in channels
        ]
        sender = _Sender(thrice, stubs, paglet_id, chance)
        over = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for _ in range(_LANES):
                group.create_task(sender.lane(over))
            await _disturb(mesh, client, paglet_id, thrice, chance, seconds)
            over.set()
        for amount in thrice.request_ids:
            await sender.until_answered(amount)
        await quiet(mesh)
        _check(mesh, paglet_id, thrice)
        await client.dispose(paglet_id)
        await quiet(mesh)
    return thrice


class _Sender:
    """Sends the requests of one paglet by any of some hosts."""

    def __init__(
        self,
        thrice: Thrice,
        stubs: Sequence[counter_pb2_grpc.CounterServiceAsyncStub],
        paglet_id: str,
        chance: random.Random,
    ) -> None:
        self._thrice = thrice
        self._stubs = stubs
        self._paglet_id = paglet_id
        self._chance = chance
        self._amounts = itertools.count(1)

    async def lane(self, over: asyncio.Event) -> None:
        """One request after the other, three times each: at once, or one after the other."""
        while not over.is_set():
            amount = next(self._amounts)
            if amount > _MOST:
                return
            self._thrice.request_ids[amount] = new_id()
            attempts = [self._send(amount, self._chance.choice([0.01, 0.05, 0.3, 1.0])) for _ in range(3)]
            if self._chance.random() < 0.5:
                await asyncio.gather(*attempts)
                continue
            for attempt in attempts:
                await attempt

    async def until_answered(self, amount: int) -> None:
        """Sends a request until there is an answer."""
        while not await self._send(amount, _CALL_S):
            continue

    async def _send(self, amount: int, timeout_s: float) -> bool:
        stub = self._chance.choice(self._stubs)
        metadata = ((PAGLET_ID_KEY, self._paglet_id), (REQUEST_ID_KEY, self._thrice.request_ids[amount]))
        try:
            reply = await stub.Add(AddRequest(amount=amount), metadata=metadata, timeout=timeout_s)
        except grpc.aio.AioRpcError:
            self._thrice.lost += 1
            return False
        self._thrice.replies[amount].append(reply.value)
        return True


async def _disturb(
    mesh: Mesh, client: Client, paglet_id: str, thrice: Thrice, chance: random.Random, seconds: float
) -> None:
    """Moves the paglet, lays it down and kills hosts, in any order, for so long."""
    end = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < end:
        what = chance.random()
        if what < 0.15:
            name = chance.choice(list(mesh.hosts))
            await mesh.hosts[name].kill()
            await mesh.start(name)
            thrice.deaths += 1
            continue
        with suppress(PagletError):
            if what < 0.4:
                await client.deactivate(paglet_id, request_id=new_id())
                thrice.rests += 1
            else:
                target = chance.choice([mesh.source, mesh.target])
                await client.dispatch(paglet_id, target, request_id=new_id(), timeout_s=_CALL_S)
                thrice.moves += 1


def _check(mesh: Mesh, paglet_id: str, thrice: Thrice) -> None:
    row = audit.row_of(mesh, paglet_id)
    assert row is not None
    state = audit.state_of(mesh.hosts[row.owner], paglet_id)
    assert state is not None
    assert sorted(state.amounts) == sorted(thrice.request_ids), "each request has one effect, and nothing else has"
    places = {amount: place for place, amount in enumerate(state.amounts, 1)}
    told = {amount: set(replies) for amount, replies in thrice.replies.items()}
    assert told == {amount: {place} for amount, place in places.items()}, "each reply tells of the one effect"
