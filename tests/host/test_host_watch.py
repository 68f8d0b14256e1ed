"""A watch of hosts tells who joins, leaves, is lost, has changed or is elsewhere, over any number of connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

import grpc
import pytest

from paglet.v1 import mesh_pb2, mesh_pb2_grpc
from paglets.client.client import Client
from paglets.config import HostSettings
from paglets.errors import ExhaustedError, UnavailableError
from paglets.testing import HostProcess, eventually
from paglets.values import HostChange, HostNotice
from paglets.wire.status import from_rpc_error
from tests.artifacts.proxy import proxied
from tests.host.conftest import Mesh, Site, site
from tests.host.support import PROBE_TYPE, ask
from tests.ports import taken_port

_PATIENCE_S = 30.0


async def told(notices: AsyncGenerator[HostNotice, None], number: int) -> list[HostNotice]:
    """The next notices."""
    async with asyncio.timeout(_PATIENCE_S):
        return [await anext(notices) for _ in range(number)]


async def news(notices: AsyncGenerator[HostNotice, None], number: int) -> list[tuple[str, str]]:
    """The next changes, each with the host's name."""
    return [(notice.change.value, notice.host.name) for notice in await told(notices, number)]


@pytest.mark.parametrize("asked", ["alpha", "beta"])
async def test_watch_tells_who_comes_and_goes(mesh: Mesh, tmp_path: Path, asked: str) -> None:
    """All hosts first, then each that joins, leaves and is back elsewhere, at whichever host one watches."""
    watcher = mesh.alpha if asked == "alpha" else mesh.beta
    async with aclosing(watcher.client.watch_hosts()) as notices:
        assert await news(notices, 2) == [("present", "alpha"), ("present", "beta")]
        async with AsyncExitStack() as away:
            await site(away, tmp_path, "gamma", join=mesh.alpha.running.address)
            assert await news(notices, 1) == [("joined", "gamma")]
        assert await news(notices, 1) == [("left", "gamma")]
        assert not (await mesh.alpha.client.host("gamma")).online
        async with AsyncExitStack() as back:
            wanted = HostSettings(name="gamma", data=tmp_path, drain_s=1.0, tags=("new",))
            await site(back, tmp_path, "gamma", join=mesh.alpha.running.address, settings=wanted)
            assert await news(notices, 1) == [("joined", "gamma")]


@pytest.mark.slow
async def test_mesh_4_lost_host_is_told_when_its_lease_ends(tmp_path: Path) -> None:
    """Nobody needs to ask: a host that was killed is lost once it could have renewed its lease and has not."""
    async with AsyncExitStack() as stack:
        alpha = await site(stack, tmp_path, "alpha")
        beta = HostProcess(name="beta", data=tmp_path / "beta", join=alpha.running.address)
        await beta.start()
        async with aclosing(alpha.client.watch_hosts()) as notices:
            assert await news(notices, 2) == [("present", "alpha"), ("present", "beta")]
            await beta.kill()
            assert await news(notices, 1) == [("lost", "beta")]
        assert not (await alpha.client.host("beta")).has_left


@pytest.mark.slow
async def test_mesh_4_host_that_is_back_within_its_lease_has_changed(tmp_path: Path) -> None:
    """A host that was killed and started again elsewhere, and says other things of itself, was never lost."""
    async with AsyncExitStack() as stack:
        alpha = await site(stack, tmp_path, "alpha")
        beta = HostProcess(name="beta", data=tmp_path / "beta", join=alpha.running.address)
        await beta.start()
        former = beta.address
        async with aclosing(alpha.client.watch_hosts()) as notices:
            assert await news(notices, 2) == [("present", "alpha"), ("present", "beta")]
            await beta.kill()
            uid, _ = await _identity(alpha)
            await alpha.host.parts.directory.lease_keepalive("beta", uid, 600)  # however long the start takes
            stack.enter_context(taken_port(former))
            beta.arguments = ("--tag", "gpu", "--allow", "paglets.examples.counter")
            await beta.start()
            (found,) = await told(notices, 1)
        await beta.stop()
    assert (found.change, found.host.name, found.host.tags) == (HostChange.CHANGED, "beta", ("gpu",))
    assert found.host.address == beta.address != former
    assert "paglets.examples.counter.Counter" in found.host.types


@pytest.mark.slow
async def test_mesh_8_identity_outlives_the_address(tmp_path: Path) -> None:
    """A data folder that is served elsewhere is the same host: its paglets are found there, and a watch tells where."""
    async with AsyncExitStack() as stack:
        alpha = await site(stack, tmp_path, "alpha")
        notices = await stack.enter_async_context(aclosing(alpha.client.watch_hosts()))
        async with AsyncExitStack() as first:
            beta = await site(first, tmp_path, "beta", join=alpha.running.address)
            await beta.client.create(PROBE_TYPE, paglet_id="probe")
            await ask(alpha.channel, "probe", "Append", "a")
            uid, address = await _identity(alpha)
            assert await news(notices, 2) == [("present", "alpha"), ("present", "beta")]
        assert await news(notices, 1) == [("left", "beta")]
        stack.enter_context(taken_port(address))
        beta = await site(stack, tmp_path, "beta", join=alpha.running.address)
        (notice,) = await told(notices, 1)
        assert (notice.change, notice.host.address) == (HostChange.JOINED, beta.running.address)
        await eventually(lambda: _answers(alpha), what="alpha to look anew where beta is")
        found, now = await _identity(alpha)
        assert found == uid
        assert now == beta.running.address != address


async def test_watches_are_bounded(tmp_path: Path) -> None:
    """One too many is told so; a client that waits gets in when another is closed."""
    async with AsyncExitStack() as stack:
        wanted = HostSettings(name="alpha", data=tmp_path, drain_s=1.0, max_watches=1)
        alpha = await site(stack, tmp_path, "alpha", settings=wanted)
        first = await stack.enter_async_context(aclosing(alpha.client.watch_hosts()))
        assert await news(first, 1) == [("present", "alpha")]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await _watch(alpha.channel).read()
        error = from_rpc_error(caught.value)
        assert isinstance(error, ExhaustedError)
        assert (error.reason, error.metadata) == ("TOO_MANY_READS", {"limit": "1"})
        other = await stack.enter_async_context(Client(alpha.running.address))
        second = await stack.enter_async_context(aclosing(other.watch_hosts()))
        waiting = asyncio.ensure_future(news(second, 1))
        await first.aclose()
        assert await waiting == [("present", "alpha")]


@pytest.mark.parametrize("asked", ["alpha", "beta"])
async def test_watches_end_with_their_host(tmp_path: Path, asked: str) -> None:
    """A host that drains ends them at once, with a reason, whether it has the directory or not."""
    async with AsyncExitStack() as stack:
        alpha = await site(stack, tmp_path, "alpha")
        beta = await site(stack, tmp_path, "beta", join=alpha.running.address)
        address = (alpha if asked == "alpha" else beta).running.address
        async with Client(address) as client:
            watch = _watch(client.channel)
            ending = asyncio.ensure_future(_to_the_end(watch))
            await watch.wait_for_connection()
            await stack.aclose()
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await ending
    error = from_rpc_error(caught.value)
    assert isinstance(error, UnavailableError)
    assert error.reason == "SHUTTING_DOWN"
    assert "cursor" not in error.message


async def test_watch_outlives_its_connection_and_its_host(mesh: Mesh, tmp_path: Path) -> None:
    """After either all hosts are told anew, as they are then."""
    everybody = [("present", "alpha"), ("present", "beta"), ("present", "gamma")]
    async with AsyncExitStack() as stack:
        async with AsyncExitStack() as first:
            gamma = await site(first, tmp_path, "gamma", join=mesh.alpha.running.address)
            port = int(gamma.running.address.rpartition(":")[2])
            way = await stack.enter_async_context(proxied(port))
            client = await stack.enter_async_context(Client(f"127.0.0.1:{way.port}"))
            notices = await stack.enter_async_context(aclosing(client.watch_hosts()))
            assert await news(notices, 3) == everybody
            way.cut()
            assert await news(notices, 3) == everybody
        wanted = HostSettings(name="gamma", data=tmp_path, drain_s=1.0, tags=("back",))
        await site(stack, tmp_path, "gamma", join=mesh.alpha.running.address, settings=wanted)
        found = await told(notices, 3)
        assert [(notice.change.value, notice.host.name) for notice in found] == everybody
        assert [notice.host.tags for notice in found] == [(), (), ("back",)]


def _watch(
    channel: grpc.aio.Channel,
) -> grpc.aio.UnaryStreamCall[mesh_pb2.WatchHostsRequest, mesh_pb2.WatchHostsResponse]:
    """A watch that does not go on by itself."""
    stub: mesh_pb2_grpc.MeshServiceAsyncStub = mesh_pb2_grpc.MeshServiceStub(channel)
    return stub.WatchHosts(mesh_pb2.WatchHostsRequest())


async def _to_the_end(watch: grpc.aio.UnaryStreamCall[mesh_pb2.WatchHostsRequest, mesh_pb2.WatchHostsResponse]) -> None:
    async for _ in watch:
        pass


async def _answers(at: Site) -> bool:
    """Whether a call is passed on; one to an address that was right when it was remembered fails once."""
    try:
        return (await ask(at.channel, "probe", "Read")).text == "a"
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.UNAVAILABLE:
            raise
        return False


async def _identity(alpha: Site) -> tuple[str, str]:
    (beta,) = [host for host in await alpha.host.parts.directory.hosts() if host.name == "beta"]
    return beta.uid, beta.address
