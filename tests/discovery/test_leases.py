"""Leases start services and keep them from resting, for as long as they are held."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from google.protobuf.duration_pb2 import Duration

from paglet.v1 import mesh_pb2, mesh_pb2_grpc
from paglets.client.client import Client
from paglets.errors import InvalidArgumentError, NotFoundError
from paglets.testing import eventually
from paglets.values import PagletState
from tests.discovery.conftest import KEEPERS, Site, add, site, until_found
from tests.discovery.keepers import COUNTER
from tests.discovery.test_residents import BRIEF, ID, Starting, start, until_state
from tests.host.midway import Midway

__all__ = ["start"]

KEPT = replace(BRIEF, tags=("kept",))


def stub_of(client: Client) -> mesh_pb2_grpc.MeshServiceAsyncStub:
    """The rpcs themselves."""
    stub: mesh_pb2_grpc.MeshServiceAsyncStub = mesh_pb2_grpc.MeshServiceStub(client.channel)
    return stub


def lease(ttl_ms: int, lease_id: str = "lease") -> mesh_pb2.AcquireLeaseRequest:
    """Asks for a lease on the service."""
    ttl = Duration()
    ttl.FromMilliseconds(ttl_ms)
    return mesh_pb2.AcquireLeaseRequest(paglet_id=ID, lease_id=lease_id, ttl=ttl)


async def until_live(host: Site, number: int) -> None:
    """Waits until so many leases are live at a host."""

    async def look() -> bool:
        resident = host.host.residents.get(ID)
        return resident is not None and resident.leases.live == number

    await eventually(look, 10.0, f"{number} leases")


async def stays_active(client: Client) -> None:
    """The service does not rest for three times its idle time."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(3 * BRIEF.idle_timeout_s):
            await until_state(client, PagletState.INACTIVE)
    assert (await client.get(ID)).state is PagletState.ACTIVE


@pytest.mark.slow
async def test_svc_9_lease_starts_a_service_and_keeps_it(start: Starting) -> None:
    """The service is there when the block begins, stays while nobody uses it, and rests when the block has ended."""
    alpha = await start("alpha")
    beta = await start("beta", BRIEF, join=alpha.address)
    await until_found(alpha.client, ID)
    async with alpha.client.services.lease(COUNTER, ttl_s=0.9) as proxy:
        assert proxy.paglet_id == ID
        assert (await alpha.client.get(ID)).state is PagletState.ACTIVE
        await stays_active(alpha.client)  # longer than the lease would last without being renewed
        await until_live(beta, 1)
    await until_state(alpha.client, PagletState.INACTIVE)
    async with alpha.client.services.lease(COUNTER):  # and is brought back
        assert (await alpha.client.get(ID)).state is PagletState.ACTIVE


@pytest.mark.slow
async def test_svc_9_lease_whose_holder_is_gone_ends(start: Starting) -> None:
    """Nobody need release it: when its time is over, the idle time begins."""
    alpha = await start("alpha", BRIEF)
    await stub_of(alpha.client).AcquireLease(lease(1500))
    await stays_active(alpha.client)
    await until_state(alpha.client, PagletState.INACTIVE)


async def test_svc_9_renewal_and_release_by_any_host(start: Starting) -> None:
    """The same id renews, wherever it is asked; a release may be repeated, also when nothing is left to release."""
    alpha = await start("alpha")
    beta = await start("beta", BRIEF, join=alpha.address)
    await until_found(alpha.client, ID)
    first = await stub_of(alpha.client).AcquireLease(lease(60_000))
    again = await stub_of(beta.client).AcquireLease(lease(60_000))
    assert [(found.host, found.renewed) for found in (first, again)] == [("beta", False), ("beta", True)]
    release = mesh_pb2.ReleaseLeaseRequest(paglet_id=ID, lease_id="lease")
    for client in (alpha.client, beta.client):
        await stub_of(client).ReleaseLease(release)
    await until_state(alpha.client, PagletState.INACTIVE)
    await stub_of(alpha.client).ReleaseLease(release)
    assert (await alpha.client.get(ID)).state is PagletState.INACTIVE
    await alpha.client.dispose(ID)
    await stub_of(alpha.client).ReleaseLease(release)
    assert not [info async for info in alpha.client.list()]


@pytest.mark.parametrize("ttl_s", [0.0, -1.0, float("nan")])
async def test_svc_9_time_that_is_none_is_refused(start: Starting, ttl_s: float) -> None:
    """A lease that would end at once is refused before anything is started for it."""
    alpha = await start("alpha", BRIEF)
    with pytest.raises(InvalidArgumentError) as caught:
        async with alpha.client.services.lease(COUNTER, ttl_s=ttl_s):
            raise AssertionError("there is no lease")
    assert caught.value.field == "ttl"
    assert not [info async for info in alpha.client.list()]


async def test_svc_9_what_nobody_answers_cannot_be_leased(start: Starting) -> None:
    """The error is that of who requires the service."""
    alpha = await start("alpha")
    with pytest.raises(NotFoundError) as caught:
        async with alpha.client.services.lease(COUNTER):
            raise AssertionError("there is no lease")
    assert caught.value.reason == "SERVICE_NOT_FOUND"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["Holder", "Keeping"])
async def test_svc_9_paglet_gives_its_leases_back_when_it_ends(start: Starting, kind: str) -> None:
    """A lease that a paglet holds, in a body or by a resource, keeps the service until the paglet leaves or ends."""
    alpha = await start("alpha", KEPT)
    holder = await alpha.client.create(f"{KEEPERS}.{kind}", paglet_id="holder")
    if kind == "Keeping":
        await add(holder, 1)
    await until_live(alpha, 1)
    await stays_active(alpha.client)
    await alpha.client.dispose("holder")
    await until_state(alpha.client, PagletState.INACTIVE)


@pytest.mark.slow
async def test_svc_9_lease_is_there_again_after_the_hosts_restart(start: Starting, tmp_path: Path) -> None:
    """A host that is started again knows no leases; who holds one renews it there."""
    async with AsyncExitStack() as stack:
        alpha = await start("alpha")
        settings = replace(alpha.host.parts.settings, name="beta", residents=(BRIEF,))
        async with AsyncExitStack() as first:
            await site(first, tmp_path, "beta", join=alpha.address, settings=settings)
            await until_found(alpha.client, ID)
            await stack.enter_async_context(alpha.client.services.lease(COUNTER, ttl_s=3))
        beta = await site(stack, tmp_path, "beta", join=alpha.address, settings=settings)
        await until_live(beta, 1)


async def test_svc_9_lease_that_comes_while_it_lies_down_brings_it_back(
    start: Starting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lease is on a paglet that is awake when it is answered, not on one that is about to rest."""
    alpha = await start("alpha", BRIEF)
    resting = Midway(monkeypatch, alpha.host.parts.journal.dormant, "rest").hold()
    await add(alpha.client.proxy(ID), 1)
    await resting.called()
    acquiring = asyncio.ensure_future(stub_of(alpha.client).AcquireLease(lease(60_000)))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await asyncio.shield(acquiring)
    resting.release()
    assert not (await acquiring).renewed
    await until_live(alpha, 1)
    assert (await alpha.client.get(ID)).state is PagletState.ACTIVE
