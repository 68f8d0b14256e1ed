"""A fan-out over hosts of which some are dead, and one hangs: the others are heard, in time, and no child is left."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.struct_pb2 import Struct

from paglets.client.client import Client
from paglets.testing import HostProcess, eventually, local_host
from tests.patterns.spreader import SERVICE, SPREADER_MODULE, SPREADER_TYPE

pytestmark = pytest.mark.slow

LIVE = ("alpha", "beta", "gamma", "delta", "epsilon")
LOST = ("dead-1", "dead-2", "hanging")
ID = "spreader"


class Field:
    """Eight hosts of one mesh, of which three may be lost, and the spreader at the first."""

    def __init__(self, client: Client, lost: dict[str, HostProcess]) -> None:
        self.client = client
        self.lost = lost

    async def spread(self, word: str, timeout_s: float, hosts: list[str] | None = None) -> dict[str, Any]:
        """A whole fan-out; the state thereafter."""
        request = Struct()
        request.update({"word": word, "timeout_s": timeout_s, **({} if hosts is None else {"hosts": hosts})})
        ended = (await self.state())["ended"]
        rpc = self.client.channel.unary_unary(f"/{SERVICE}/Spread", Struct.SerializeToString, Struct.FromString)
        await rpc(request, metadata=[("paglet-id", ID)], timeout=20.0)

        async def after() -> dict[str, Any] | None:
            found = await self.state()
            return found if found["ended"] > ended else None

        return await eventually(after, timeout_s=60.0)

    async def state(self) -> dict[str, Any]:
        """The spreader's state."""
        found: dict[str, Any] = json.loads(await self.client.state(ID))
        return found

    async def paglets(self) -> list[str]:
        """All that live in the mesh, or are on their way into it."""
        return [found.paglet_id async for found in self.client.list()]


@pytest.fixture
async def field(tmp_path: Path) -> AsyncIterator[Field]:
    """Five hosts in this process, three processes."""
    async with AsyncExitStack() as stack:
        join = ""
        for name in LIVE:
            running = await stack.enter_async_context(
                local_host(name, allow=[SPREADER_MODULE], join=join, data=tmp_path / name)
            )
            join = join or running.address
        lost: dict[str, HostProcess] = {}
        for name in LOST:
            lost[name] = HostProcess(name=name, data=tmp_path / name, allow=[SPREADER_MODULE], join=join)
            await lost[name].start()
            stack.push_async_callback(lost[name].kill)
        client = await stack.enter_async_context(Client(join))
        await client.create(SPREADER_TYPE, paglet_id=ID)
        yield Field(client, lost)


def _lines(hosts: Sequence[str], word: str) -> list[str]:
    return sorted(f"{host}: {part}" for host in hosts for part in ("first", f"last of {word}"))


async def test_fan_out_hears_who_is_there_and_leaves_no_child(field: Field) -> None:
    """Results of five, errors of three, within the deadline; and all eight when all are well."""
    everybody = sorted([*LIVE, *LOST])
    state = await field.spread("well", 30.0)
    assert (sorted(state["done"]), state["errors"], state["cleanup_errors"]) == (everybody, {}, {})
    assert sorted(state["found"]) == _lines(everybody, "well")
    assert await field.paglets() == [ID]

    for name in ("dead-1", "dead-2"):
        await field.lost[name].kill()
    os.kill(field.lost["hanging"].pid, signal.SIGSTOP)
    begun = time.monotonic()
    state = await field.spread("ill", 5.0)
    took_s = time.monotonic() - begun
    assert sorted(state["done"]) == sorted(LIVE)
    assert sorted(state["errors"]) == sorted(LOST)
    assert state["pending"] == []
    assert sorted(state["found"]) == sorted(
        line for host in LIVE for line in (f"{host}: first", f"{host}: last of ill")
    )
    assert took_s < 5.0 + 10.0, took_s

    os.kill(field.lost["hanging"].pid, signal.SIGCONT)

    async def only_the_parent() -> bool:
        return await field.paglets() == [ID]

    await eventually(only_the_parent, timeout_s=30.0)


async def test_child_that_fails_or_stays_is_an_error_of_its_host(field: Field) -> None:
    """The others are done; who stays is given up at the deadline, and ended."""
    state = await field.spread("fail at beta", 30.0, ["alpha", "beta", "nowhere"])
    assert state["done"] == ["alpha"]
    assert state["errors"] == {
        "beta": "it was told to fail",
        "nowhere": "target host is not online or not visible in the mesh",
    }
    state = await field.spread("stay at gamma", 2.0, ["alpha", "gamma"])
    assert (state["done"], state["errors"]) == (["alpha"], {"gamma": "did not answer before the deadline"})
    assert (state["cleanup_errors"], await field.paglets()) == ({}, [ID])
