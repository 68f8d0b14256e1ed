"""One measure of calls: who calls what, how, and what it took."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

from paglet.examples.counter.v1 import counter_pb2, counter_pb2_grpc
from paglets.bench.call_client import By, CallCommand, Calls
from paglets.bench.processes import Child, ProgramFailedError
from paglets.bench.rounds import Measure, with_cpu
from paglets.bench.samples import Sample
from paglets.bench.stage import Stage
from paglets.client.client import Client
from paglets.examples.counter import Counter

__all__ = ["Ask", "Counting", "counting"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What is called, where; `served_by` are the processes whose CPU time counts, if not just the one that is asked."""

    server: Child
    method: Literal["add", "get"]
    by: By = "stub"
    served_by: Sequence[Child] = ()


@dataclass(kw_only=True)
class Counting:
    """Has the stage's clients call one counter of host alpha, and knows what its count must be."""

    stage: Stage
    counter: str
    adds: int = field(default=0, init=False)

    def measure(self, ask: Ask, callers: int) -> Measure:
        """Calls a second. Many callers are spread over all clients, so that no client is what is measured."""

        async def sample() -> Sample:
            served_by = ask.served_by or (ask.server,)
            done, cpu_s = await with_cpu(served_by, self._ask(ask, callers))
            rate = sum(calls.calls / calls.seconds for calls in done)
            return Sample(rate, cpu_s / sum(calls.calls for calls in done))

        return sample

    async def _ask(self, ask: Ask, callers: int) -> list[Calls]:
        clients = self.stage.call_clients[:callers]
        asked = [
            client.ask(
                CallCommand(
                    address=ask.server.address,
                    paglet_id=self.counter,
                    method=ask.method,
                    callers=callers // len(clients) + (number < callers % len(clients)),
                    seconds=self.stage.settings.seconds,
                    by=ask.by,
                ),
                Calls,
            )
            for number, client in enumerate(clients)
        ]
        done = await asyncio.gather(*asked)
        if ask.method == "add" and ask.server is not self.stage.echo:
            self.adds += sum(calls.calls + 1 for calls in done)  # each client's first call is not timed
        return done


@asynccontextmanager
async def counting(stage: Stage) -> AsyncGenerator[Counting, None]:
    """A new counter; at the end it must hold what was added, or no figure is worth anything."""
    async with Client(stage.alpha.address) as client:
        proxy = await client.create(Counter)
        caller = Counting(stage=stage, counter=proxy.paglet_id)
        yield caller
        stub = proxy.stub(counter_pb2_grpc.CounterServiceStub)
        found = (await stub.Get(counter_pb2.GetRequest())).value
        if found != caller.adds:
            raise ProgramFailedError(f"{caller.adds} additions were acknowledged, and the counter holds {found}")
        await proxy.dispose()
