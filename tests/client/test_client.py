"""What a client asks of a host for its user."""

from __future__ import annotations

import asyncio
import io
import uuid
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from paglet.v1 import lifecycle_pb2, mesh_pb2, mesh_pb2_grpc
from paglets.artifacts.store import ArtifactWrite
from paglets.client.client import Client
from paglets.core.paglet import Paglet
from paglets.errors import CancelledCallError, ConflictError, InvalidArgumentError, NotFoundError, UnavailableError
from paglets.values import JourneyInfo, JourneyPhase, PagletInfo, PagletState
from tests.client.scripted import PATIENCE_S, Script, paglet, serving


@dataclass
class CartState:
    """The state of a cart."""

    items: int = 0
    owner: str = ""


class Cart(Paglet[CartState]):
    """A cart."""


def away(host: str) -> UnavailableError:
    """What a host says when another cannot be reached."""
    return UnavailableError("HOST_UNREACHABLE", f"{host} is away", metadata={"host": host})


async def test_create_by_class_and_dataclass() -> None:
    """A class stands for its name and a dataclass for its JSON; the request has an id of its own."""
    script = Script()
    async with serving(script) as address, Client(address) as client:
        proxy = await client.create(Cart, state=CartState(3, "ann"), paglet_id="cart-1")
    (request,) = script.of("CreatePaglet", lifecycle_pb2.CreatePagletRequest)
    assert (proxy.paglet_id, request.paglet_id, request.type) == ("cart-1", "cart-1", f"{__name__}.Cart")
    assert request.state_json == '{"items":3,"owner":"ann"}'
    assert uuid.UUID(request.request_id)


async def test_create_by_name_and_text() -> None:
    """A name and JSON text go as they are; without an id the host's choice is taken."""
    script = Script()
    async with serving(script) as address, Client(address) as client:
        proxy = await client.create("shop.Cart", state='{"items": 1}', request_id="r-1")
    (request,) = script.of("CreatePaglet", lifecycle_pb2.CreatePagletRequest)
    assert (proxy.paglet_id, request.state_json, request.request_id) == ("p-1", '{"items": 1}', "r-1")


async def test_create_is_repeated_as_the_same_request() -> None:
    """A create that found no answer is made again with the same request id."""
    script = Script(failures=[UnavailableError("DIRECTORY_UNAVAILABLE", "away")] * 2)
    async with serving(script) as address, Client(address) as client:
        await client.create("shop.Cart")
    requests = script.of("CreatePaglet", lifecycle_pb2.CreatePagletRequest)
    assert len(requests) == 3
    assert len({request.request_id for request in requests}) == 1


async def test_state_that_is_no_json_is_refused_here() -> None:
    """A dataclass that JSON cannot hold is refused before anything is sent."""

    @dataclass
    class Odd:
        value: object

    script = Script()
    async with serving(script) as address, Client(address) as client:
        with pytest.raises(InvalidArgumentError) as caught:
            await client.create("shop.Cart", state=Odd(object()))
    assert (caught.value.reason, caught.value.field) == ("STATE_INVALID", "state_json")
    assert script.asked == []


async def test_list_goes_over_all_pages() -> None:
    """All paglets come, page by page, with the same filters on every page."""
    script = Script(paglets=[paglet(f"c-{number}") for number in range(5)])
    async with serving(script) as address, Client(address) as client:
        found = [info.paglet_id async for info in client.list(host="alpha", type="shop.Cart", page_size=2)]
    assert found == ["c-0", "c-1", "c-2", "c-3", "c-4"]
    pages = script.of("ListPaglets", lifecycle_pb2.ListPagletsRequest)
    assert [(page.page_size, page.page_token) for page in pages] == [(2, ""), (2, "2"), (2, "4")]
    assert {(page.host, page.type) for page in pages} == {("alpha", "shop.Cart")}


async def test_hosts_goes_over_all_pages() -> None:
    """All hosts come; one is found by name, and the asked one without."""
    script = Script(hosts=[mesh_pb2.Host(name=name, online=name != "beta") for name in ("alpha", "beta", "gamma")])
    async with serving(script) as address, Client(address) as client:
        assert [(host.name, host.online) for host in await client.hosts()] == [
            ("alpha", True),
            ("beta", False),
            ("gamma", True),
        ]
        assert (await client.host("beta")).name == "beta"
        assert (await client.host()).name == "alpha"


async def test_get_describes_a_paglet() -> None:
    """All that the host says of a paglet comes out as a value."""
    script = Script()
    async with serving(script) as address, Client(address) as client:
        info = await client.proxy("c-1").info()
    assert info == PagletInfo(
        paglet_id="c-1", type="shop.Cart", host="alpha", state=PagletState.ACTIVE, epoch=3, services=("shop.V1",)
    )


async def test_dispatch_tells_how_the_journey_comes_on() -> None:
    """While the dispatch waits, each look at the paglet's journey is told; it has no deadline of its own."""
    push = lifecycle_pb2.JOURNEY_PHASE_PUSH
    held = asyncio.Event()
    script = Script(held=held)
    script.journeys = [
        lifecycle_pb2.Journey(transfer_id="t", source="alpha", target="beta", phase=push, bytes_done=n, bytes_total=9)
        for n in (3, 6)
    ]
    told: list[JourneyInfo] = []
    async with serving(script) as address, Client(address) as client:
        moving = asyncio.create_task(client.proxy("c-1").dispatch("beta", progress=told.append, progress_period_s=0.01))
        await asyncio.wait_for(script.journey_seen.wait(), PATIENCE_S)
        held.set()
        info = await asyncio.wait_for(moving, PATIENCE_S)
    assert (info.host, info.state) == ("beta", PagletState.ACTIVE)
    assert [(journey.phase, journey.bytes_done, journey.bytes_total) for journey in told] == [
        (JourneyPhase.PUSH, 3, 9),
        (JourneyPhase.PUSH, 6, 9),
    ]
    (asked,) = script.asked
    assert asked.deadline_s is None or asked.deadline_s > 1e6


async def test_failed_dispatch_raises_its_own_error_with_progress_too() -> None:
    """The error of a move is not wrapped in anything."""
    script = Script(failures=[ConflictError("JOURNEY_ABORTED", "given up")])
    async with serving(script) as address, Client(address) as client:
        with pytest.raises(ConflictError, match="given up"):
            await client.dispatch("c-1", "beta", progress=lambda _: None)


async def test_error_of_the_progress_callback_comes_out() -> None:
    """What the callback raises ends the wait and is the caller's to see."""
    script = Script(held=asyncio.Event())
    script.journeys = [lifecycle_pb2.Journey(phase=lifecycle_pb2.JOURNEY_PHASE_SEAL)]

    def broken(_journey: JourneyInfo) -> None:
        raise ZeroDivisionError("in the callback")

    async with serving(script) as address, Client(address) as client:
        with pytest.raises(ZeroDivisionError, match="in the callback"):
            await client.dispatch("c-1", "beta", progress=broken)


async def test_dispatch_to_a_host_that_is_away_fails_at_once() -> None:
    """A target that cannot be reached ends the move; an owner that cannot is waited for."""
    script = Script(failures=[away("alpha"), away("beta")])
    async with serving(script) as address, Client(address) as client:
        with pytest.raises(UnavailableError, match="beta is away"):
            await client.dispatch("c-1", "beta")
    requests = script.of("DispatchPaglet", lifecycle_pb2.DispatchPagletRequest)
    assert len(requests) == 2
    assert len({request.request_id for request in requests}) == 1


async def test_dispatch_with_a_timeout_has_that_deadline() -> None:
    """A given timeout goes to the host, so that it can answer ARRIVING in time."""
    script = Script()
    async with serving(script) as address, Client(address) as client:
        await client.dispatch("c-1", "beta", timeout_s=5)
    assert 0 < (script.asked[0].deadline_s or 0) < 6


async def test_dispose_is_repeated_as_the_same_request() -> None:
    """A dispose that found no answer is made again with the same id; what is not there is an error."""
    script = Script(failures=[away("alpha")])
    async with serving(script) as address, Client(address) as client:
        await client.proxy("c-1").dispose()
        script.failures.append(NotFoundError("PAGLET_NOT_FOUND", "no such paglet"))
        with pytest.raises(NotFoundError):
            await client.dispose("c-1", request_id="mine")
    ids = [request.request_id for request in script.of("DisposePaglet", lifecycle_pb2.DisposePagletRequest)]
    assert ids[0] == ids[1]
    assert ids[2] == "mine"


async def test_reach_says_at_once_that_nobody_is_there() -> None:
    """Without a host at the address, reach fails in one attempt instead of waiting for one."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with Client("127.0.0.1:1") as client:
        with pytest.raises(UnavailableError) as caught:
            await client.reach()
    assert caught.value.reason == "TRANSPORT"
    assert loop.time() - began < 5


async def test_reach_describes_the_host() -> None:
    """With a host at the address, reach says which."""
    async with serving(Script()) as address, Client(address) as client:
        assert (await client.reach()).name == "alpha"


@pytest.mark.parametrize("used", [False, True], ids=["unused", "used"])
async def test_closed_client_stays_closed(tmp_path: Path, *, used: bool) -> None:
    """Whatever is asked of a client after its end is CANCELLED, also what it was never asked before."""
    script = Script()
    async with serving(script) as address:
        async with Client(address) as client:
            if used:
                await client.reach()
            kept = client.artifacts if used else None
        asked = len(script.asked)

        async def read() -> None:
            async with (kept or client.artifacts).open_reader("a-1"):
                pass

        for attempt in (
            client.reach(),
            client.host(),
            client.dispatch("c-1", "beta"),
            client.artifacts.ref("a-1"),
            client.artifacts.export_to_path("a-1", tmp_path / "file"),
            client.artifacts.create_from_stream(ArtifactWrite(), io.BytesIO(b"abc")),
            read(),
        ):
            with pytest.raises(CancelledCallError) as caught:
                await attempt
            assert caught.value.reason == "CANCELLED"
    assert len(script.asked) == asked


async def test_channel_is_for_plain_stubs_too() -> None:
    """The client's own channel is gRPC's, without anything of ours: a plain stub fails at once, as gRPC does."""
    script = Script(failures=[away("alpha")])
    async with serving(script) as address, Client(address) as client:
        stub: mesh_pb2_grpc.MeshServiceAsyncStub = mesh_pb2_grpc.MeshServiceStub(client.channel)
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.GetHost(mesh_pb2.GetHostRequest())
    assert len(script.asked) == 1
