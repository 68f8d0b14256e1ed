"""Clients that write without a pause worth the name, each request until it is acknowledged."""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from paglet.examples.counter.v1 import counter_pb2_grpc
from paglet.examples.counter.v1.counter_pb2 import AddRequest
from paglets.client.client import Client
from paglets.errors import DeadlineError
from paglets.testing import eventually
from paglets.values import new_id
from paglets.wire.metadata import EPOCH_KEY, HOST_KEY, REPLAYED_KEY, REQUEST_ID_KEY
from tests.kill.mesh import PATIENCE_S

__all__ = ["PACE_S", "Writers"]

_LANES = 2
_KEPT = 900  # of the 1000 replies that a paglet keeps
PACE_S = 0.02
"""How long a lane pauses after each write."""


class Writers:
    """Some lanes through every client. After the block all that was sent is acknowledged.

    `acknowledged` maps each amount to the place that the ledger gave it; `places` maps each epoch to the hosts that
    answered in it.
    """

    def __init__(self, clients: Sequence[Client], paglet_id: str, *, pace_s: float = PACE_S) -> None:
        self.acknowledged: dict[int, int] = {}
        self.places: defaultdict[int, set[str]] = defaultdict(set)
        self._clients = clients
        self._paglet_id = paglet_id
        self._pace_s = pace_s
        self._request_ids: dict[int, str] = {}
        self._numbers = itertools.count(1)
        self._enough = asyncio.Event()
        self._lanes: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._lanes = [asyncio.create_task(self._write(client)) for client in self._clients for _ in range(_LANES)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._enough.set()
        if error is not None:
            for lane in self._lanes:
                lane.cancel()
        outcomes = await asyncio.gather(*self._lanes, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException) and not isinstance(outcome, asyncio.CancelledError):
                raise outcome

    async def more(self, count: int = 5) -> None:
        """Waits until so many more writes are acknowledged."""
        wanted = len(self.acknowledged) + count

        async def are_there() -> bool:
            for lane in self._lanes:
                if lane.done():
                    lane.result()
            return len(self.acknowledged) >= wanted

        await eventually(are_there, PATIENCE_S, f"{count} acknowledged writes")

    async def replay(self, count: int = 5, *, beside: int = 0) -> None:
        """Makes so many of the first requests again, through every client: each is answered as it was then.

        Of the first whose replies are kept still: on a machine in a hurry there may be more of them than that. So many
        requests of others came `beside` them.
        """
        kept = list(self.acknowledged)[-max(count, _KEPT - beside) :]
        for client in self._clients:
            stub = self._stub(client)
            for amount in kept[:count]:
                call = stub.Add(AddRequest(amount=amount), metadata=((REQUEST_ID_KEY, self._request_ids[amount]),))
                assert (await call).value == self.acknowledged[amount], (
                    f"request {amount} of {len(self.acknowledged)} was answered anew"
                )
                assert dict(await call.trailing_metadata()).get(REPLAYED_KEY) == "true", f"request {amount} ran again"

    def _stub(self, client: Client) -> counter_pb2_grpc.CounterServiceAsyncStub:
        stub: counter_pb2_grpc.CounterServiceAsyncStub = client.proxy(self._paglet_id).stub(
            counter_pb2_grpc.CounterServiceStub
        )
        return stub

    async def _write(self, client: Client) -> None:
        stub: counter_pb2_grpc.CounterServiceAsyncStub = client.proxy(self._paglet_id).stub(
            counter_pb2_grpc.CounterServiceStub
        )
        while not self._enough.is_set():
            await self._write_one(stub, next(self._numbers))
            try:
                async with asyncio.timeout(self._pace_s):
                    await self._enough.wait()
            except TimeoutError:
                continue

    async def _write_one(self, stub: counter_pb2_grpc.CounterServiceAsyncStub, amount: int) -> None:
        self._request_ids[amount] = new_id()
        metadata = ((REQUEST_ID_KEY, self._request_ids[amount]),)
        while True:
            call = stub.Add(AddRequest(amount=amount), metadata=metadata)
            try:
                reply = await call
            except DeadlineError:
                continue
            trailing = dict(await call.trailing_metadata())
            self.acknowledged[amount] = reply.value
            self.places[int(trailing[EPOCH_KEY])].add(str(trailing[HOST_KEY]))
            return
