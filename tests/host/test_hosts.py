"""Hosts say what they are good for, and a watch tells who joins, leaves, is lost or has moved."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from paglets.config import HostSettings
from paglets.errors import InvalidArgumentError, PreconditionError
from paglets.testing import HostProcess, eventually
from paglets.values import HostNotice, PagletState, TransferTicket
from tests.host.conftest import Mesh, Site, site
from tests.host.stage import STAGE
from tests.host.support import PROBE_TYPE, ask

_PATIENCE_S = 30.0


def settings(name: str, folder: Path, **more: object) -> HostSettings:
    """Those of the tests' hosts, with some more."""
    return replace(HostSettings(name=name, data=folder / name, drain_s=1.0, quiesce_s=10.0), **more)


async def news(notices: AsyncGenerator[HostNotice, None], number: int) -> list[tuple[str, str]]:
    """The next changes, each with the host's name."""
    found: list[tuple[str, str]] = []
    async with asyncio.timeout(_PATIENCE_S):
        while len(found) < number:
            notice = await anext(notices)
            found.append((notice.change.value, notice.host.name))
    return found


async def test_tags_and_properties_are_told(tmp_path: Path) -> None:
    """What a host says of itself is known at every host, and goes with it when it says otherwise."""
    async with AsyncExitStack() as stack:
        alpha = await site(stack, tmp_path, "alpha")
        async with AsyncExitStack() as first:
            told = settings("beta", tmp_path, tags=("gpu", "fast"), properties={"rack": "7"})
            await site(first, tmp_path, "beta", join=alpha.running.address, settings=told)
            known = await alpha.client.host("beta")
            assert (known.tags, known.properties) == (("gpu", "fast"), {"rack": "7"})
        await site(stack, tmp_path, "beta", join=alpha.running.address)
        known = await alpha.client.host("beta")
        assert (known.tags, known.properties) == ((), {})


@pytest.mark.parametrize(
    "more",
    [
        {"tags": ("No Tag",)},
        {"tags": tuple(f"t-{number}" for number in range(65))},
        {"properties": {"No Key": "x"}},
        {"properties": {"key": "x" * 257}},
    ],
)
async def test_too_much_is_refused(tmp_path: Path, more: dict[str, object]) -> None:
    """A host that says what no mesh takes does not start."""
    async with AsyncExitStack() as stack:
        with pytest.raises(InvalidArgumentError) as caught:
            await site(stack, tmp_path, "alpha", settings=settings("alpha", tmp_path, **more))
        assert caught.value.reason in {"MALFORMED_REQUEST", "INVALID_ID"}


async def test_ticket_requires_tags(tmp_path: Path) -> None:
    """A target that lacks a tag is refused before any hook is run; one that has it is not."""
    async with AsyncExitStack() as stack:
        alpha = await site(stack, tmp_path, "alpha")
        told = settings("beta", tmp_path, tags=("gpu",))
        await site(stack, tmp_path, "beta", join=alpha.running.address, settings=told)
        await alpha.client.create(PROBE_TYPE, paglet_id="probe")
        STAGE.notes.clear()
        with pytest.raises(PreconditionError) as caught:
            await alpha.client.dispatch("probe", "beta", ticket=TransferTicket(required_tags=("gpu", "fast")))
        assert (caught.value.reason, caught.value.metadata["tag"]) == ("HOST_UNSUITABLE", "fast")
        assert STAGE.notes == []
        moved = await alpha.client.dispatch("probe", "beta", ticket=TransferTicket(required_tags=("gpu",)))
        assert (moved.host, moved.state) == ("beta", PagletState.ACTIVE)


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
            told = settings("gamma", tmp_path, tags=("new",))
            await site(back, tmp_path, "gamma", join=mesh.alpha.running.address, settings=told)
            assert await news(notices, 1) == [("joined", "gamma")]


async def test_lost_host_is_told_when_its_lease_ends(tmp_path: Path) -> None:
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


async def test_identity_outlives_the_address(tmp_path: Path) -> None:
    """A data folder that is served elsewhere is the same host: its paglets are found there, and a watch tells where."""
    async with AsyncExitStack() as stack:
        alpha = await site(stack, tmp_path, "alpha")
        async with AsyncExitStack() as first:
            beta = await site(first, tmp_path, "beta", join=alpha.running.address)
            await beta.client.create(PROBE_TYPE, paglet_id="probe")
            await ask(alpha.channel, "probe", "Append", "a")
            uid, address = await _identity(alpha)
        taken = socket.socket()
        stack.callback(taken.close)
        taken.bind(("127.0.0.1", int(address.rpartition(":")[2])))
        beta = await site(stack, tmp_path, "beta", join=alpha.running.address)
        await eventually(lambda: _answers(alpha), what="alpha to look anew where beta is")
        found, now = await _identity(alpha)
        assert found == uid
        assert now == beta.running.address != address


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
