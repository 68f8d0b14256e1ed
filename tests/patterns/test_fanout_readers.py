"""Who reads the results of a fan-out may leave before its end: then nobody needs them, and no child goes on."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import pytest
from google.protobuf.struct_pb2 import Struct

from paglets.client.client import Client
from paglets.testing import eventually, local_host
from tests.patterns.spreader import SERVICE, SPREADER_MODULE, SPREADER_TYPE

ID = "spreader"
_LONG_S = 600.0
_READ_ONE = f"""
import grpc, sys
from google.protobuf.struct_pb2 import Struct
request = Struct()
request.update({{"word": "stay at beta", "timeout_s": {_LONG_S}}})
with grpc.insecure_channel(sys.argv[1]) as channel:
    rpc = channel.unary_stream("/{SERVICE}/Tell", Struct.SerializeToString, Struct.FromString)
    for told in rpc(request, metadata=[("paglet-id", "{ID}")]):
        print(told["text"], flush=True)
"""


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    """A client of the first of two hosts, at which the spreader is."""
    async with AsyncExitStack() as stack:
        allow = [SPREADER_MODULE]
        alpha = await stack.enter_async_context(local_host("alpha", allow=allow, data=tmp_path / "alpha"))
        await stack.enter_async_context(local_host("beta", allow=allow, join=alpha.address, data=tmp_path / "beta"))
        found = await stack.enter_async_context(Client(alpha.address))
        await found.create(SPREADER_TYPE, paglet_id=ID)
        yield found


def _tell(client: Client) -> grpc.aio.UnaryStreamCall[Struct, Struct]:
    """A fan-out of which alpha's child ends, and beta's never does."""
    request = Struct()
    request.update({"word": "stay at beta", "timeout_s": _LONG_S})
    rpc = client.channel.unary_stream(f"/{SERVICE}/Tell", Struct.SerializeToString, Struct.FromString)
    return rpc(request, metadata=[("paglet-id", ID)])


async def _paglets(client: Client) -> list[str]:
    return [found.paglet_id async for found in client.list()]


async def _alone(client: Client) -> bool:
    return await _paglets(client) == [ID]


async def _with_children(client: Client) -> bool:
    return len(await _paglets(client)) == 3


async def _first_result(client: Client) -> Struct | None:
    """Of another fan-out, whose reader leaves then; None while the one before is not over."""
    call = _tell(client)
    try:
        told = await call.read()
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.FAILED_PRECONDITION:
            raise
        return None
    call.cancel()
    assert isinstance(told, Struct)
    return told


async def _spread_again(client: Client) -> None:
    """The spreader is free for another one."""
    await eventually(lambda: _first_result(client), what="another fan-out")
    await eventually(lambda: _alone(client), what="the end of the children")


@pytest.mark.parametrize("taken", [0, 1])
async def test_reader_who_leaves_ends_the_children(client: Client, taken: int) -> None:
    """Before the first result as well as after."""
    call = _tell(client)
    for _ in range(taken):
        assert isinstance(await call.read(), Struct)
    await eventually(lambda: _with_children(client), what="the children")
    call.cancel()
    await eventually(lambda: _alone(client), what="the end of the children")
    await _spread_again(client)


@pytest.mark.slow
async def test_reader_who_is_killed_ends_the_children(client: Client) -> None:
    """A process that is gone has left, too."""
    reader = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _READ_ONE, client.address), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert reader.stdout is not None
        assert await reader.stdout.readline() == b"first\n"
        await eventually(lambda: _with_children(client), what="the children")
    finally:
        reader.kill()
        await reader.wait()
    await eventually(lambda: _alone(client), what="the end of the children")


async def test_reader_who_leaves_while_children_are_made(client: Client) -> None:
    """What was asked for comes to be and is ended, or never comes to be."""
    for turns_of_the_loop in range(20):
        call = _tell(client)
        for _ in range(turns_of_the_loop):
            await asyncio.sleep(0)
        call.cancel()
    await eventually(lambda: _alone(client), what="the end of the children")
    await _spread_again(client)
