"""Whoever overloads a paglet, or a connection, is told so, and leaves room for others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import pytest

from paglets.client.client import Client
from paglets.config import HostSettings
from tests.host.conftest import Mesh, site
from tests.host.stage import STAGE
from tests.host.support import PROBE_TYPE, ask, refused

TOO_MANY = (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_CALLS")


@pytest.fixture
async def narrow(tmp_path: Path) -> AsyncIterator[Mesh]:
    """Two hosts where a paglet may have three calls under way, two of one caller, and a connection four rpcs."""
    async with AsyncExitStack() as stack:
        settings = HostSettings(
            name="alpha", data=tmp_path, max_calls_of_paglet=3, max_calls_of_caller=2, max_rpcs_of_connection=4
        )
        alpha = await site(stack, tmp_path, "alpha", settings=settings)
        beta = await site(stack, tmp_path, "beta", join=alpha.running.address)
        for name in ("probe", "other"):
            await alpha.client.create(PROBE_TYPE, paglet_id=name)
        yield Mesh(alpha, beta)
        STAGE.clear()


async def hold(channel: grpc.aio.Channel, spot: str, paglet_id: str = "probe") -> asyncio.Task[object]:
    """A read that stays at a spot."""
    STAGE.hold(spot)
    task = asyncio.create_task(ask(channel, paglet_id, "HoldRead", spot))
    await STAGE.reached(spot)
    return task


async def test_core_8_noisy_caller_leaves_room(narrow: Mesh) -> None:
    """He is refused at one paglet with a time to wait; others are answered there, and he elsewhere."""
    noisy, quiet = narrow.alpha.channel, narrow.beta.channel
    held = [await hold(noisy, "a"), await hold(noisy, "b")]
    refusal = await refused(ask(noisy, "probe", "Append", "x"))
    assert (refusal.what, refusal.retry_s) == (TOO_MANY, 0.1)
    assert (await ask(noisy, "other", "Append", "x")).text == "x"
    assert (await ask(quiet, "probe", "Append", "y")).text == "y"
    STAGE.release("a", "b")
    await asyncio.gather(*held)
    assert (await ask(noisy, "probe", "Append", "z")).text == "y z"


async def test_callers_by_way_of_another_host_are_told_apart(narrow: Mesh) -> None:
    """Calls that a host passes on are counted for who made them, not for that host."""
    async with Client(narrow.beta.running.address) as second:
        held = [await hold(narrow.beta.channel, "a"), await hold(narrow.beta.channel, "b")]
        refusal = await refused(ask(narrow.beta.channel, "probe", "Append", "x"))
        assert refusal.what == TOO_MANY
        assert (await ask(second.channel, "probe", "Append", "y")).text == "y"
        STAGE.release("a", "b")
        await asyncio.gather(*held)


async def test_core_8_busy_paglet_leaves_room_for_others(narrow: Mesh) -> None:
    """However many call one paglet, the host's other paglets are called as before."""
    async with Client(narrow.alpha.running.address) as second:
        held = [
            await hold(narrow.alpha.channel, "a"),
            await hold(narrow.alpha.channel, "b"),
            await hold(second.channel, "c"),
        ]
        assert (await refused(ask(second.channel, "probe", "Append", "x"))).what == TOO_MANY
        assert (await ask(second.channel, "other", "Append", "x")).text == "x"
        STAGE.release("a", "b", "c")
        await asyncio.gather(*held)


async def test_full_connection_leaves_the_others_alone(narrow: Mesh) -> None:
    """What one connection has too much of waits on its own side, and runs when there is room; others go on."""
    first = narrow.alpha.channel
    held = [
        await hold(first, spot, name) for spot, name in zip("abcd", ("probe", "probe", "other", "other"), strict=True)
    ]
    late = asyncio.create_task(ask(first, "late", "Append", "x"))
    async with Client(narrow.alpha.running.address) as second:
        await second.create(PROBE_TYPE, paglet_id="late")
        assert (await ask(second.channel, "late", "Append", "y")).text == "y"
    assert not late.done()
    STAGE.release("a", "b", "c", "d")
    await asyncio.gather(*held)
    assert (await late).text == "y x"
