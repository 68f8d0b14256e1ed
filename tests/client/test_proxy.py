"""A handle's calls: the metadata they carry, how often they are made, how they end."""

from __future__ import annotations

import asyncio
import math
import uuid

import grpc
import pytest

from paglet.examples.counter.v1.counter_pb2 import AddRequest
from paglet.examples.counter.v1.counter_pb2_grpc import CounterServiceStub
from paglet.v1 import artifact_pb2, artifact_pb2_grpc
from paglets.client.client import Client
from paglets.client.proxy import PagletProxy
from paglets.errors import (
    CancelledCallError,
    DeadlineError,
    ExhaustedError,
    PreconditionError,
    Resource,
    UnavailableError,
)
from paglets.values import PagletProxyRef
from tests.client.scripted import PATIENCE_S, Script, serving


@pytest.fixture(params=[False, True], ids=["plain", "multiplexed"])
def multiplexed(request: pytest.FixtureRequest) -> bool:
    """Whether the client's calls share one stream: to their user they are the same."""
    return bool(request.param)


def moved() -> UnavailableError:
    """What a host says when the paglet left while the call was on its way."""
    return UnavailableError("PAGLET_MOVED", "the paglet moved")


async def test_core_15_call_names_the_paglet_and_has_an_id_and_a_deadline(*, multiplexed: bool) -> None:
    """A call carries the paglet's id, a fresh request id each time, and ends within 30 s."""
    script = Script()
    async with serving(script) as address, Client(address, multiplexed=multiplexed) as client:
        stub = client.proxy("c-1").stub(CounterServiceStub)
        replies = [await stub.Add(AddRequest(amount=1)) for _ in range(2)]
    assert [reply.value for reply in replies] == [2, 2]
    assert [asked.metadata["paglet-id"] for asked in script.asked] == ["c-1", "c-1"]
    first, second = (uuid.UUID(str(found)) for found in script.request_ids())
    assert first != second
    assert all(25 < (asked.deadline_s or 0) < 31 for asked in script.asked)


async def test_given_metadata_and_deadline_win(*, multiplexed: bool) -> None:
    """A request id, other metadata and a timeout of the caller's are sent as they are."""
    script = Script()
    async with serving(script) as address, Client(address, multiplexed=multiplexed) as client:
        stub = client.proxy("c-1").stub(CounterServiceStub)
        metadata = (("paglet-request-id", "mine"), ("x-trace", "7"))
        await stub.Add(AddRequest(), metadata=metadata, timeout=3)
        await stub.Add(AddRequest(), timeout=math.inf)
    assert script.asked[0].metadata["paglet-request-id"] == "mine"
    assert script.asked[0].metadata["x-trace"] == "7"
    assert 0 < (script.asked[0].deadline_s or 0) < 4
    assert script.asked[1].deadline_s is None or script.asked[1].deadline_s > 1e6


async def test_unavailable_is_tried_again_with_the_same_id(*, multiplexed: bool) -> None:
    """While a paglet moves, the call is made again as the same request, and its user sees the answer alone."""
    script = Script(failures=[moved(), moved(), UnavailableError("SHUTTING_DOWN", "wait")])
    async with serving(script) as address, Client(address, multiplexed=multiplexed) as client:
        reply = await client.proxy("c-1").stub(CounterServiceStub).Add(AddRequest(amount=4))
    assert reply.value == 5
    assert len(script.asked) == 4
    assert len(set(script.request_ids())) == 1


async def test_other_errors_come_out_at_once_as_they_were_raised(*, multiplexed: bool) -> None:
    """An error that waiting does not heal is the same class with the same fields, after one attempt."""
    raised = PreconditionError(
        "TASK_RUNNING", "it runs", resource=Resource("paglet", "c-1"), metadata={"task": "7"}, retry_after_s=2.0
    )
    script = Script(failures=[raised])
    async with serving(script) as address, Client(address, multiplexed=multiplexed) as client:
        with pytest.raises(PreconditionError, match="it runs") as caught:
            await client.proxy("c-1").stub(CounterServiceStub).Add(AddRequest())
    assert (caught.value.reason, caught.value.resource) == ("TASK_RUNNING", Resource("paglet", "c-1"))
    assert (caught.value.metadata, caught.value.retry_after_s) == ({"task": "7"}, 2.0)
    assert len(script.asked) == 1


async def test_full_mailbox_is_the_callers_to_judge(*, multiplexed: bool) -> None:
    """RESOURCE_EXHAUSTED comes out with the time to wait, and is not tried again behind the caller's back."""
    script = Script(failures=[ExhaustedError("MAILBOX_FULL", "full", retry_after_s=0.5)])
    async with serving(script) as address, Client(address, multiplexed=multiplexed) as client:
        with pytest.raises(ExhaustedError, match="full") as caught:
            await client.proxy("c-1").stub(CounterServiceStub).Add(AddRequest())
    assert caught.value.retry_after_s == 0.5
    assert len(script.asked) == 1


async def test_retries_end_with_the_deadline(*, multiplexed: bool) -> None:
    """A host that stays away is UNAVAILABLE in the end, not later than the deadline, after several attempts."""
    script = Script(failures=[moved() for _ in range(1000)])
    loop = asyncio.get_running_loop()
    async with serving(script) as address, Client(address, multiplexed=multiplexed) as client:
        began = loop.time()
        with pytest.raises(UnavailableError, match="moved"):
            await client.proxy("c-1").stub(CounterServiceStub).Add(AddRequest(), timeout=0.6)
        took = loop.time() - began
    assert took < 5
    assert 2 <= len(script.asked) <= 12


async def test_wait_that_outlasts_the_deadline_is_not_begun(*, multiplexed: bool) -> None:
    """When the host asks for a longer wait than there is time, the error comes out at once."""
    script = Script(failures=[UnavailableError("SHUTTING_DOWN", "later", retry_after_s=20.0)])
    async with serving(script) as address, Client(address, multiplexed=multiplexed) as client:
        with pytest.raises(UnavailableError, match="later"):
            await client.proxy("c-1").stub(CounterServiceStub).Add(AddRequest(), timeout=10)
    assert len(script.asked) == 1


async def test_deadline_passes_while_the_call_runs(*, multiplexed: bool) -> None:
    """A call that is not answered in time is a DeadlineError, and was made once."""
    script = Script(held=asyncio.Event())
    async with serving(script) as address, Client(address, multiplexed=multiplexed) as client:
        with pytest.raises(DeadlineError):
            await client.proxy("c-1").stub(CounterServiceStub).Add(AddRequest(), timeout=0.2)
        assert len(script.asked) == 1


async def test_host_that_comes_back_is_found_again(*, multiplexed: bool) -> None:
    """A call made while the host is down succeeds when it is up again at the same address."""
    async with serving(Script()) as address:
        port = int(address.rpartition(":")[2])
        client = Client(address, multiplexed=multiplexed)
        await client.reach()
    call = client.proxy("c-1").stub(CounterServiceStub).Add(AddRequest(amount=1))
    script = Script()
    async with serving(script, port), client:
        reply = await call
    assert reply.value == 2


async def test_cancelled_call_ends_at_the_host(*, multiplexed: bool) -> None:
    """Giving a call up cancels it where it runs, and is no error of ours."""
    script = Script(held=asyncio.Event())
    async with serving(script) as address, Client(address, multiplexed=multiplexed) as client:
        call = client.proxy("c-1").stub(CounterServiceStub).Add(AddRequest())
        await asyncio.wait_for(script.entered.wait(), PATIENCE_S)
        assert call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert call.cancelled()
        await asyncio.wait_for(script.left.wait(), PATIENCE_S)
        with pytest.raises(CancelledCallError):
            await call.code()


async def test_closed_client_ends_calls_with_an_error(*, multiplexed: bool) -> None:
    """A call whose client is closed raises CancelledCallError: its task was not cancelled."""
    script = Script(held=asyncio.Event())
    async with serving(script) as address:
        client = Client(address, multiplexed=multiplexed)
        call = client.proxy("c-1").stub(CounterServiceStub).Add(AddRequest())
        await asyncio.wait_for(script.entered.wait(), PATIENCE_S)
        await client.close()
        with pytest.raises(CancelledCallError, match="closed"):
            await call
        with pytest.raises(CancelledCallError, match="closed"):
            await client.proxy("c-1").stub(CounterServiceStub).Add(AddRequest())


async def test_call_tells_what_its_last_attempt_was_told(*, multiplexed: bool) -> None:
    """Trailing metadata, code and details are those of the attempt that ended the call."""
    script = Script(failures=[moved()])
    async with serving(script) as address, Client(address, multiplexed=multiplexed) as client:
        call = client.proxy("c-1").stub(CounterServiceStub).Add(AddRequest())
        assert (call.time_remaining() or 0) > 20
        await call.wait_for_connection()
        assert (await call.trailing_metadata())["paglet-host"] == "alpha"
        assert await call.code() is grpc.StatusCode.OK
        assert call.done()


async def test_code_of_a_failed_call_can_be_asked_for(*, multiplexed: bool) -> None:
    """Code and details of a failed call are known without awaiting it, and nothing is logged as never retrieved."""
    script = Script(failures=[PreconditionError("TASK_RUNNING", "it runs")])
    async with serving(script) as address, Client(address, multiplexed=multiplexed) as client:
        call = client.proxy("c-1").stub(CounterServiceStub).Add(AddRequest())
        assert await call.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert await call.details() == "it runs"


async def test_stream_gets_the_paglets_id(*, multiplexed: bool) -> None:
    """A streaming rpc of the same stub names the paglet too; it has no request id, which is for unary calls."""
    script = Script()
    async with serving(script) as address, Client(address, multiplexed=multiplexed) as client:
        stub = client.proxy("c-1").stub(artifact_pb2_grpc.ArtifactServiceStub)
        frames = [frame.chunk.data async for frame in stub.ReadArtifact(artifact_pb2.ReadArtifactRequest())]
    assert frames == [b"abc"]
    assert script.asked[0].metadata["paglet-id"] == "c-1"
    assert script.request_ids() == [None]


async def test_core_15_proxies_of_one_paglet_are_equal() -> None:
    """A proxy made of a reference is the one made of the id, and gives the reference back."""
    async with Client("127.0.0.1:1") as client:
        proxy = client.proxy("c-1")
        assert client.proxy(PagletProxyRef("c-1")) == proxy
        assert proxy.ref == PagletProxyRef("c-1")
        assert repr(proxy) == "PagletProxy(paglet_id='c-1')"
        assert len({proxy, PagletProxy("c-1", client), client.proxy("c-2")}) == 2
