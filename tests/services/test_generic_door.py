"""An operation that is called by its name is the same call as its own rpc, wherever its paglet is."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.wrappers_pb2 import Int32Value

from paglet.v1 import operation_pb2 as pb
from paglets.client.client import Client
from paglets.config import HostSettings
from paglets.testing import local_host
from paglets.wire.channel_options import MAX_MESSAGE_BYTES
from tests.host.bridge import BRIDGE_TYPE, BRIDGED
from tests.host.conftest import Mesh, site
from tests.host.posts import post, ran
from tests.host.probe_service import SERVICE
from tests.host.stage import STAGE
from tests.host.streamer import STREAMER_MODULE, STREAMER_TYPE
from tests.host.support import PROBE_TYPE, ask, eventually, refused
from tests.services.generic import door, envelope, invoke

MALFORMED = (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_REQUEST")


async def test_call_is_answered_where_the_paglet_is(mesh: Mesh) -> None:
    """By its host, and by another one that passes it on; trailing metadata tell who answered."""
    probe = await mesh.probe()
    for count, at in enumerate((mesh.alpha, mesh.beta), 1):
        answer = await invoke(at.channel, envelope(probe, "Append", "a"))
        assert answer.text == " ".join("a" * count)
        assert answer.trailing["paglet-host"] == "alpha"
        assert int(str(answer.trailing["paglet-epoch"])) > 0
        assert not answer.replayed
    await mesh.alpha.client.dispatch(probe, "beta")
    answer = await invoke(mesh.alpha.channel, envelope(probe, "Read"))
    assert (answer.text, answer.trailing["paglet-host"]) == ("a a", "beta")


async def test_host_without_the_type_passes_it_on(mesh: Mesh) -> None:
    """The request's type is looked at where the paglet is, and nowhere else."""
    probe = await mesh.probe()
    async with local_host("gamma", join=mesh.alpha.running.address) as gamma, Client(gamma.address) as client:
        assert (await invoke(client.channel, envelope(probe, "Append", "a"))).text == "a"
        wrong = envelope(probe, "Append")
        wrong.request.Pack(Int32Value(value=1))
        assert (await refused(invoke(client.channel, wrong))).what == MALFORMED


async def test_doors_share_request_ids(mesh: Mesh) -> None:
    """What was called by one door is not run again by another, nor by a post; another request is refused by both."""
    probe = await mesh.probe()
    assert (await ask(mesh.alpha.channel, probe, "Append", "a", request_id="r-1")).text == "a"
    answer = await invoke(mesh.beta.channel, envelope(probe, "Append", "a", request_id="r-1"))
    assert (answer.text, answer.replayed) == ("a", True)
    assert (await invoke(mesh.beta.channel, envelope(probe, "Append", "b", request_id="r-2"))).text == "a b"
    again = await ask(mesh.alpha.channel, probe, "Append", "b", request_id="r-2")
    assert (again.text, again.replayed) == ("a b", True)
    await post(mesh.alpha.channel, probe, "Append", "b", request_id="r-2")
    await post(mesh.alpha.channel, probe, "Append", "c")
    await ran(mesh.alpha, probe, "a b c")
    reused = await refused(invoke(mesh.alpha.channel, envelope(probe, "Append", "x", request_id="r-1")))
    assert reused.what == (grpc.StatusCode.FAILED_PRECONDITION, "REQUEST_ID_REUSED")


async def test_call_joins_the_other_doors_call(mesh: Mesh) -> None:
    """A request that runs by one door is waited for by the other."""
    probe = await mesh.probe()
    STAGE.hold("slow")
    first = asyncio.create_task(ask(mesh.alpha.channel, probe, "Hold", "slow", request_id="r-1"))
    await STAGE.reached("slow")
    request = envelope(probe, "Hold", "slow", request_id="r-1")
    second = asyncio.create_task(invoke(mesh.alpha.channel, request))
    third = asyncio.create_task(invoke(mesh.beta.channel, request))
    STAGE.release("slow")
    assert {(await found).text for found in (first, second, third)} == {"slow< >slow"}


async def test_request_id_of_the_metadata_is_taken(mesh: Mesh) -> None:
    """It may stand in the request, in the metadata, or in both if it is the same."""
    probe = await mesh.probe()
    metadata = [("paglet-request-id", "r-1")]
    assert not (await invoke(mesh.beta.channel, envelope(probe, "Append", "a"), metadata=metadata)).replayed
    assert (await invoke(mesh.alpha.channel, envelope(probe, "Append", "a", request_id="r-1"))).replayed
    both = envelope(probe, "Append", "a", request_id="r-1")
    assert (await invoke(mesh.beta.channel, both, metadata=metadata)).replayed
    refusal = await refused(
        invoke(mesh.beta.channel, envelope(probe, "Append", "a", request_id="r-2"), metadata=metadata)
    )
    assert (refusal.what, refusal.fields) == (MALFORMED, ["request_id"])
    too_long = await refused(invoke(mesh.alpha.channel, envelope(probe, "Append", request_id="x" * 129)))
    assert (too_long.what, too_long.fields) == (MALFORMED, ["request_id"])


@pytest.mark.parametrize("operation", ["", "Append", f"{SERVICE}/", f"/{SERVICE}", f"{SERVICE}/Append/more"])
async def test_name_of_no_operation_is_refused(mesh: Mesh, operation: str) -> None:
    """An operation is named by service and method."""
    request = envelope(await mesh.probe(), "Append")
    request.operation = operation
    refusal = await refused(invoke(mesh.alpha.channel, request))
    assert (refusal.what, refusal.fields) == (MALFORMED, ["operation"])


@pytest.mark.parametrize("at", ["alpha", "beta"])
async def test_unknown_operation_is_refused(mesh: Mesh, at: str) -> None:
    """One that the paglet does not have, with its name and the paglet's type."""
    channel = {"alpha": mesh.alpha, "beta": mesh.beta}[at].channel
    refusal = await refused(invoke(channel, envelope(await mesh.probe(), "Nothing")))
    assert refusal.what == (grpc.StatusCode.UNIMPLEMENTED, "OPERATION_NOT_FOUND")
    assert refusal.metadata == {"operation": f"{SERVICE}/Nothing", "type": PROBE_TYPE}


@pytest.mark.parametrize(
    "packed",
    [
        AnyMessage(),
        AnyMessage(type_url="google.protobuf.StringValue.More", value=b""),
        AnyMessage(type_url="type.googleapis.com/google.protobuf.Int32Value", value=b"\x08\x01"),
        AnyMessage(type_url="type.googleapis.com/google.protobuf.StringValue", value=b"\xff"),
    ],
    ids=["none", "odd", "other", "bytes"],
)
@pytest.mark.parametrize("at", ["alpha", "beta"])
async def test_request_of_another_type_is_refused(mesh: Mesh, at: str, packed: AnyMessage) -> None:
    """Also an empty one, and bytes that are no such message; nothing has run."""
    probe = await mesh.probe()
    request = pb.InvokeOperationRequest(paglet_id=probe, operation=f"{SERVICE}/Append", request=packed)
    channel = {"alpha": mesh.alpha, "beta": mesh.beta}[at].channel
    refusal = await refused(invoke(channel, request))
    assert (refusal.what, refusal.fields) == (MALFORMED, ["request"])
    assert "google.protobuf.StringValue" in refusal.message
    assert (await ask(channel, probe, "Read")).text == ""


async def test_core_13_bad_ids_and_nobody(mesh: Mesh) -> None:
    """Who is called must be named, rightly, and be there."""
    for paglet_id in ("", "No Id"):
        refusal = await refused(invoke(mesh.alpha.channel, envelope(paglet_id, "Append")))
        assert refusal.what == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ID")
    refusal = await refused(invoke(mesh.alpha.channel, envelope("nobody", "Append")))
    assert refusal.what == (grpc.StatusCode.NOT_FOUND, "PAGLET_NOT_FOUND")


@pytest.mark.parametrize(
    ("text", "code", "reason"),
    [
        ("refused", grpc.StatusCode.FAILED_PRECONDITION, "TASK_RUNNING"),
        ("bug", grpc.StatusCode.INTERNAL, "INTERNAL"),
        ("cancelled", grpc.StatusCode.INTERNAL, "INTERNAL"),
    ],
)
async def test_errors_are_those_of_the_native_door(mesh: Mesh, text: str, code: grpc.StatusCode, reason: str) -> None:
    """What a handler raises comes out the same, through another host too, and again for the same request id."""
    probe = await mesh.probe()
    native = await refused(ask(mesh.alpha.channel, probe, "Fail", text, request_id="r-1"))
    for channel in (mesh.alpha.channel, mesh.beta.channel):
        generic = await refused(invoke(channel, envelope(probe, "Fail", text, request_id="r-1")))
        assert generic.what == (code, reason)
        assert (generic.message, generic.metadata) == (native.message, native.metadata)
    assert STAGE.notes.count(f"fail {text}") == 1


async def test_core_13_inactive_paglet_is_woken_unless_told_otherwise(mesh: Mesh) -> None:
    """`require_active`, in the request or in the metadata, leaves it at rest."""
    probe = await mesh.probe()
    await mesh.alpha.client.deactivate(probe)
    lazy = envelope(probe, "Read", require_active=True)
    inactive = (grpc.StatusCode.FAILED_PRECONDITION, "PAGLET_INACTIVE")
    for channel in (mesh.alpha.channel, mesh.beta.channel):
        assert (await refused(invoke(channel, lazy))).what == inactive
        by_metadata = invoke(channel, envelope(probe, "Read"), metadata=[("paglet-require-active", "true")])
        assert (await refused(by_metadata)).what == inactive
    assert (await mesh.alpha.client.get(probe)).state == "inactive"
    assert (await invoke(mesh.beta.channel, envelope(probe, "Read"))).text == "rests woken"
    assert (await invoke(mesh.beta.channel, lazy)).text == "rests woken"


async def test_read_runs_beside_a_turn(mesh: Mesh) -> None:
    """What its proto says NO_SIDE_EFFECTS of needs no turn by this door either."""
    probe = await mesh.probe()
    STAGE.hold("slow")
    turn = asyncio.create_task(invoke(mesh.alpha.channel, envelope(probe, "Hold", "slow")))
    await STAGE.reached("slow")
    assert (await invoke(mesh.alpha.channel, envelope(probe, "Read"))).text == ""
    STAGE.release("slow")
    await turn


async def test_deadline_is_the_calls(mesh: Mesh) -> None:
    """A call that waits for a turn until its deadline is never run."""
    probe = await mesh.probe()
    STAGE.hold("slow")
    turn = asyncio.create_task(ask(mesh.alpha.channel, probe, "Hold", "slow"))
    await STAGE.reached("slow")
    late = await refused(invoke(mesh.alpha.channel, envelope(probe, "Append", "late"), timeout_s=0.2))
    assert late.code is grpc.StatusCode.DEADLINE_EXCEEDED
    resident = mesh.alpha.host.residents.get(probe)

    async def waits_no_more() -> bool:
        return resident is not None and resident.gate.waiting == 0

    await eventually(waits_no_more, what="the end of its wait, at the host a little later")
    STAGE.release("slow")
    await turn
    assert (await ask(mesh.alpha.channel, probe, "Append", "end")).text == "slow< >slow end"


async def test_call_into_its_own_chain_fails(mesh: Mesh) -> None:
    """A turn that calls its own paglet by this door is told so at once."""
    probe = await mesh.probe()
    for channel in (mesh.alpha.channel, mesh.beta.channel):
        refusal = await refused(
            invoke(channel, envelope(probe, "Append"), metadata=[("paglet-chain", f"other,{probe}")])
        )
        assert refusal.what == (grpc.StatusCode.FAILED_PRECONDITION, "CALL_CYCLE")


async def test_calls_of_both_doors_are_counted_together(tmp_path: Path) -> None:
    """Whoever has too many calls under way by one door has too many by the other."""
    async with AsyncExitStack() as stack:
        settings = HostSettings(name="alpha", data=tmp_path, max_calls_of_caller=1)
        alpha = await site(stack, tmp_path, "alpha", settings=settings)
        await alpha.client.create(PROBE_TYPE, paglet_id="probe")
        too_many = (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_CALLS")
        STAGE.hold("a")
        first = asyncio.create_task(invoke(alpha.channel, envelope("probe", "HoldRead", "a")))
        await STAGE.reached("a")
        assert (await refused(ask(alpha.channel, "probe", "Append", "x"))).what == too_many
        refusal = await refused(invoke(alpha.channel, envelope("probe", "Append", "x")))
        assert (refusal.what, refusal.retry_s) == (too_many, 0.1)
        STAGE.release("a")
        await first
        assert (await invoke(alpha.channel, envelope("probe", "Append", "x"))).text == "x"


async def test_call_follows_a_journey(mesh: Mesh) -> None:
    """One that comes while the paglet is on its way runs where it arrives."""
    probe = await mesh.probe()
    STAGE.hold("on_arrival")
    move = asyncio.create_task(mesh.alpha.client.dispatch(probe, "beta"))
    await STAGE.reached("on_arrival")
    calls = [
        asyncio.create_task(invoke(at.channel, envelope(probe, "Append", "a", request_id="r-1")))
        for at in (mesh.alpha, mesh.beta)
    ]
    STAGE.release("on_arrival")
    answers = [await running for running in calls]
    await move
    assert [answer.text for answer in answers] == ["a", "a"]
    assert {answer.trailing["paglet-host"] for answer in answers} == {"beta"}


async def test_reply_that_leaves_no_room_for_its_envelope(mesh: Mesh) -> None:
    """It has run, and its own rpc tells what came of it."""
    probe = await mesh.probe()
    text = str(MAX_MESSAGE_BYTES - 20)
    for channel in (mesh.alpha.channel, mesh.beta.channel):
        refusal = await refused(invoke(channel, envelope(probe, "Repeat", text)))
        assert refusal.what == (grpc.StatusCode.FAILED_PRECONDITION, "REPLY_TOO_LARGE")
        assert refusal.metadata["operation"] == f"{SERVICE}/Repeat"
        assert int(refusal.metadata["reply_bytes"]) > int(text)
    assert (await ask(mesh.alpha.channel, probe, "Read")).text == "repeated repeated"
    assert len((await ask(mesh.beta.channel, probe, "Repeat", text)).text) == int(text)


async def test_operation_without_a_descriptor(mesh: Mesh) -> None:
    """Its request is taken as it is, whatever its type, and its reply has none."""
    bridge = (await mesh.alpha.client.create(BRIDGE_TYPE, paglet_id="bridge")).paglet_id
    request = pb.InvokeOperationRequest(
        request_id="r-1", paglet_id=bridge, operation=f"{BRIDGED}/Add", request=AnyMessage(type_url="x", value=b"\xff")
    )
    for channel in (mesh.alpha.channel, mesh.beta.channel):
        assert (await door(channel).InvokeOperation(request)).reply == AnyMessage(value=b"ff")
    unary: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = mesh.beta.channel.unary_unary(f"/{BRIDGED}/Add")
    native = unary(b"\xff", metadata=[("paglet-id", bridge), ("paglet-request-id", "r-1")])
    assert await native == b"ff"
    assert ("paglet-replayed", "true") in tuple(await native.trailing_metadata())


async def test_stream_is_for_the_native_door(tmp_path: Path) -> None:
    """Of whatever arity, at its host and by way of one that does not know it: called, or posted, it is refused."""
    async with (
        local_host("alpha", allow=[STREAMER_MODULE], data=tmp_path / "a") as alpha,
        local_host("beta", join=alpha.address, data=tmp_path / "b") as beta,
        Client(alpha.address) as owner,
        Client(beta.address) as other,
    ):
        streamer = (await owner.create(STREAMER_TYPE)).paglet_id
        listed = await other.operations(streamer)
        arities = {(info.client_streaming, info.server_streaming): info for info in listed}
        assert len(arities) > 2
        for arity, info in arities.items():
            if not any(arity):
                continue
            packed = AnyMessage(type_url=f"type.googleapis.com/{info.request_type}")
            for client in (owner, other):
                call = pb.InvokeOperationRequest(paglet_id=streamer, operation=info.name, request=packed)
                post_ = pb.PostOperationRequest(paglet_id=streamer, operation=info.name, request=packed)
                for failing in (door(client.channel).InvokeOperation(call), door(client.channel).PostOperation(post_)):
                    refusal = await refused(failing)
                    assert refusal.what == (grpc.StatusCode.INVALID_ARGUMENT, "OPERATION_STREAMS")
                    assert refusal.metadata == {"operation": info.name}


async def test_caller_who_leaves_is_not_waited_for(mesh: Mesh) -> None:
    """His call, if it has a request id, runs to its end, and his place is free at once."""
    probe = await mesh.probe()
    STAGE.hold("slow")
    calling = asyncio.create_task(invoke(mesh.beta.channel, envelope(probe, "Hold", "slow", request_id="r-1")))
    await STAGE.reached("slow")
    calling.cancel()
    await asyncio.wait([calling])
    STAGE.release("slow")

    async def has_run() -> bool:
        return (await ask(mesh.alpha.channel, probe, "Read")).text == "slow< >slow"

    await eventually(has_run)
    assert (await invoke(mesh.alpha.channel, envelope(probe, "Hold", "slow", request_id="r-1"))).replayed
