"""Calls a counter as fast as it answers, as a process of its own: `python -m paglets.bench.call_client`.

The same code calls hosts and the bare server, with the same metadata.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Literal, TypeAlias

from paglet.examples.counter.v1 import counter_pb2, counter_pb2_grpc
from paglets.bench.worker import obey
from paglets.client.client import Client
from paglets.examples.counter import Counter
from paglets.loop import run
from paglets.values import new_id
from paglets.wire.metadata import PAGLET_ID_KEY, REQUEST_ID_KEY

__all__ = ["By", "CallClient", "CallCommand", "Calls", "main"]

By: TypeAlias = Literal["stub", "stub with request ids", "proxy", "multiplexed"]
_Stub: TypeAlias = "counter_pb2_grpc.CounterServiceAsyncStub"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallCommand:
    """Calls `method` of a paglet with so many callers, each one call at a time, for so many seconds.

    `create` makes another counter each time instead.

    `by` is what calls: a generated stub on a plain channel, with or without a request id for each call, or the SDK's
    proxy, which gives one itself, and whose calls share a stream if it is `multiplexed`.
    """

    address: str
    paglet_id: str
    method: Literal["add", "get", "create"]
    callers: int
    seconds: float
    by: By = "stub"


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """How many calls were answered, and in what time."""

    calls: int
    seconds: float


class CallClient:
    """Obeys call commands with one client for each address, kept in `stack`."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self._clients: dict[tuple[str, bool], Client] = {}

    async def obey(self, command: CallCommand) -> Calls:
        """Calls until the time is over; the clock stops with the last answer."""
        client = await self._client(command.address, multiplexed=command.by == "multiplexed")
        call = _caller(client, command)
        await call()
        began = time.perf_counter()
        counts = await asyncio.gather(*(_until(began + command.seconds, call) for _ in range(command.callers)))
        return Calls(calls=sum(counts), seconds=time.perf_counter() - began)

    async def _client(self, address: str, *, multiplexed: bool) -> Client:
        key = (address, multiplexed)
        if key not in self._clients:
            client = Client(address, multiplexed=multiplexed)
            self._clients[key] = await self._stack.enter_async_context(client)
        return self._clients[key]


async def _until(end: float, call: Callable[[], Awaitable[object]]) -> int:
    """Makes one call after the other; says how many."""
    count = 0
    while time.perf_counter() < end:
        await call()
        count += 1
    return count


def _caller(client: Client, command: CallCommand) -> Callable[[], Awaitable[object]]:
    """One call, as the command wants it."""
    if command.method == "create":
        return lambda: client.create(Counter)
    stub: _Stub = counter_pb2_grpc.CounterServiceStub(client.channel)
    by_proxy = command.by in {"proxy", "multiplexed"}
    if by_proxy:
        stub = client.proxy(command.paglet_id).stub(counter_pb2_grpc.CounterServiceStub)
    own = () if by_proxy else ((PAGLET_ID_KEY, command.paglet_id),)
    add, get = counter_pb2.AddRequest(amount=1), counter_pb2.GetRequest()

    def metadata() -> tuple[tuple[str, str], ...]:
        return (*own, (REQUEST_ID_KEY, new_id())) if command.by == "stub with request ids" else own

    if command.method == "add":
        return lambda: stub.Add(add, metadata=metadata())
    return lambda: stub.Get(get, metadata=metadata())


async def _main() -> None:
    async with AsyncExitStack() as stack:
        await obey(CallCommand, CallClient(stack).obey)


def main() -> None:
    """Obeys until standard input ends."""
    run(_main())


if __name__ == "__main__":
    main()
