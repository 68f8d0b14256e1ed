"""Paglets for the tests of services: all of them answer the example's CounterService."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass

from paglet.examples.counter.v1 import counter_pb2
from paglets.core.events import CreationEvent, MobilityEvent
from paglets.core.services import Advertisement
from paglets.discovery import ServiceScope
from paglets.errors import InvalidArgumentError
from paglets.patterns.operations import OperationPaglet

COUNTER = counter_pb2.DESCRIPTOR.services_by_name["CounterService"]


@dataclass
class KeeperState:
    """What a keeper counts."""

    value: int = 0


class Counting(OperationPaglet[KeeperState]):
    """Counts, and tells nobody of it."""

    Services = (COUNTER,)

    async def add(self, request: counter_pb2.AddRequest) -> counter_pb2.AddResponse:
        """Adds."""
        self.state.value += request.amount
        return counter_pb2.AddResponse(value=self.state.value)

    async def get(self, request: counter_pb2.GetRequest) -> counter_pb2.GetResponse:
        """Reads."""
        return counter_pb2.GetResponse(value=self.state.value)


class Keeper(Counting):
    """Its class says that it is to be found."""

    Advertises = (Advertisement(COUNTER, tags=("kept",)),)


class LocalKeeper(Counting):
    """Its class says that it is to be found on the host that it is on."""

    Advertises = (Advertisement(COUNTER, scope=ServiceScope.LOCAL),)


class Teller(Counting):
    """Says itself when it is to be found."""

    async def on_creation(self, event: CreationEvent) -> None:
        """From the beginning on."""
        await self.services.advertise(COUNTER, tags=("told",))

    async def add(self, request: counter_pb2.AddRequest) -> counter_pb2.AddResponse:
        """Withdraws for -1, advertises otherwise, and fails for 13."""
        if request.amount == -1:
            await self.services.withdraw(COUNTER)
        else:
            await self.services.advertise(COUNTER, tags=(f"told-{request.amount}",))
        if request.amount == 13:
            raise InvalidArgumentError("MALFORMED_REQUEST", "not today", field="amount")
        return await super().add(request)


class Insistent(Teller):
    """Says itself how it is to be found, though its class says so too."""

    Advertises = (Advertisement(COUNTER, tags=("kept",)),)

    async def on_arrival(self, event: MobilityEvent) -> None:
        """Says so again where it has come to as often as it counts."""
        if self.state.value:
            await self.services.advertise(COUNTER, tags=("told",))


class Seeker(Counting):
    """Finds a counter by its service, and tells how it is called by the length of its id."""

    async def get(self, request: counter_pb2.GetRequest) -> counter_pb2.GetResponse:
        """Requires one that is tagged `kept`."""
        found = await self.services.require(COUNTER, operation="Get", tags=("kept",))
        return counter_pb2.GetResponse(value=len(found.paglet_id))


class Slow(Counting):
    """Reads when it is let."""

    released = asyncio.Event()

    async def get(self, request: counter_pb2.GetRequest) -> counter_pb2.GetResponse:
        """Waits for the test."""
        await Slow.released.wait()
        return await super().get(request)


class Unwilling(Counting):
    """Never begins to exist."""

    async def on_creation(self, event: CreationEvent) -> None:
        """Refuses."""
        raise InvalidArgumentError("MALFORMED_REQUEST", "not here", field="type")


class Holder(Counting):
    """Holds a lease on a counter that is tagged `kept`, in its background."""

    async def run(self) -> None:
        """Until it leaves."""
        async with self.services.lease(COUNTER, tags=("kept",), ttl_s=30):
            await asyncio.Event().wait()


class Keeping(Counting):
    """Takes a lease in a turn, and holds it for as long as it stays."""

    async def add(self, request: counter_pb2.AddRequest) -> counter_pb2.AddResponse:
        """Takes the lease; the paglet's clean-up gives it back."""
        stack = AsyncExitStack()
        await stack.enter_async_context(self.services.lease(COUNTER, tags=("kept",), ttl_s=30))
        self.resources.register("lease", stack.aclose)
        return await super().add(request)
