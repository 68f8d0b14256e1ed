"""A host takes so many connections, and no more: those that it has go on, and one that ends makes room."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from paglets.client.client import Client
from paglets.config import HostSettings
from paglets.errors import UnavailableError
from paglets.testing import local_host

_PATIENCE_S = 20.0
_AT_ONCE_S = 10.0  # one that is held and not refused would wait for the 30 s of its client


@pytest.fixture(params=[("127.0.0.1:0", False), ("127.0.0.1:0", True), ("unix:", False)], ids=str)
async def full(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Client, Client]]:
    """A host that takes two connections, and the clients that have them: plain ones, or whose calls share a stream."""
    listen, multiplexed = request.param
    if listen == "unix:":
        listen = f"unix:{tmp_path}/paglets.sock"
    settings = HostSettings(name="alpha", data=tmp_path / "data", listen=listen, drain_s=1.0, max_connections=2)
    async with (
        local_host(settings=settings) as alpha,
        Client(alpha.address, multiplexed=multiplexed) as first,
        Client(alpha.address, multiplexed=multiplexed) as second,
    ):
        for client in (first, second):
            await client.host()
        yield first, second


async def test_one_too_many_is_refused_at_once(full: tuple[Client, Client]) -> None:
    """It is told that nobody answers, whenever it tries; those within the bound notice nothing of it."""
    first, second = full
    async with Client(first.address) as third, asyncio.timeout(_AT_ONCE_S):
        for _ in range(3):
            with pytest.raises(UnavailableError) as caught:
                await third.reach()
            assert caught.value.reason == "TRANSPORT"
            assert [(await client.reach()).name for client in (first, second)] == ["alpha", "alpha"]


async def test_one_that_is_closed_makes_room(full: tuple[Client, Client]) -> None:
    """A client that was refused tries again by itself, and gets in; another one is one too many again."""
    first, second = full
    async with Client(first.address) as third, asyncio.timeout(_PATIENCE_S):
        with pytest.raises(UnavailableError):
            await third.reach()
        waiting = asyncio.ensure_future(third.host())
        await first.close()
        assert (await waiting).name == "alpha"
        async with Client(first.address) as fourth:
            with pytest.raises(UnavailableError):
                await fourth.reach()
        assert (await second.reach()).name == "alpha"


async def test_bare_connections_count(tmp_path: Path) -> None:
    """One that never says anything takes a place, too, and one too many is closed before anything is read from it."""
    settings = HostSettings(name="alpha", data=tmp_path / "data", listen="127.0.0.1:0", drain_s=1.0, max_connections=2)
    async with local_host(settings=settings) as alpha, asyncio.timeout(_PATIENCE_S):
        address, port = alpha.address.split(":")
        streams = [await asyncio.open_connection(address, port) for _ in range(3)]
        greetings = [await reader.read(9) for reader, _ in streams]
        assert [bool(greeting) for greeting in greetings] == [True, True, False]
        async with Client(alpha.address) as client:
            with pytest.raises(UnavailableError):
                await client.reach()
            for _, writer in streams:
                writer.close()
            assert (await client.host()).name == "alpha"
