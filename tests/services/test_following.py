"""Calls follow their paglet: during a journey, after it, and through hosts that know nothing of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2

from paglet.v1 import lifecycle_pb2, lifecycle_pb2_grpc
from paglets.client.client import Client
from paglets.config import HostSettings
from paglets.directory.contract import Directory, Guard, HostRegistration, PagletRow, RowWrite
from paglets.errors import Resource, UnavailableError
from paglets.services.guard import ServerContext, abort_with
from paglets.testing import local_host
from paglets.values import PagletState
from paglets.wire.channel_options import SERVER_OPTIONS
from tests.host.conftest import Mesh, site
from tests.host.probe_service import SERVICE
from tests.host.stage import STAGE
from tests.host.support import PROBE_MODULE, PROBE_TYPE, ask, call, eventually, refused


@pytest.fixture
async def stranger(mesh: Mesh) -> AsyncIterator[Client]:
    """A third host of the mesh, which knows no probes."""
    async with (
        local_host("gamma", join=mesh.alpha.running.address) as gamma,
        Client(gamma.address) as client,
    ):
        yield client


@pytest.mark.parametrize("spot", ["on_dispatching", "on_arrival"])
async def test_calls_wait_for_the_end_of_a_journey(mesh: Mesh, spot: str) -> None:
    """Turns and reads that come while the paglet is on its way run at the new place, whichever host they came to."""
    probe = await mesh.probe()
    await ask(mesh.alpha.channel, probe, "Append", "a")
    STAGE.hold(spot)
    move = asyncio.create_task(mesh.alpha.client.dispatch(probe, "beta"))
    await STAGE.reached(spot)
    calls = [
        asyncio.create_task(ask(site.channel, probe, operation, "b"))
        for site in (mesh.alpha, mesh.beta)
        for operation in ("Append", "Read")
    ]
    info = await mesh.beta.client.get(probe)
    assert (info.host, info.state) == {"on_dispatching": ("alpha", "active"), "on_arrival": ("beta", "arriving")}[spot]
    assert not any(running.done() for running in calls)
    STAGE.release(spot)
    replies = await asyncio.gather(*calls)
    assert {reply.trailing["paglet-host"] for reply in replies} == {"beta"}
    assert (await ask(mesh.alpha.channel, probe, "Read")).text == "a b b"
    await move


async def test_core_15_answers_teach_the_way(mesh: Mesh, stranger: Client) -> None:
    """Replies and refusals name the host that answered and its epoch, through however many hosts they came."""
    probe = await mesh.probe()
    epochs: list[int] = []
    for owner in ("alpha", "beta"):
        await mesh.alpha.client.dispatch(probe, owner)
        row = await mesh.alpha.client.get(probe)
        epochs.append(row.epoch)
        for channel in (mesh.alpha.channel, mesh.beta.channel, stranger.channel):
            reply = await ask(channel, probe, "Read")
            failed = await refused(ask(channel, probe, "Fail", "refused"))
            for trailing in (reply.trailing, failed.trailing):
                assert (trailing["paglet-host"], trailing["paglet-epoch"]) == (owner, str(row.epoch))
    assert epochs[0] < epochs[1]


async def test_host_that_knows_no_such_type_passes_on(mesh: Mesh, stranger: Client) -> None:
    """A host without the type forwards bytes, and questions about the paglet; in lists it knows of no services."""
    probe = await mesh.probe()
    assert (await ask(stranger.channel, probe, "Append", "a")).text == "a"
    await mesh.alpha.client.dispatch(probe, "beta")
    assert (await ask(stranger.channel, probe, "Append", "b")).text == "a b"
    assert (await stranger.get(probe)).services == (SERVICE,)
    assert [info.services async for info in stranger.list()] == [()]
    assert (await mesh.alpha.client.get(probe)).services == (SERVICE,)
    refusal = await refused(_dispatch(stranger, probe, "gamma"))
    assert refusal.what == (grpc.StatusCode.FAILED_PRECONDITION, "TYPE_NOT_ALLOWED")
    await stranger.dispatch(probe, "alpha")
    await stranger.dispose(probe)
    gone = await refused(ask(mesh.alpha.channel, probe, "Read"))
    assert gone.what == (grpc.StatusCode.NOT_FOUND, "PAGLET_NOT_FOUND")


async def test_reflection_is_the_owners(mesh: Mesh, stranger: Client) -> None:
    """Reflection with `paglet-id` is answered by the owner, also about services that the asked host does not have."""
    probe = await mesh.probe()
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    assert SERVICE not in await _services(stranger.channel, request, [])
    for owner in ("alpha", "beta"):
        await mesh.alpha.client.dispatch(probe, owner)
        assert SERVICE in await _services(stranger.channel, request, [("paglet-id", probe)])
    refusal = await refused(_services(stranger.channel, request, [("paglet-id", "..")]))
    assert refusal.what == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ID")


async def test_reflection_about_nobody_is_the_hosts_own(mesh: Mesh) -> None:
    """A tool that reflects first goes on to the call, which says that there is no such paglet."""
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    metadata: list[tuple[str, str | bytes]] = [("paglet-id", "nobody")]
    for channel in (mesh.alpha.channel, mesh.beta.channel):
        assert await _services(channel, request, metadata) == await _services(channel, request, [])


async def test_reflection_never_goes_in_circles(mesh: Mesh) -> None:
    """A paglet that is nowhere, though the directory says where, ends a reflection with an error."""
    await _put(mesh.alpha.host.parts.directory, "lost", "beta")
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    for channel in (mesh.alpha.channel, mesh.beta.channel):
        refusal = await refused(_services(channel, request, [("paglet-id", "lost")]))
        assert refusal.what == (grpc.StatusCode.UNAVAILABLE, "PAGLET_MOVED")
        call_refusal = await refused(ask(channel, "lost", "Read"))
        assert call_refusal.what == (grpc.StatusCode.UNAVAILABLE, "PAGLET_MOVED")


async def test_owner_that_is_away_is_named(mesh: Mesh) -> None:
    """A call for a paglet of a host that does not answer says which host that is; other calls go on."""
    ghost = HostRegistration(name="ghost", uid="ghost", address="127.0.0.1:9")
    directory = mesh.alpha.host.parts.directory
    await directory.lease_register(ghost, 60)
    await _put(directory, "away", "ghost")
    for channel in (mesh.alpha.channel, mesh.beta.channel):
        refusal = await refused(ask(channel, "away", "Read"))
        assert refusal.what == (grpc.StatusCode.UNAVAILABLE, "TRANSPORT")
        assert refusal.metadata == {"host": "ghost"}
        assert refusal.retry_s is not None
    info = await mesh.beta.client.get("away")
    assert (info.host, info.state) == ("ghost", "active")


async def test_remembered_place_that_died_is_forgotten(mesh: Mesh, tmp_path: Path) -> None:
    """A host that remembers a place nobody answers at any more asks the directory again."""
    async with AsyncExitStack() as stack:
        gamma = await stack.enter_async_context(
            local_host("gamma", allow=["tests.host.probe"], join=mesh.alpha.running.address, data=tmp_path / "gamma")
        )
        probe = await mesh.probe()
        await mesh.alpha.client.dispatch(probe, "gamma")
        assert (await ask(mesh.beta.channel, probe, "Append", "a")).trailing["paglet-host"] == "gamma"
        await mesh.alpha.client.dispatch(probe, "alpha")
        assert gamma.host.residents.get(probe) is None

    async def found() -> bool:
        try:
            return (await ask(mesh.beta.channel, probe, "Read")).text == "a"
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            return False

    await eventually(found)


async def test_answer_that_cannot_be_read_is_passed_on(mesh: Mesh) -> None:
    """What an owner answers comes through untouched, also when its details are of a kind that nobody here knows."""
    odd = (("grpc-status-details-bin", b"\xff\xff\xff"), ("x-mine", "1"))

    async def refuse(_request: bytes, context: ServerContext) -> bytes:
        await context.abort(grpc.StatusCode.UNAVAILABLE, "theirs", odd)

    async with _answering(mesh, refuse):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ask(mesh.beta.channel, "elsewhere", "Read")
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.UNAVAILABLE, "theirs")
    assert set(odd) <= set(caught.value.trailing_metadata() or ())


async def test_handler_that_misses_a_third_is_heard(mesh: Mesh) -> None:
    """A handler that could not reach somebody else says so itself; that its own host is lost is not made of it."""
    said = UnavailableError("TRANSPORT", "the third did not answer", metadata={"who": "third"})

    async def refuse(_request: bytes, context: ServerContext) -> bytes:
        await abort_with(context, said)

    async with _answering(mesh, refuse):
        refusal = await refused(ask(mesh.beta.channel, "elsewhere", "Read"))
    assert (refusal.message, refusal.metadata) == (said.message, said.metadata)


@pytest.mark.parametrize("same_id", [True, False], ids=["same id", "other id"])
async def test_stranger_at_an_old_address_runs_nothing(tmp_path: Path, *, same_id: bool) -> None:
    """A host of another mesh that took the port of an owner is not taken for it, whatever paglets it has."""
    async with AsyncExitStack() as stack:
        alpha = await site(stack, tmp_path, "alpha")
        async with AsyncExitStack() as first_life:
            beta = await site(first_life, tmp_path, "beta", join=alpha.running.address)
            old = beta.running.address
            await alpha.client.create(PROBE_TYPE, paglet_id="probe")
            await alpha.client.dispatch("probe", "beta")
            assert (await ask(alpha.channel, "probe", "Append", "a")).trailing["paglet-host"] == "beta"
        settings = HostSettings(name="beta", data=tmp_path / "stranger", listen=old, allow=(PROBE_MODULE,))
        await stack.enter_async_context(local_host(settings=settings))
        async with Client(old) as client:
            await client.create(PROBE_TYPE, paglet_id="probe" if same_id else "other")

        async def turned_away() -> bool:
            refusal = await refused(ask(alpha.channel, "probe", "Append", "b"))
            assert refusal.code is grpc.StatusCode.UNAVAILABLE
            return refusal.reason == "PAGLET_MOVED"  # it is TRANSPORT while alpha finds its old connection broken

        await eventually(turned_away)
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        about = await refused(_services(alpha.channel, request, [("paglet-id", "probe")]))
        assert about.what == (grpc.StatusCode.UNAVAILABLE, "PAGLET_MOVED")
        beta = await site(stack, tmp_path, "beta", join=alpha.running.address)
        assert beta.running.address != old
        assert (await ask(alpha.channel, "probe", "Append", "c")).text == "a c"
        assert SERVICE in await _services(alpha.channel, request, [("paglet-id", "probe")])


async def test_call_for_another_host_is_refused(mesh: Mesh) -> None:
    """A host runs nothing that was passed on to another one; what names itself, or nobody, is taken."""
    probe = await mesh.probe()
    (alpha, _) = await mesh.alpha.host.parts.directory.hosts()
    elsewhere = [("paglet-to", "somebody")]
    get = lifecycle_pb2.GetPagletRequest(paglet_id=probe).SerializeToString()
    for attempt in (
        ask(mesh.alpha.channel, probe, "Append", "a", metadata=elsewhere),
        call(mesh.alpha.channel, "/paglet.v1.LifecycleService/GetPaglet", get, metadata=elsewhere),
    ):
        refusal = await refused(attempt)
        assert refusal.what == (grpc.StatusCode.UNAVAILABLE, "PAGLET_MOVED")
        assert refusal.resource == ("paglet", probe)
    assert (await ask(mesh.alpha.channel, probe, "Append", "b", metadata=[("paglet-to", alpha.uid)])).text == "b"


async def test_place_that_nobody_knows_is_not_learned(mesh: Mesh) -> None:
    """A trailing `paglet-host` that names no host of the mesh leaves the next call to the directory."""

    async def lie(_request: bytes, context: ServerContext) -> bytes:
        context.set_trailing_metadata((("paglet-host", "nosuchhost"),))
        return b""

    async with _answering(mesh, lie) as asked:
        for _ in range(3):
            await ask(mesh.beta.channel, "elsewhere", "Read")
    assert len(asked) == 3
    assert all(("paglet-to", "odd-uid") in (details.invocation_metadata or ()) for details in asked)


async def test_reflection_that_is_refused_at_once_says_why(mesh: Mesh) -> None:
    """What an owner says before it has read the request comes through, and not that the request could not be sent."""
    said = UnavailableError("PAGLET_MOVED", "not here", resource=Resource("paglet", "elsewhere"))
    request = reflection_pb2.ServerReflectionRequest(list_services="")

    async def refuse(_request: bytes, context: ServerContext) -> bytes:
        await abort_with(context, said)

    async with _answering(mesh, refuse):
        for _ in range(50):  # which of the two comes first is a race
            refusal = await refused(_services(mesh.beta.channel, request, [("paglet-id", "elsewhere")]))
            assert refusal.what == (grpc.StatusCode.UNAVAILABLE, "PAGLET_MOVED")


async def test_owner_that_is_no_host_is_not_remembered(mesh: Mesh) -> None:
    """Once the directory has another owner, calls go there, whatever was said of one that it does not know."""
    directory = mesh.alpha.host.parts.directory
    row = await _put(directory, "orphan", "nosuchhost")
    refusal = await refused(ask(mesh.beta.channel, "orphan", "Read"))
    assert refusal.what == (grpc.StatusCode.NOT_FOUND, "HOST_NOT_FOUND")

    async def answer(_request: bytes, _context: ServerContext) -> bytes:
        return b""

    async with _answering(mesh, answer) as asked:
        await directory.apply([RowWrite(Guard.on(row), replace(row, owner="odd", epoch=row.epoch + 1), "commit")])
        await ask(mesh.beta.channel, "orphan", "Read")
    assert len(asked) == 1


@asynccontextmanager
async def _answering(
    mesh: Mesh, answer: Callable[[bytes, ServerContext], Awaitable[bytes]]
) -> AsyncGenerator[list[grpc.HandlerCallDetails]]:
    """A host `odd` of the mesh that answers every call by `answer` and owns `elsewhere`; gives the calls that came."""
    asked: list[grpc.HandlerCallDetails] = []

    async def unread(_requests: AsyncIterator[bytes], context: ServerContext) -> AsyncIterator[bytes]:
        yield await answer(b"", context)

    class Handler(grpc.GenericRpcHandler):
        def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
            asked.append(handler_call_details)
            # The stubs type a handler's behaviour for threads.
            single: Any = answer
            stream: Any = unread
            if "reflection" in handler_call_details.method:
                return grpc.stream_stream_rpc_method_handler(stream)
            return grpc.unary_unary_rpc_method_handler(single)

    server = grpc.aio.server(options=SERVER_OPTIONS, handlers=(Handler(),))
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    directory = mesh.alpha.host.parts.directory
    await directory.lease_register(HostRegistration(name="odd", uid="odd-uid", address=address), 60)
    await _put(directory, "elsewhere", "odd")
    try:
        yield asked
    finally:
        await server.stop(None)


async def _put(directory: Directory, paglet_id: str, owner: str) -> PagletRow:
    row = PagletRow(paglet_id=paglet_id, type=PROBE_TYPE, owner=owner, state=PagletState.ACTIVE)
    (written,) = await directory.apply([RowWrite(Guard(paglet_id, absent=True), row, "create")])
    return written


async def _dispatch(client: Client, paglet_id: str, target: str) -> None:
    stub = lifecycle_pb2_grpc.LifecycleServiceStub(client.channel)
    await stub.DispatchPaglet(lifecycle_pb2.DispatchPagletRequest(paglet_id=paglet_id, target=target), timeout=20)


async def _services(
    channel: grpc.aio.Channel,
    request: reflection_pb2.ServerReflectionRequest,
    metadata: list[tuple[str, str | bytes]],
) -> set[str]:
    rpc = channel.stream_stream(
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    names: set[str] = set()
    async for answer in rpc(iter([request]), metadata=metadata, timeout=20):
        names |= {service.name for service in answer.list_services_response.service}
    return names
