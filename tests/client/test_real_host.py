"""A client and a host that is a process of its own: what no scripted server can show."""

from __future__ import annotations

import asyncio
import math
import subprocess
from pathlib import Path

import grpc
import pytest

from paglet.examples.counter.v1 import counter_pb2, counter_pb2_grpc
from paglets.client.client import Client
from paglets.errors import AlreadyExistsError, NotFoundError, PagletError
from paglets.examples.counter import Counter, CounterState
from paglets.values import PagletState
from tests.cli.running import PATIENCE_S, Cli, host

_ALLOW = ("--allow", "paglets.examples.counter")
_ADDITIONS = 60


@pytest.mark.slow
async def test_every_call_runs_once_over_a_kill(tmp_path: Path) -> None:
    """Callers that count while their host is killed and started again see no error, and no count is lost or doubled."""
    cli = Cli(tmp_path)
    with host(cli, "alpha", *_ALLOW) as (address, first):
        async with Client(address, timeout_s=PATIENCE_S) as client:
            counter = await client.create(Counter, state=CounterState(100))
            stub = counter.stub(counter_pb2_grpc.CounterServiceStub)
            done: list[int] = []
            under_way = asyncio.Event()

            async def count() -> None:
                for _ in range(_ADDITIONS // 4):
                    reply = await stub.Add(counter_pb2.AddRequest(amount=1))
                    done.append(reply.value)
                    if len(done) > _ADDITIONS // 3:
                        under_way.set()

            callers = [asyncio.create_task(count()) for _ in range(4)]
            await asyncio.wait_for(under_way.wait(), PATIENCE_S)
            await asyncio.to_thread(_kill, first)
            with host(cli, "alpha", *_ALLOW) as (again, _):
                assert again == address
                await asyncio.gather(*callers)
                value = (await stub.Get(counter_pb2.GetRequest())).value
    assert value == 100 + _ADDITIONS
    assert sorted(done) == list(range(101, 101 + _ADDITIONS))


def _kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait(PATIENCE_S)


@pytest.mark.slow
async def test_core_15_life_through_the_client(tmp_path: Path) -> None:
    """Create, call, list, move and dispose, all through one host; repeats with the same request id change nothing."""
    cli = Cli(tmp_path)
    with host(cli, "alpha", *_ALLOW) as (alpha, _), host(cli, "beta", *_ALLOW, "--join", alpha) as (beta, _):
        async with Client(alpha) as client:
            assert [(known.name, known.address) for known in await client.hosts()] == [("alpha", alpha), ("beta", beta)]
            counter = await client.create(Counter, paglet_id="c", request_id="r-create")
            assert await client.create(Counter, paglet_id="c", request_id="r-create") == counter
            with pytest.raises(AlreadyExistsError):
                await client.create(Counter, paglet_id="c")
            stub = counter.stub(counter_pb2_grpc.CounterServiceStub)
            assert (await stub.Add(counter_pb2.AddRequest(amount=2))).value == 2
            moved = await counter.dispatch("beta", request_id="r-move")
            assert (moved.host, moved.state, moved.journey) == ("beta", PagletState.ACTIVE, None)
            assert await counter.dispatch("beta", request_id="r-move") == moved
            call = stub.Add(counter_pb2.AddRequest(amount=1), timeout=math.inf)
            assert (await call).value == 3
            assert (await call.trailing_metadata())["paglet-host"] == "beta"
            assert [info.paglet_id async for info in client.list(host="beta")] == ["c"]
            await counter.dispose(request_id="r-dispose")
            await counter.dispose(request_id="r-dispose")
            with pytest.raises(NotFoundError):
                await counter.info()


@pytest.mark.slow
async def test_plain_stub_needs_only_the_paglets_id(tmp_path: Path) -> None:
    """A generated stub on gRPC's own channel works with one metadata key; its errors are gRPC's."""
    with host(Cli(tmp_path), "alpha", *_ALLOW) as (address, _):
        async with Client(address) as client, grpc.aio.insecure_channel(address) as channel:
            counter = await client.create(Counter)
            stub: counter_pb2_grpc.CounterServiceAsyncStub = counter_pb2_grpc.CounterServiceStub(channel)
            metadata = (("paglet-id", counter.paglet_id),)
            assert (await stub.Add(counter_pb2.AddRequest(amount=7), metadata=metadata)).value == 7
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.Add(counter_pb2.AddRequest(amount=2**63 - 1), metadata=metadata)
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            with pytest.raises(PagletError, match="64 bits"):
                await counter.stub(counter_pb2_grpc.CounterServiceStub).Add(counter_pb2.AddRequest(amount=2**63 - 1))
