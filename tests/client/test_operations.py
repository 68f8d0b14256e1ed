"""Operations as values: called and posted with messages, and refused here when they are not what the proto says."""

from __future__ import annotations

import asyncio
import math
import uuid
from collections.abc import AsyncIterator

import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.wrappers_pb2 import StringValue

from paglet.examples.counter.v1 import counter_pb2, counter_pb2_grpc
from paglet.v1 import artifact_pb2, operation_pb2
from paglets import Client, OperationClient, ServiceContract
from paglets.client.proxy import PagletProxy
from paglets.errors import (
    DeadlineError,
    InternalError,
    InvalidArgumentError,
    OperationNotFoundError,
    PreconditionError,
    UnavailableError,
)
from paglets.examples.counter import Counter, CounterState
from paglets.testing import eventually, local_host
from paglets.values import DeactivationPolicy
from tests.client.scripted import Script, serving
from tests.host.probe import Probe
from tests.host.probe_service import PROBE
from tests.host.support import PROBE_MODULE

CONTRACT = ServiceContract(counter_pb2.DESCRIPTOR.services_by_name["CounterService"])
ADD, GET = CONTRACT.require_operation("Add"), CONTRACT.require_operation("Get")
STREAM = ServiceContract(artifact_pb2.DESCRIPTOR.services_by_name["ArtifactService"]).require_operation("ReadArtifact")
READ, RELAY = (ServiceContract(PROBE).require_operation(name) for name in ("Read", "Relay"))
NOWHERE = "127.0.0.1:1"


@pytest.fixture
async def counter() -> AsyncIterator[PagletProxy]:
    """A counter of 40, on a host of its own."""
    async with local_host(allow=["paglets.examples.counter"]) as host, Client(host.address) as client:
        yield await client.create(Counter, state=CounterState(40))


def add(amount: int) -> counter_pb2.AddRequest:
    """A request to count."""
    return counter_pb2.AddRequest(amount=amount)


async def test_op_2_call_gives_the_reply_as_its_message(counter: PagletProxy) -> None:
    """Typed by the class that is named; the same as by the stub."""
    operations = OperationClient(counter)
    added: counter_pb2.AddResponse = await operations.call(ADD, add(2), counter_pb2.AddResponse)
    found: counter_pb2.GetResponse = await operations.call(GET, counter_pb2.GetRequest(), counter_pb2.GetResponse)
    by_stub = await counter.stub(counter_pb2_grpc.CounterServiceStub).Get(counter_pb2.GetRequest())
    assert (added.value, found, by_stub.value) == (42, by_stub, 42)


async def test_op_2_given_request_id_is_one_run(counter: PagletProxy) -> None:
    """A repetition is not run again; without an id each call is a run of its own."""
    operations = OperationClient(counter)
    for _ in range(2):
        assert (await operations.call(ADD, add(1), counter_pb2.AddResponse, request_id="r-1")).value == 41
    for value in (42, 43):
        assert (await operations.call(ADD, add(1), counter_pb2.AddResponse)).value == value


async def test_op_2_require_active_leaves_it_at_rest(counter: PagletProxy) -> None:
    """Told so, a call of an inactive paglet fails at once; else it brings it back."""
    operations = OperationClient(counter)
    await counter.deactivate()
    with pytest.raises(PreconditionError, match="inactive") as caught:
        await operations.call(GET, counter_pb2.GetRequest(), counter_pb2.GetResponse, require_active=True)
    assert caught.value.reason == "PAGLET_INACTIVE"
    assert (await counter.info()).state == "inactive"
    assert (await operations.call(GET, counter_pb2.GetRequest(), counter_pb2.GetResponse)).value == 40


async def test_op_2_timeout_is_the_calls_own() -> None:
    """A host that is away is tried for as long as the call may take."""
    async with Client(NOWHERE) as client:
        operations = OperationClient(client.proxy("counter"))
        with pytest.raises((UnavailableError, DeadlineError)):
            await asyncio.wait_for(operations.call(ADD, add(1), counter_pb2.AddResponse, timeout_s=0.2), 10)


@pytest.mark.parametrize("timeout_s", [9e9, 1e300, math.inf])
async def test_op_2_time_that_is_longer_than_any_life(counter: PagletProxy, timeout_s: float) -> None:
    """Who gives a call all the time in the world has it: no deadline is past what a clock can count."""
    reply = await OperationClient(counter).call(ADD, add(1), counter_pb2.AddResponse, timeout_s=timeout_s)
    assert reply.value == 41


async def test_op_2_post_is_run_once(counter: PagletProxy) -> None:
    """A post is run without its poster, once for each request id, by value or by name."""
    operations = OperationClient(counter)
    packed = AnyMessage()
    packed.Pack(add(1))
    await counter.deactivate(DeactivationPolicy(activate_on_message=True))
    ids = {
        await operations.post(ADD, add(1), request_id="r-1"),
        await operations.post_any(ADD.full_name, packed, request_id="r-1"),
    }
    assert len(ids) == 1
    assert await operations.post(ADD, add(1)) not in ids

    async def has_run() -> bool:
        return (await operations.call(GET, counter_pb2.GetRequest(), counter_pb2.GetResponse)).value == 42

    await eventually(has_run)


async def test_op_2_call_by_name_with_any(counter: PagletProxy) -> None:
    """Who knows no messages gives and gets them packed; what is wrong is the host's to say."""
    operations = OperationClient(counter)
    packed = AnyMessage()
    packed.Pack(add(2))
    reply = await operations.call_any(ADD.full_name, packed)
    added = counter_pb2.AddResponse()
    assert reply.Unpack(added)
    assert added.value == 42
    with pytest.raises(InvalidArgumentError) as caught:
        await operations.call_any(GET.full_name, packed)
    assert caught.value.reason == "MALFORMED_REQUEST"
    with pytest.raises(OperationNotFoundError):
        await operations.call_any(f"{CONTRACT.name}/Sub", packed)


async def test_svc_4_what_the_contract_lacks_is_not_sent() -> None:
    """An operation, or a message, that is not the service's is refused before any host is asked."""
    async with Client(NOWHERE) as client:
        operations = OperationClient(client.proxy("counter"))
        with pytest.raises(InvalidArgumentError, match=r"takes a .*AddRequest, not a .*GetRequest") as caught:
            await operations.call(ADD, counter_pb2.GetRequest(), counter_pb2.AddResponse)
        assert caught.value.reason == "CONTRACT_VIOLATED"
        assert caught.value.metadata == {"contract": CONTRACT.name, "operation": ADD.full_name}
        with pytest.raises(InvalidArgumentError, match=r"gives a .*AddResponse, not a .*GetResponse"):
            await operations.call(ADD, add(1), counter_pb2.GetResponse)
        with pytest.raises(InvalidArgumentError, match="takes a"):
            await operations.post(ADD, counter_pb2.GetRequest())
        for refused in (
            operations.call(STREAM, artifact_pb2.ReadArtifactRequest(), artifact_pb2.ReadArtifactResponse),
            operations.post(STREAM, artifact_pb2.ReadArtifactRequest()),
        ):
            with pytest.raises(InvalidArgumentError) as caught:
                await refused
            assert caught.value.reason == "OPERATION_STREAMS"


@pytest.mark.parametrize("name", ["Add", f"{CONTRACT.name}/Add", f"/{CONTRACT.name}/Add"])
def test_svc_4_operation_is_required_by_name(name: str) -> None:
    """By its method, by its full name, or as an rpc's path."""
    assert CONTRACT.require_operation(name) == ADD


@pytest.mark.parametrize(
    ("name", "near"), [("Ad", "Add"), (f"{CONTRACT.name}/Gett", "Get"), ("other.Service/Add", ""), ("", "")]
)
def test_svc_4_unknown_operation_is_refused(name: str, near: str) -> None:
    """Naming those that there are, and the one that was probably meant."""
    with pytest.raises(InvalidArgumentError, match=r"CounterService has no operation .*, it has Add, Get") as caught:
        CONTRACT.require_operation(name)
    assert caught.value.reason == "CONTRACT_VIOLATED"
    assert caught.value.metadata == {"contract": CONTRACT.name, "operation": name}
    assert ("did you mean" in caught.value.message) == bool(near)
    assert caught.value.message.endswith(f"did you mean {near}?" if near else "Get")


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        (AnyMessage(), "of no type"),
        (AnyMessage(type_url="type.googleapis.com/a.Other"), "a.Other"),
        (AnyMessage(type_url="x/paglet.examples.counter.v1.AddResponse", value=b"\xff"), "AddResponse"),
    ],
    ids=["none", "other", "bytes"],
)
async def test_reply_of_another_type_is_refused(reply: AnyMessage, found: str) -> None:
    """What comes back is taken for nothing that it is not."""
    async with serving(Script(reply=reply)) as address, Client(address) as client:
        with pytest.raises(InternalError, match=f"the reply of .*/Add is .*{found}, not .*AddResponse") as caught:
            await OperationClient(client.proxy("counter")).call(ADD, add(1), counter_pb2.AddResponse)
    assert caught.value.reason == "REPLY_INVALID"


async def test_unavailable_is_tried_again_as_the_same_request() -> None:
    """A call that found no answer is made again with the same request id, whatever else it says."""
    script = Script(failures=[UnavailableError("PAGLET_MOVED", "on its way", retry_after_s=0.01)] * 2)
    async with serving(script) as address, Client(address) as client:
        await OperationClient(client.proxy("counter")).call_any(ADD.full_name, AnyMessage(), require_active=True)
    requests = script.of("InvokeOperation", operation_pb2.InvokeOperationRequest)
    assert len(requests) == 3
    first = requests[0]
    assert requests == [first] * 3
    assert uuid.UUID(first.request_id)
    assert (first.paglet_id, first.operation, first.require_active) == ("counter", ADD.full_name, True)


async def test_call_in_a_turn_is_the_turns_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a turn asks for is asked once though the turn is run again, and into its own chain it is refused."""
    failures = [UnavailableError("HOST_UNREACHABLE", "not now")]

    async def relay(probe: Probe, request: StringValue) -> StringValue:
        async with Client(probe.context.address, timeout_s=10) as client:
            operations = OperationClient(client.proxy(request.value))
            if request.value == probe.paglet_id:
                await operations.call(READ, StringValue(), StringValue)
            value = (await operations.call(ADD, add(1), counter_pb2.AddResponse)).value
        if failures:
            raise failures.pop()
        return StringValue(value=str(value))

    monkeypatch.setattr(Probe, "relay", relay)
    async with (
        local_host(allow=["paglets.examples.counter", PROBE_MODULE]) as host,
        Client(host.address, timeout_s=10) as client,
    ):
        await client.create(Counter, paglet_id="counter")
        probe = OperationClient(await client.create(Probe))
        assert (await probe.call(RELAY, StringValue(value="counter"), StringValue)).value == "1"
        with pytest.raises(PreconditionError) as caught:
            await probe.call(RELAY, StringValue(value=probe.proxy.paglet_id), StringValue)
    assert (failures, caught.value.reason) == ([], "CALL_CYCLE")
