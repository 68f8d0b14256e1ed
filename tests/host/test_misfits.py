"""A state that could not be read back is refused by the turn that makes it, and not by the next start of its host."""

from __future__ import annotations

from pathlib import Path

import pytest

from paglet.examples.counter.v1 import counter_pb2 as pb
from paglet.examples.counter.v1 import counter_pb2_grpc
from paglets.client.client import Client
from paglets.errors import InvalidArgumentError
from paglets.testing import local_host
from paglets.values import PagletState
from tests.host.misfit import COLLECTOR_TYPE, MISFIT_MODULE, NAMELESS_TYPE


async def test_what_a_turn_keeps_is_there_after_a_restart(tmp_path: Path) -> None:
    """An object of a subclass has a field that nobody declared: it is no part of a state, and the rest stays."""
    async with local_host(allow=[MISFIT_MODULE], data=tmp_path) as host, Client(host.address) as client:
        created = await client.create(COLLECTOR_TYPE, paglet_id="collector")
        stub = client.proxy(created.paglet_id).stub(counter_pb2_grpc.CounterServiceStub)
        await stub.Add(pb.AddRequest(amount=1))
        with pytest.raises(InvalidArgumentError, match=r"coins.*\.year' is no field of it"):
            await stub.Add(pb.AddRequest(amount=-1))
    async with local_host(allow=[MISFIT_MODULE], data=tmp_path) as host, Client(host.address) as client:
        stub = client.proxy("collector").stub(counter_pb2_grpc.CounterServiceStub)
        assert (await stub.Get(pb.GetRequest())).value == 1
        assert (await client.get("collector")).state is PagletState.ACTIVE


async def test_default_that_its_field_cannot_hold() -> None:
    """Nothing is created that could never be read."""
    async with local_host(allow=[MISFIT_MODULE]) as host, Client(host.address) as client:
        with pytest.raises(InvalidArgumentError, match="Expected `str`, got `None`"):
            await client.create(NAMELESS_TYPE, paglet_id="nameless")
