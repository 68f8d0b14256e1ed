"""Hosts as processes: how they end, what survives them, and what one that was killed does to the others."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import pytest

from paglet.examples.counter.v1 import counter_pb2, counter_pb2_grpc
from paglet.v1 import lifecycle_pb2, lifecycle_pb2_grpc
from paglets.client.client import Client
from paglets.testing import HostProcess, eventually
from tests.host.support import refused

pytestmark = pytest.mark.slow

PATIENT = """
import asyncio
from pathlib import Path
from dataclasses import dataclass
from paglet.examples.counter.v1 import counter_pb2
from paglets.patterns.operations import OperationPaglet

@dataclass
class State:
    value: int = 0

class Patient(OperationPaglet[State]):
    Services = (counter_pb2.DESCRIPTOR.services_by_name["CounterService"],)
    state_version = {version}
    upcasters = {{step: lambda fields: fields for step in range(1, {version})}}

    async def add(self, request: counter_pb2.AddRequest) -> counter_pb2.AddResponse:
        folder = Path(__file__).parent
        (folder / "begun").touch()
        while request.amount > 1 and not (folder / "go").exists():
            await asyncio.sleep(0.01)
        self.state.value += request.amount
        return counter_pb2.AddResponse(value=self.state.value)

    async def get(self, request: counter_pb2.GetRequest) -> counter_pb2.GetResponse:
        return counter_pb2.GetResponse(value=self.state.value)
"""
TYPE = "patient.Patient"
KEY = (("paglet-id", "p"),)


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    """What is to be closed."""
    async with AsyncExitStack() as found:
        yield found


def _module(folder: Path, version: int = 1) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "patient.py").write_text(PATIENT.format(version=version))
    return folder


async def _host(stack: AsyncExitStack, folder: Path, name: str, modules: Path, join: str = "") -> HostProcess:
    host = HostProcess(name=name, data=folder / name, allow=["patient"], python_path=[modules], join=join)
    await host.start()
    stack.push_async_callback(host.kill)
    return host


async def _channel(stack: AsyncExitStack, host: HostProcess) -> grpc.aio.Channel:
    channel = grpc.aio.insecure_channel(host.address)
    stack.push_async_callback(channel.close)
    return channel


async def _create(host: HostProcess) -> None:
    async with Client(host.address) as client:
        await client.create(TYPE, paglet_id="p")


async def _add(channel: grpc.aio.Channel, amount: int) -> int:
    stub = counter_pb2_grpc.CounterServiceStub(channel)
    reply = await stub.Add(counter_pb2.AddRequest(amount=amount), metadata=KEY, timeout=20)
    return reply.value


async def _dispatch(channel: grpc.aio.Channel, target: str) -> None:
    stub = lifecycle_pb2_grpc.LifecycleServiceStub(channel)
    await stub.DispatchPaglet(lifecycle_pb2.DispatchPagletRequest(paglet_id="p", target=target), timeout=20)


async def _comes(channel: grpc.aio.Channel, target: str) -> bool:
    """Moves the paglet to a host that has just come back, once it is found again."""
    try:
        await _dispatch(channel, target)
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.UNAVAILABLE:
            raise
        return False
    return True


async def _counts(channel: grpc.aio.Channel, value: int) -> bool:
    """Whether the count can be read, through a host that may not have found the owner again."""
    stub = counter_pb2_grpc.CounterServiceStub(channel)
    try:
        return (await stub.Get(counter_pb2.GetRequest(), metadata=KEY, timeout=20)).value == value
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.UNAVAILABLE:
            raise
        return False


async def _exists(path: Path) -> bool:
    return await asyncio.to_thread(path.exists)


async def _in_a_turn(stack: AsyncExitStack, folder: Path) -> tuple[HostProcess, asyncio.Task[int]]:
    """A host in the middle of a turn, told to end."""
    modules = _module(folder / "modules")
    host = await _host(stack, folder, "alpha", modules)
    await _create(host)
    running = asyncio.create_task(_add(await _channel(stack, host), 5))
    await eventually(lambda: _exists(modules / "begun"))
    other = await _channel(stack, host)
    waiting = asyncio.create_task(refused(_add(other, 1)))
    await other.channel_ready()
    os.kill(host.pid, signal.SIGTERM)
    assert (await waiting).code is grpc.StatusCode.UNAVAILABLE
    return host, running


async def test_sigterm_lets_the_running_turn_end(stack: AsyncExitStack, tmp_path: Path) -> None:
    """A host that is told to end answers what it has begun, sends the waiting away, and keeps what it answered."""
    host, running = await _in_a_turn(stack, tmp_path)
    assert not running.done()
    (tmp_path / "modules" / "go").touch()
    assert await running == 5
    assert await host.ended() == 0
    await host.start()
    assert await _add(await _channel(stack, host), 1) == 6


async def test_second_sigterm_ends_at_once(stack: AsyncExitStack, tmp_path: Path) -> None:
    """Who asks twice waits for nobody: the process is killed, and the turn it was in never happened."""
    host, running = await _in_a_turn(stack, tmp_path)
    os.kill(host.pid, signal.SIGTERM)
    assert await host.ended() == 128 + signal.SIGTERM
    assert (await refused(running)).code is grpc.StatusCode.UNAVAILABLE
    address = host.address
    await host.start()
    assert host.address == address, "a host takes the port it had"
    assert await _add(await _channel(stack, host), 1) == 1


async def test_killed_target_leaves_the_paglet_where_it_is(stack: AsyncExitStack, tmp_path: Path) -> None:
    """A move to a host that was killed is refused, and the paglet answers; when the host is back, it can go there."""
    modules = _module(tmp_path / "modules")
    alpha = await _host(stack, tmp_path, "alpha", modules)
    beta = await _host(stack, tmp_path, "beta", modules, join=alpha.address)
    await _create(alpha)
    channel = await _channel(stack, alpha)
    await beta.kill()
    refusal = await refused(_dispatch(channel, "beta"))
    assert refusal.what == (grpc.StatusCode.UNAVAILABLE, "HOST_UNREACHABLE")
    assert refusal.metadata == {"host": "beta"}
    assert await _add(channel, 1) == 1
    await beta.start()
    await eventually(lambda: _comes(channel, "beta"))
    assert await _add(channel, 1) == 2
    await beta.kill()
    away = await refused(_add(channel, 1))
    assert away.what == (grpc.StatusCode.UNAVAILABLE, "TRANSPORT")
    await beta.start()
    await eventually(lambda: _counts(channel, 2))
    assert await _add(channel, 1) == 3


async def test_older_host_refuses_a_newer_state(stack: AsyncExitStack, tmp_path: Path) -> None:
    """Each host has its own version of the type: a newer state stays at home, an older one is raised on the way."""
    alpha = await _host(stack, tmp_path, "alpha", _module(tmp_path / "new", 2))
    beta = await _host(stack, tmp_path, "beta", _module(tmp_path / "old", 1), join=alpha.address)
    channel = await _channel(stack, alpha)
    await _create(alpha)
    refusal = await refused(_dispatch(channel, "beta"))
    assert refusal.what == (grpc.StatusCode.FAILED_PRECONDITION, "STATE_VERSION_UNSUPPORTED")
    assert refusal.metadata == {"type": TYPE, "found": "2", "supported": "1"}
    assert await _add(channel, 1) == 1
    async with Client(alpha.address) as client:
        await client.dispose("p")
    await _create(beta)
    assert await _add(channel, 1) == 1
    await _dispatch(channel, "alpha")
    assert await _add(channel, 1) == 2
