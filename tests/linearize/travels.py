"""Counters that are moved among three host processes while clients call them over ways that are slow and break.

What the clients saw is recorded, attempt by attempt; whether it can have happened is for the checker to say.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from paglet.examples.counter.v1 import counter_pb2_grpc
from paglet.examples.counter.v1.counter_pb2 import AddRequest, GetRequest
from paglets.client.client import Client
from paglets.errors import PagletError
from paglets.examples.counter import Counter
from paglets.testing import HostProcess
from paglets.values import new_id
from paglets.wire.metadata import PAGLET_ID_KEY, REQUEST_ID_KEY
from tests.artifacts.proxy import Proxy, proxied
from tests.linearize.checker import NEVER, Operation
from tests.linearize.counter import ADD, READ

__all__ = ["Travels", "travel"]

NAMES = ("alpha", "beta", "gamma")
CLIENTS, PAGLETS = 8, 5
_MOVE_EVERY_S = 0.2
_CALL_S = 2.0
_OPTIONS = (("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 300))


@dataclass
class Travels:
    """What was seen, and how much happened."""

    history: list[Operation] = field(default_factory=list[Operation])
    moves: int = 0
    failed_moves: int = 0
    cuts: int = 0

    def __str__(self) -> str:
        lost = sum(operation.end == NEVER for operation in self.history)
        answered = len(self.history) - lost
        return f"{answered} answers, {lost} lost, {self.moves} moves, {self.failed_moves} failed, {self.cuts} cuts"


async def travel(folder: Path, chance: random.Random, seconds: float) -> Travels:
    """Moves and calls for so long; then the ways are good again, and every counter is read."""
    travels = Travels()
    async with _hosts(folder) as (hosts, ways), AsyncExitStack() as stack:
        direct = await stack.enter_async_context(Client(hosts[0].address))
        paglets = [(await direct.create(Counter)).paglet_id for _ in range(PAGLETS)]
        over = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(_disturb(ways, travels, chance, over))
            group.create_task(_move(direct, paglets, travels, chance, over))
            for way in itertools.islice(itertools.cycle(ways), CLIENTS):
                calls = _Calls(travels.history, paglets, random.Random(chance.random()), over)
                group.create_task(calls.run(f"127.0.0.1:{way.port}"))
            await asyncio.sleep(seconds)
            over.set()
        await _read_all(hosts[-1].address, paglets, travels.history)
    return travels


@asynccontextmanager
async def _hosts(folder: Path) -> AsyncGenerator[tuple[list[HostProcess], list[Proxy]]]:
    """Three hosts, and the way to each; the way to the first is also that of the others to the directory."""
    hosts, ways = list[HostProcess](), list[Proxy]()
    async with AsyncExitStack() as stack:
        for name in NAMES:
            join = f"127.0.0.1:{ways[0].port}" if ways else ""
            host = HostProcess(name=name, data=folder / name, allow=["paglets.examples.counter"], join=join)
            await host.start()
            stack.push_async_callback(host.stop)
            hosts.append(host)
            ways.append(await stack.enter_async_context(proxied(int(host.address.rpartition(":")[2]))))
        yield hosts, ways


async def _disturb(ways: list[Proxy], travels: Travels, chance: random.Random, over: asyncio.Event) -> None:
    """Breaks connections, and makes ways slow and fast again."""
    async for _ in _every(0.15, over):
        way = chance.choice(ways)
        if chance.random() < 0.4:
            way.cut()
            travels.cuts += 1
        else:
            way.delay_s = chance.choice([0.0, 0.0, 0.005, 0.03])
    for way in ways:
        way.delay_s = 0.0


async def _move(
    client: Client, paglets: list[str], travels: Travels, chance: random.Random, over: asyncio.Event
) -> None:
    """Begins a move every 200 ms, whatever became of the last."""

    async def one() -> None:
        try:
            await client.dispatch(chance.choice(paglets), chance.choice(NAMES), timeout_s=20)
        except PagletError:
            travels.failed_moves += 1
        else:
            travels.moves += 1

    async with asyncio.TaskGroup() as group:
        async for _ in _every(_MOVE_EVERY_S, over):
            group.create_task(one())


async def _every(pause_s: float, over: asyncio.Event) -> AsyncGenerator[None]:
    while not over.is_set():
        yield
        with suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await over.wait()


class _Calls:
    """One client: one call after the other, each written down with when it began and ended."""

    def __init__(
        self, history: list[Operation], paglets: list[str], chance: random.Random, over: asyncio.Event
    ) -> None:
        self._history = history
        self._paglets = paglets
        self._chance = chance
        self._over = over

    async def run(self, address: str) -> None:
        """Calls until it is over. What is not answered is often asked again, with the same request id."""
        async with grpc.aio.insecure_channel(address, options=_OPTIONS) as channel:
            stub: counter_pb2_grpc.CounterServiceAsyncStub = counter_pb2_grpc.CounterServiceStub(channel)
            for wanted in self._wanted():
                while not await self._ask(stub, wanted) and wanted.kind == ADD and self._chance.random() < 0.8:
                    if self._over.is_set():
                        return

    def _wanted(self) -> Iterator[Operation]:
        while not self._over.is_set():
            paglet_id = self._chance.choice(self._paglets)
            if self._chance.random() < 0.5:
                yield Operation(paglet_id, READ, 0)
            else:
                yield Operation(paglet_id, ADD, 0, amount=self._chance.randint(1, 3), request_id=new_id())

    async def _ask(self, stub: counter_pb2_grpc.CounterServiceAsyncStub, wanted: Operation) -> bool:
        begun = wanted._replace(start=time.monotonic())
        try:
            value = await _call(stub, wanted)
        except grpc.aio.AioRpcError:
            self._history.append(begun)
            return False
        self._history.append(begun._replace(end=time.monotonic(), value=value))
        return True


async def _call(stub: counter_pb2_grpc.CounterServiceAsyncStub, wanted: Operation) -> int:
    metadata = [(PAGLET_ID_KEY, wanted.paglet_id)]
    if wanted.kind == READ:
        return (await stub.Get(GetRequest(), metadata=metadata, timeout=_CALL_S)).value
    metadata.append((REQUEST_ID_KEY, wanted.request_id))
    return (await stub.Add(AddRequest(amount=wanted.amount), metadata=metadata, timeout=_CALL_S)).value


async def _read_all(address: str, paglets: list[str], history: list[Operation]) -> None:
    """Reads each counter in the end, by a way that is good."""
    async with Client(address) as client:
        for paglet_id in paglets:
            stub: counter_pb2_grpc.CounterServiceAsyncStub = client.proxy(paglet_id).stub(
                counter_pb2_grpc.CounterServiceStub
            )
            begun = Operation(paglet_id, READ, time.monotonic())
            value = (await stub.Get(GetRequest())).value
            history.append(begun._replace(end=time.monotonic(), value=value))
