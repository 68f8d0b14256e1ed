"""A paglet may answer operations that it has no descriptors of: their calls come to it as bytes, each a turn."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage

from paglet.v1 import operation_pb2 as pb
from paglet.v1 import operation_pb2_grpc
from tests.host.bridge import BRIDGE_TYPE, BRIDGED
from tests.host.conftest import Mesh
from tests.host.stage import STAGE
from tests.host.support import Refusal, call, eventually, refused

ODD = b"\xff\xff\xff"
"""Bytes that are no message."""


@pytest.fixture
async def bridge(mesh: Mesh) -> str:
    """A bridge on alpha."""
    return (await mesh.alpha.client.create(BRIDGE_TYPE, paglet_id="bridge")).paglet_id


async def tell(
    channel: grpc.aio.Channel, paglet_id: str, operation: str, request: bytes, request_id: str = ""
) -> tuple[str, bool]:
    """Calls an operation of the bridge by its own rpc; gives the reply, and whether it was given before."""
    metadata = [("paglet-id", paglet_id), *([("paglet-request-id", request_id)] if request_id else [])]
    rpc: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"/{BRIDGED}/{operation}")
    running = rpc(request, metadata=metadata, timeout=20)
    reply = await running
    return reply.decode(), ("paglet-replayed", "true") in tuple(await running.trailing_metadata())


async def refusal(mesh: Mesh, paglet_id: str, operation: str) -> Refusal:
    """How the bridge refuses an operation."""
    return await refused(tell(mesh.alpha.channel, paglet_id, operation, b"lost"))


async def test_bytes_come_as_they_are(mesh: Mesh, bridge: str) -> None:
    """Any bytes reach it, on its host and by way of another, and its bytes are the reply."""
    assert await tell(mesh.alpha.channel, bridge, "Add", ODD) == ("ffffff", False)
    assert await tell(mesh.beta.channel, bridge, "Add", b"") == ("ffffff ", False)


async def test_request_id_holds_for_the_bytes(mesh: Mesh, bridge: str) -> None:
    """A repetition is not run again; other bytes or another operation under the same id are refused."""
    assert await tell(mesh.alpha.channel, bridge, "Add", ODD, "r-1") == ("ffffff", False)
    assert await tell(mesh.beta.channel, bridge, "Add", ODD, "r-1") == ("ffffff", True)
    for operation, request in (("Add", b"other"), ("Hold", ODD)):
        failed = await refused(tell(mesh.alpha.channel, bridge, operation, request, "r-1"))
        assert failed.what == (grpc.StatusCode.FAILED_PRECONDITION, "REQUEST_ID_REUSED")
    assert await tell(mesh.alpha.channel, bridge, "Add", b"") == ("ffffff ", False)


async def test_call_is_a_turn(mesh: Mesh, bridge: str) -> None:
    """One is run after the other, and is durable when it is answered."""
    STAGE.hold("bridge")
    first = asyncio.create_task(tell(mesh.alpha.channel, bridge, "Hold", b"\x01"))
    await STAGE.reached("bridge")
    second = asyncio.create_task(tell(mesh.alpha.channel, bridge, "Add", b"\x02"))
    STAGE.release("bridge")
    assert (await first, await second) == (("01", False), ("01 02", False))
    assert await mesh.alpha.client.state(bridge) == '{"lines":["01","02"]}'


@pytest.mark.parametrize(
    ("operation", "code", "reason"),
    [
        ("Other", grpc.StatusCode.UNIMPLEMENTED, "OPERATION_NOT_FOUND"),
        ("NotImplemented", grpc.StatusCode.UNIMPLEMENTED, "OPERATION_NOT_FOUND"),
        ("Wrong", grpc.StatusCode.INTERNAL, "REPLY_INVALID"),
        ("Fail", grpc.StatusCode.INTERNAL, "INTERNAL"),
    ],
)
async def test_core_5_unanswered_call_leaves_nothing(
    mesh: Mesh, bridge: str, operation: str, code: grpc.StatusCode, reason: str
) -> None:
    """What it does not answer, or answers with what is no reply, is as if it had not been."""
    failed = await refusal(mesh, bridge, operation)
    assert failed.what == (code, reason)
    assert "not told" not in failed.message
    if reason == "OPERATION_NOT_FOUND":
        assert failed.metadata["operation"] == f"{BRIDGED}/{operation}"
    assert await mesh.alpha.client.state(bridge) == '{"lines":[]}'


async def test_post_of_any_operation(mesh: Mesh, bridge: str) -> None:
    """It may be posted to as well, once for each request id."""
    stub: operation_pb2_grpc.OperationServiceAsyncStub = operation_pb2_grpc.OperationServiceStub(mesh.beta.channel)
    posted = pb.PostOperationRequest(
        request_id="r-1",
        paglet_id=bridge,
        operation=f"{BRIDGED}/Add",
        request=AnyMessage(type_url="whatever", value=ODD),
    )
    assert await stub.PostOperation(posted) == await stub.PostOperation(posted)

    async def has_run() -> bool:
        return await mesh.alpha.client.state(bridge) == '{"lines":["ffffff"]}'

    await eventually(has_run)
    assert await tell(mesh.alpha.channel, bridge, "Add", ODD, "r-1") == ("ffffff", True)


async def test_core_5_other_paglets_take_none(mesh: Mesh) -> None:
    """A class that does not say so answers its own operations only."""
    failed = await refused(
        call(mesh.alpha.channel, f"/{BRIDGED}/Add", b"", metadata=[("paglet-id", await mesh.probe())])
    )
    assert failed.what == (grpc.StatusCode.UNIMPLEMENTED, "OPERATION_NOT_FOUND")


@pytest.mark.parametrize("count", [0, 2])
@pytest.mark.parametrize("at", ["alpha", "beta"])
async def test_stream_is_no_unary_call(mesh: Mesh, bridge: str, at: str, count: int) -> None:
    """Who sends no message, or more than one, is told so, and nothing is run."""
    channel = {"alpha": mesh.alpha, "beta": mesh.beta}[at].channel
    rpc: grpc.aio.StreamUnaryMultiCallable[bytes, bytes] = channel.stream_unary(f"/{BRIDGED}/Add")
    failed = await refused(rpc(iter([b"a"] * count), metadata=[("paglet-id", bridge)], timeout=20))
    assert (failed.what, failed.fields) == ((grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_REQUEST"), ["request"])
    assert await mesh.alpha.client.state(bridge) == '{"lines":[]}'


async def test_caller_who_does_not_end_is_not_waited_for(mesh: Mesh, bridge: str) -> None:
    """A stream that stays open is given up at the call's deadline, and nothing is run."""
    rpc: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = mesh.beta.channel.stream_stream(f"/{BRIDGED}/Add")
    talking = rpc(metadata=[("paglet-id", bridge)], timeout=0.5)
    await talking.write(b"a")
    assert await talking.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert await mesh.alpha.client.state(bridge) == '{"lines":[]}'


async def test_large_request_follows_a_move(mesh: Mesh, bridge: str) -> None:
    """One that waits for a turn while the paglet leaves is run where it arrives, whatever its size."""
    STAGE.hold("bridge")
    first = asyncio.create_task(tell(mesh.alpha.channel, bridge, "Hold", b""))
    await STAGE.reached("bridge")
    move = asyncio.create_task(mesh.alpha.client.dispatch(bridge, "beta"))
    large = b"\x01" * 450_000  # as hex in a state that may have 1 MiB
    second = asyncio.create_task(tell(mesh.alpha.channel, bridge, "Other", bytes(3_000_000)))
    third = asyncio.create_task(tell(mesh.alpha.channel, bridge, "Add", large, "r-1"))
    resident = mesh.alpha.host.residents.get(bridge)
    assert resident is not None

    async def both_wait() -> bool:
        return resident.gate.waiting == 2 and mesh.alpha.host.journey(bridge) is not None

    await eventually(both_wait)
    STAGE.release("bridge")
    await first
    assert (await move).host == "beta"
    assert (await refused(second)).what == (grpc.StatusCode.UNIMPLEMENTED, "OPERATION_NOT_FOUND")
    assert (await third)[0] == " " + large.hex()
