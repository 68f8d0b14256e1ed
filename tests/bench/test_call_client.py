"""The program that calls, in each way that it may be told to."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Literal, get_args

import pytest

from paglet.examples.counter.v1 import counter_pb2, counter_pb2_grpc
from paglets.bench.call_client import By, CallClient, CallCommand
from paglets.client.client import Client
from paglets.examples.counter import Counter
from paglets.testing import local_host


@pytest.mark.parametrize("by", get_args(By))
@pytest.mark.parametrize("method", ["add", "get", "create"])
async def test_each_way_does_what_it_says(tmp_path: Path, by: By, method: Literal["add", "get", "create"]) -> None:
    """What is counted was done, and nothing else: one more than it says, which is not timed."""
    async with (
        AsyncExitStack() as stack,
        local_host("alpha", allow=["paglets.examples.counter"], data=tmp_path) as alpha,
        Client(alpha.address) as client,
    ):
        counter = await client.create(Counter)
        paglet_id = "" if method == "create" else counter.paglet_id
        command = CallCommand(address=alpha.address, paglet_id=paglet_id, method=method, callers=3, seconds=0.05, by=by)
        done = await CallClient(stack).obey(command)
        assert done.calls >= 3
        stub = counter.stub(counter_pb2_grpc.CounterServiceStub)
        assert (await stub.Get(counter_pb2.GetRequest())).value == (done.calls + 1 if method == "add" else 0)
        made = [found async for found in client.list()]
        assert len(made) == 1 + (done.calls + 1 if method == "create" else 0)
