"""A watch of events over moves and deaths of hosts, while others write: dense, and each event once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

import grpc
import pytest
from google.protobuf.wrappers_pb2 import Int64Value, StringValue

from paglets.client.client import Client
from paglets.errors import PagletError
from paglets.testing import HostProcess, eventually
from paglets.values import new_id
from tests.patterns.feed import FEED_MODULE, SERVICE, Feed, SavedFeed
from tests.patterns.feed_support import ID, reader

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
MOVES = 20
WRITERS = 3
KILLS = {4: "here", 9: "door", 14: "there"}
"""At which move which host dies: where the paglet is, the one that everybody asks, or the one that it goes to."""


class _Stub:
    """Calls of a feed, each made again with its request id until it is answered."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.say: grpc.aio.UnaryUnaryMultiCallable[StringValue, Int64Value] = channel.unary_unary(
            f"/{SERVICE}/Say", StringValue.SerializeToString, Int64Value.FromString
        )


class Trial:
    """Three hosts, of which `door` has the directory; the feed is at one of the others."""

    def __init__(self, hosts: dict[str, HostProcess], client: Client) -> None:
        self.hosts = hosts
        self.client = client
        self.upheavals = 0
        self.written: dict[int, str] = {}
        self.over = asyncio.Event()

    async def create(self, kind: type[Feed]) -> None:
        """Creates the feed at alpha."""
        async with Client(self.hosts["alpha"].address) as client:
            await client.create(kind, paglet_id=ID)

    async def write(self, name: str) -> None:
        """Appends one event after the other, and notes under which cursor."""
        stub, count = self.client.proxy(ID).stub(_Stub), 0
        while not self.over.is_set():
            count += 1
            text = f"{name}-{count}"
            self.written[(await stub.say(StringValue(value=text), timeout=60.0)).value] = text

    async def move(self, here: str, there: str, victim: str = "") -> None:
        """Moves the feed, however often that has to be asked for; the victim dies meanwhile, and comes back."""
        asked = asyncio.create_task(self._ask(there))
        if victim:
            host = self.hosts[{"here": here, "there": there}.get(victim, victim)]
            await host.kill()
            self.upheavals += 1
            await host.start()
        while not await asked:
            asked = asyncio.create_task(self._ask(there))

    async def _ask(self, there: str) -> bool:
        self.upheavals += 1
        try:
            await self.client.dispatch(ID, there, request_id=new_id(), timeout_s=60.0)
        except PagletError:
            return False
        return True


@pytest.fixture
async def trial(tmp_path: Path) -> AsyncIterator[Trial]:
    """A mesh of processes."""
    async with AsyncExitStack() as stack:
        hosts: dict[str, HostProcess] = {}
        for name in ("door", "alpha", "beta"):
            join = hosts["door"].address if hosts else ""
            hosts[name] = HostProcess(
                name=name, data=tmp_path / name, allow=[FEED_MODULE], join=join, python_path=[ROOT]
            )
            stack.push_async_callback(hosts[name].kill)
            await hosts[name].start()
        client = await stack.enter_async_context(Client(hosts["door"].address, timeout_s=60.0))
        yield Trial(hosts, client)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("kind", [Feed, SavedFeed])
async def test_cur_2_watch_over_moves_and_deaths(
    trial: Trial, kind: type[Feed], caplog: pytest.LogCaptureFixture
) -> None:
    """A watch gives every event once and in order, over 20 moves and 3 kills, with one resume for each at most."""
    caplog.set_level(logging.INFO, "paglets.client.events")
    await trial.create(kind)
    heard: list[tuple[int, str]] = []

    async def listen() -> None:
        async with aclosing(reader(trial.client).watch(0)) as watch:
            async for cursor, event in watch:
                heard.append((cursor, event.value))

    listening = asyncio.create_task(listen())
    writers = [asyncio.create_task(trial.write(f"w{number}")) for number in range(WRITERS)]
    here, there = "alpha", "beta"
    for number in range(MOVES):
        await trial.move(here, there, KILLS.get(number, ""))
        here, there = there, here
    trial.over.set()
    await asyncio.gather(*writers)

    async def all_heard() -> bool:
        if listening.done():
            listening.result()
        return len(heard) >= len(trial.written)

    await eventually(all_heard, timeout_s=30.0, what="every event")
    listening.cancel()
    assert heard == sorted(trial.written.items()), "a gap, a duplicate, or an event that nobody wrote"
    assert [cursor for cursor, _ in heard] == list(range(1, len(heard) + 1))
    assert len(heard) > MOVES
    assert 0 < len(_resumes(caplog.messages)) <= trial.upheavals, (len(_resumes(caplog.messages)), trial.upheavals)


def _resumes(messages: Sequence[str]) -> list[str]:
    return [message for message in messages if "goes on after event" in message]
