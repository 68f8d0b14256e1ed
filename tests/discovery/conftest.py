"""Two hosts that know the counters, in this process and over TCP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from paglet.examples.counter.v1 import counter_pb2, counter_pb2_grpc
from paglets.client.client import Client
from paglets.client.proxy import PagletProxy
from paglets.config import HostSettings
from paglets.discovery import ServiceQuery, ServiceRecord
from paglets.host.host import Host
from paglets.server import RunningHost
from paglets.testing import eventually, local_host
from tests.discovery.keepers import COUNTER

__all__ = ["KEEPERS", "WANTED", "Mesh", "Site", "add", "found", "site", "until_found", "value"]

KEEPERS = "tests.discovery.keepers"
WANTED = ServiceQuery(service=COUNTER.full_name)


@dataclass(frozen=True)
class Site:
    """One running host and a client of it."""

    running: RunningHost
    client: Client

    @property
    def host(self) -> Host:
        """The host itself."""
        return self.running.host

    @property
    def address(self) -> str:
        """Where it listens."""
        return self.running.address


@dataclass(frozen=True)
class Mesh:
    """Two hosts, the second joined to the first."""

    alpha: Site
    beta: Site


async def site(
    stack: AsyncExitStack, folder: Path, name: str, *, join: str = "", settings: HostSettings | None = None
) -> Site:
    """Starts a host that knows the keepers."""
    base = settings or HostSettings(name=name, data=folder / name, drain_s=1.0)
    wanted = replace(base, name=name, data=folder / name, listen="127.0.0.1:0", join=join, allow=(KEEPERS,))
    running = await stack.enter_async_context(local_host(settings=wanted))
    return Site(running, await stack.enter_async_context(Client(running.address)))


async def found(client: Client, query: ServiceQuery = WANTED) -> dict[str, ServiceRecord]:
    """What a host finds now, by paglet."""
    return {record.paglet_id: record for record in await client.services.find(query)}


async def until_found(client: Client, *paglet_ids: str, query: ServiceQuery = WANTED) -> dict[str, ServiceRecord]:
    """What a host finds once it finds these and no others."""

    async def look() -> bool:
        records.clear()
        records.update(await found(client, query))
        return records.keys() == set(paglet_ids)

    records: dict[str, ServiceRecord] = {}
    await eventually(look, 10.0, f"finding just {paglet_ids}")
    return records


async def add(proxy: PagletProxy, amount: int) -> int:
    """Adds to a counter; gives what it counts then."""
    return (await proxy.stub(counter_pb2_grpc.CounterServiceStub).Add(counter_pb2.AddRequest(amount=amount))).value


async def value(proxy: PagletProxy) -> int:
    """What a counter counts."""
    return (await proxy.stub(counter_pb2_grpc.CounterServiceStub).Get(counter_pb2.GetRequest())).value


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[Mesh]:
    """Two hosts."""
    async with AsyncExitStack() as stack:
        alpha = await site(stack, tmp_path, "alpha")
        yield Mesh(alpha, await site(stack, tmp_path, "beta", join=alpha.address))
