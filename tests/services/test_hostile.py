"""Whatever is sent to a host: it answers with a clear error of the closed list, leaks nothing, and lives on."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Sequence

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from paglet.v1 import directory_pb2, lifecycle_pb2, mesh_pb2, operation_pb2, task_pb2, transfer_pb2
from paglets.errors import InvalidArgumentError
from paglets.services.paging import page_token
from tests.host.conftest import Mesh
from tests.host.probe_service import SERVICE
from tests.host.support import PROBE_TYPE, ask, call, refused
from tests.services.hostile import (
    BAD_ID,
    BAD_IDS,
    GARBAGE,
    ILLEGAL,
    INVALID,
    MALFORMED,
    METHODS,
    MISSING,
    UNKNOWN_OPERATION,
    assert_lives,
    path_of,
    send,
)


@pytest.mark.parametrize("method", METHODS, ids=path_of)
async def test_bytes_that_are_no_message_are_refused(standing: Mesh, method: MethodDescriptor) -> None:
    """Each rpc of the host itself says in our words that its request is none."""
    for garbage in GARBAGE:
        refusal = await refused(call(standing.alpha.channel, path_of(method), garbage))
        assert refusal.what == MALFORMED
        assert refusal.fields == ["request"]
    await assert_lives(standing)


async def test_garbage_for_a_paglet_is_refused(standing: Mesh) -> None:
    """The native door parses for the paglet, wherever that is."""
    for channel, garbage in itertools.product((standing.alpha.channel, standing.beta.channel), GARBAGE):
        path = f"/{SERVICE}/Append"
        refusal = await refused(call(channel, path, garbage, metadata=[("paglet-id", "probe")]))
        assert refusal.what == MALFORMED
    await assert_lives(standing)


async def test_refusals_reach_stock_clients(standing: Mesh) -> None:
    """A client that was told nothing of larger metadata gets the whole status, in whatever script its text is."""
    request = lifecycle_pb2.CreatePagletRequest(type="日本語" * 700).SerializeToString()
    async with grpc.aio.insecure_channel(standing.alpha.running.address) as stock:
        for _ in range(40):  # between 8 and 16 KiB, gRPC refuses at random
            refusal = await refused(call(stock, "/paglet.v1.LifecycleService/CreatePaglet", request))
            assert refusal.what == (ILLEGAL, "TYPE_NOT_ALLOWED")
            assert "日本語" in refusal.message


@pytest.mark.parametrize("bad", BAD_IDS)
async def test_bad_ids_are_refused(standing: Mesh, bad: str) -> None:
    """An id that is none is refused wherever one is taken, before anything else is looked at."""
    for rpc, request in (
        ("lifecycle.GetPaglet", lifecycle_pb2.GetPagletRequest(paglet_id=bad)),
        ("lifecycle.DispatchPaglet", lifecycle_pb2.DispatchPagletRequest(paglet_id=bad, target="beta")),
        ("lifecycle.DispatchPaglet", lifecycle_pb2.DispatchPagletRequest(paglet_id="probe", target=bad)),
        ("lifecycle.DisposePaglet", lifecycle_pb2.DisposePagletRequest(paglet_id=bad)),
        (
            "transfer.PrepareTransfer",
            transfer_pb2.PrepareTransferRequest(manifest=transfer_pb2.Manifest(transfer_id=bad), inline=b"x"),
        ),
        (
            "transfer.PrepareTransfer",
            transfer_pb2.PrepareTransferRequest(
                manifest=transfer_pb2.Manifest(transfer_id="t", paglet_id=bad), inline=b"x"
            ),
        ),
        ("directory.RegisterHost", directory_pb2.RegisterHostRequest(host=directory_pb2.HostRow(name=bad, uid="u"))),
        ("directory.RegisterHost", directory_pb2.RegisterHostRequest(host=directory_pb2.HostRow(name="h", uid=bad))),
    ):
        assert (await send(standing, rpc, request)).what == BAD_ID, rpc
    if bad:
        request = lifecycle_pb2.CreatePagletRequest(type=PROBE_TYPE, paglet_id=bad)
        assert (await send(standing, "lifecycle.CreatePaglet", request)).what == BAD_ID
    if bad.isascii() and bad.isprintable():
        metadata = [("paglet-id", bad)]
        refusal = await refused(call(standing.alpha.channel, f"/{SERVICE}/Read", b"", metadata=metadata))
        assert refusal.what == BAD_ID
    await assert_lives(standing)


@pytest.mark.parametrize(
    "name", ["os.system", "paglets.nope.X", "builtins.eval", "tests.host.probe.ProbeState", "..", "x" * 100_000]
)
async def test_types_come_from_the_registry_alone(standing: Mesh, name: str) -> None:
    """No name from the wire is ever imported."""
    refusal = await send(standing, "lifecycle.CreatePaglet", lifecycle_pb2.CreatePagletRequest(type=name))
    assert refusal.what == (ILLEGAL, "TYPE_NOT_ALLOWED")
    assert refusal.metadata["host"] == "alpha"
    assert len(refusal.message) <= 1024
    await assert_lives(standing)


DEEP = "[" * 100_000 + "]" * 100_000
BAD_STATES = {
    "no JSON": "{",
    "another type": "[1]",
    "unknown field": '{"nope": 1}',
    "unknown field below": '{"refuse": {"a": 1}}',
    "wrong type": '{"wild": "1"}',
    "float": '{"wild": 1.5}',
    "64 bits": '{"wild": 99999999999999999999999999}',
    "null": '{"lines": null}',
    "deep": DEEP,
    "deep field": '{"lines": ' + DEEP + "}",
    "2 MiB": json.dumps({"path": "x" * 2 * 1024 * 1024}),
    "escape": '"\\ud800"',
}


@pytest.mark.parametrize("text", BAD_STATES.values(), ids=BAD_STATES.keys())
async def test_bad_states_are_refused(standing: Mesh, text: str) -> None:
    """A state that does not fit strictly makes no paglet."""
    request = lifecycle_pb2.CreatePagletRequest(type=PROBE_TYPE, paglet_id="bad", state_json=text)
    assert (await send(standing, "lifecycle.CreatePaglet", request)).what == (INVALID, "STATE_INVALID")
    gone = lifecycle_pb2.GetPagletRequest(paglet_id="bad")
    assert (await send(standing, "lifecycle.GetPaglet", gone)).what == (MISSING, "PAGLET_NOT_FOUND")


async def test_empty_type_is_refused(standing: Mesh) -> None:
    """A creation needs a type, and says which field is missing."""
    refusal = await send(standing, "lifecycle.CreatePaglet", lifecycle_pb2.CreatePagletRequest())
    assert (refusal.what, refusal.fields) == (MALFORMED, ["type"])


async def test_long_request_ids_are_refused(standing: Mesh) -> None:
    """A request id is bounded at every door."""
    long = "x" * 129
    for rpc, request in (
        ("lifecycle.CreatePaglet", lifecycle_pb2.CreatePagletRequest(type=PROBE_TYPE, request_id=long)),
        (
            "lifecycle.DispatchPaglet",
            lifecycle_pb2.DispatchPagletRequest(paglet_id="probe", target="beta", request_id=long),
        ),
        ("lifecycle.DisposePaglet", lifecycle_pb2.DisposePagletRequest(paglet_id="probe", request_id=long)),
    ):
        assert (await send(standing, rpc, request)).what == MALFORMED, rpc
    refusal = await refused(ask(standing.beta.channel, "probe", "Append", "a", request_id=long))
    assert (refusal.what, refusal.fields) == (MALFORMED, ["paglet-request-id"])
    await assert_lives(standing)


async def test_unknown_paglets_and_operations_are_refused(standing: Mesh) -> None:
    """What is not there is named in the error, from whichever host."""
    for channel in (standing.alpha.channel, standing.beta.channel):
        gone = await refused(ask(channel, "nobody", "Read"))
        assert gone.what == (MISSING, "PAGLET_NOT_FOUND")
        assert gone.resource == ("paglet", "nobody")
        unknown = await refused(ask(channel, "probe", "Nope"))
        assert unknown.what == UNKNOWN_OPERATION
        assert unknown.metadata == {"operation": f"{SERVICE}/Nope", "type": PROBE_TYPE}
        nameless = await refused(call(channel, f"/{SERVICE}/Read", b""))
        assert nameless.what == UNKNOWN_OPERATION
        assert "paglet-id" in nameless.message
        for path in ("/", "/nope", "nope", "//", "/a/b/c"):
            odd = await refused(call(channel, path, b"", metadata=[("paglet-id", "probe")]))
            assert odd.code is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("size", [-1, -(2**31)])
async def test_negative_pages_are_refused(standing: Mesh, size: int) -> None:
    """A page of less than nothing is refused and the field named."""
    lists: Sequence[tuple[str, Message]] = (
        ("lifecycle.ListPaglets", lifecycle_pb2.ListPagletsRequest(page_size=size)),
        ("mesh.ListHosts", mesh_pb2.ListHostsRequest(page_size=size)),
        ("directory.ListRows", directory_pb2.ListRowsRequest(page_size=size)),
    )
    for rpc, request in lists:
        refusal = await send(standing, rpc, request)
        assert (refusal.what, refusal.fields) == (MALFORMED, ["page_size"])


@pytest.mark.parametrize("token", ["x", "===", "ä", "MTI6", "\0", "a" * 1000, "AAAA"])
async def test_foreign_page_tokens_are_refused(standing: Mesh, token: str) -> None:
    """A token that this kind of host never gave out is refused."""
    for rpc, request in (
        ("lifecycle.ListPaglets", lifecycle_pb2.ListPagletsRequest(page_token=token)),
        ("mesh.ListHosts", mesh_pb2.ListHostsRequest(page_token=token)),
    ):
        refusal = await send(standing, rpc, request)
        assert (refusal.what, refusal.fields) == (MALFORMED, ["page_token"])


@pytest.mark.parametrize("number", [str(2**63), "9" * 5000, "-1", "1.0", "٣"])
async def test_page_tokens_of_wild_numbers_are_refused(standing: Mesh, number: str) -> None:
    """What looks like a token of a list in the order of numbers, and counts further than any list, is none."""
    for rpc, request in (
        ("lifecycle.GetPagletHistory", lifecycle_pb2.GetPagletHistoryRequest(page_token=page_token(number))),
        ("operation.ListDeadLetters", operation_pb2.ListDeadLettersRequest(page_token=page_token(number))),
    ):
        request.paglet_id = "probe"
        refusal = await send(standing, rpc, request)
        assert (refusal.what, refusal.fields) == (MALFORMED, ["page_token"])


async def test_watch_of_a_bad_id_is_refused(standing: Mesh) -> None:
    """A watch of what can be no paglet would tell nothing for ever."""
    for bad in ("..", "UPPER", "x" * 200):
        watch = standing.alpha.client.watch(paglet_id=bad, snapshot=True)
        async with asyncio.timeout(5):
            with pytest.raises(InvalidArgumentError) as caught:
                await anext(watch)
        assert (caught.value.reason, caught.value.field) == ("INVALID_ID", "paglet_id")


async def test_unknown_host_is_refused(standing: Mesh) -> None:
    """A host that is not of the mesh is named in the error, however long its name."""
    for name in ("nowhere", "..", "x" * 100_000):
        refusal = await send(standing, "mesh.GetHost", mesh_pb2.GetHostRequest(name=name))
        assert refusal.what == (MISSING, "HOST_NOT_FOUND")


@pytest.mark.parametrize("hops", ["2", "99", "-1", "x", "9" * 100])
async def test_forged_hops_end_the_way(standing: Mesh, hops: str) -> None:
    """A call that claims to have been forwarded too often is answered by the owner, and by nobody else."""
    metadata = [("paglet-hops", hops)]
    assert (await ask(standing.alpha.channel, "probe", "Read", metadata=metadata)).text == ""
    refusal = await refused(ask(standing.beta.channel, "probe", "Read", metadata=metadata))
    assert refusal.what == (grpc.StatusCode.UNAVAILABLE, "PAGLET_MOVED")
    assert refusal.retry_s is not None


@pytest.mark.parametrize("key", ["paglet-id", "paglet-request-id"])
async def test_keys_that_come_twice_are_refused(standing: Mesh, key: str) -> None:
    """Which of two paglets or requests is meant is not guessed, also when both are the same."""
    for channel, second in itertools.product((standing.alpha.channel, standing.beta.channel), ("probe", "other")):
        sent = [("paglet-id", "probe"), (key, "probe"), (key, second)]
        refusal = await refused(call(channel, f"/{SERVICE}/Append", b"", metadata=sent))
        assert (refusal.what, refusal.fields) == (MALFORMED, [key])
    await assert_lives(standing)


async def test_large_metadata_do_no_harm(standing: Mesh) -> None:
    """Metadata within the limit pass through a forwarding host; more than that is refused, and nothing breaks."""
    fits = [("x-mine", "v" * 30_000), ("x-raw-bin", bytes(range(256)))]
    for channel in (standing.alpha.channel, standing.beta.channel):
        assert (await ask(channel, "probe", "Read", metadata=fits)).text == ""
        with pytest.raises(grpc.aio.AioRpcError):
            await ask(channel, "probe", "Read", metadata=[("x-mine", "v" * 100_000)])
    await assert_lives(standing)


async def test_wrong_message_for_a_task_is_refused(standing: Mesh) -> None:
    """A task takes its own request message only; odd timeouts of a wait do no harm."""
    paglet_id = (
        await standing.alpha.client.create("paglets.patterns.file_mobility.SingleFileTransferPaglet")
    ).paglet_id
    metadata = [("paglet-id", paglet_id)]
    start = task_pb2.TaskServiceStartRequest()
    for type_url, value in (("", b""), ("x/y", b"1"), ("type.googleapis.com/google.protobuf.Empty", b"\xff")):
        start.request.type_url, start.request.value = type_url, value
        path = "/paglet.v1.TaskService/Start"
        refusal = await refused(call(standing.beta.channel, path, start.SerializeToString(), metadata=metadata))
        assert refusal.what == MALFORMED
    for seconds, nanos in ((-5, 0), (0, -1), (-(2**62), 0)):
        wait = task_pb2.TaskServiceWaitRequest(timeout=Duration(seconds=seconds, nanos=nanos))
        await call(standing.alpha.channel, "/paglet.v1.TaskService/Wait", wait.SerializeToString(), metadata=metadata)
    forever = task_pb2.TaskServiceWaitRequest(timeout=Duration(seconds=2**62))
    with pytest.raises(grpc.aio.AioRpcError, match="DEADLINE_EXCEEDED"):
        await call(
            standing.alpha.channel,
            "/paglet.v1.TaskService/Wait",
            forever.SerializeToString(),
            metadata=metadata,
            timeout_s=0.2,
        )
    await assert_lives(standing)
