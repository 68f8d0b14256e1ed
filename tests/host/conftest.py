"""Hosts for the tests: in this process, joined, over real TCP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import grpc
import pytest

from paglets import faults
from paglets.client.client import Client
from paglets.config import HostSettings, StoreSettings
from paglets.host.host import Host
from paglets.server import RunningHost
from paglets.testing import local_host
from tests.host.bridge import BRIDGE_MODULE
from tests.host.porter import PORTER_MODULE
from tests.host.stage import STAGE
from tests.host.support import PROBE_MODULE, PROBE_TYPE
from tests.host.worker import WORKER_MODULE

__all__ = ["Mesh", "Site"]


@dataclass(frozen=True)
class Site:
    """One running host and a client of it."""

    running: RunningHost
    client: Client
    files: Path

    @property
    def host(self) -> Host:
        """The host itself."""
        return self.running.host

    @property
    def channel(self) -> grpc.aio.Channel:
        """A plain channel to it."""
        return self.client.channel


@dataclass(frozen=True)
class Mesh:
    """Two hosts, the second joined to the first."""

    alpha: Site
    beta: Site

    async def probe(self, paglet_id: str = "probe", state: str = "") -> str:
        """Creates a probe on alpha; gives its id."""
        return (await self.alpha.client.create(PROBE_TYPE, paglet_id=paglet_id, state=state)).paglet_id


async def site(
    stack: AsyncExitStack, folder: Path, name: str, *, join: str = "", settings: HostSettings | None = None
) -> Site:
    """Starts a host that knows probes and porters, and has a file root of its own."""
    files = folder / f"files-{name}"
    files.mkdir(exist_ok=True)
    base = settings or HostSettings(name=name, data=folder / name, drain_s=1.0, quiesce_s=10.0)
    wanted = replace(base, listen="127.0.0.1:0")
    running = await stack.enter_async_context(
        local_host(
            name,
            allow=[PROBE_MODULE, PORTER_MODULE, WORKER_MODULE, BRIDGE_MODULE],
            file_roots=[files],
            join=join,
            data=folder / name,
            settings=wanted,
        )
    )
    client = await stack.enter_async_context(Client(running.address))
    return Site(running, client, files)


@pytest.fixture(autouse=True)
def empty_stage() -> Iterator[None]:
    """No test finds what another one left on the stage, or armed."""
    STAGE.clear()
    yield
    faults.arm(None)
    STAGE.clear()


@pytest.fixture
async def alpha(tmp_path: Path) -> AsyncIterator[Site]:
    """A host of its own."""
    async with AsyncExitStack() as stack:
        yield await site(stack, tmp_path, "alpha")
        STAGE.clear()


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[Mesh]:
    """Two joined hosts."""
    async with AsyncExitStack() as stack:
        first = await site(stack, tmp_path, "alpha")
        yield Mesh(first, await site(stack, tmp_path, "beta", join=first.running.address))
        STAGE.clear()


@pytest.fixture
async def strict(tmp_path: Path) -> AsyncIterator[Mesh]:
    """Two hosts: the first loses its patience soon, the second has room for 1000 bytes of artifacts."""
    async with AsyncExitStack() as stack:
        impatient = HostSettings(name="alpha", data=tmp_path, drain_s=1.0, quiesce_s=1.0)
        alpha = await site(stack, tmp_path, "alpha", settings=impatient)
        tiny = HostSettings(
            name="beta", data=tmp_path, drain_s=1.0, store=StoreSettings(quota_bytes=1000, min_free_bytes=0)
        )
        yield Mesh(alpha, await site(stack, tmp_path, "beta", join=alpha.running.address, settings=tiny))
        STAGE.clear()
