"""Streaming operations of a paglet: beside its turns, durable, and never ended without a word."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from google.rpc.status_pb2 import Status

from paglets.client.call_end import CallEnd
from paglets.client.client import Client
from paglets.config import HostSettings
from paglets.errors import DeadlineError, PagletError
from paglets.testing import RunningHost, local_host
from tests.host.stage import STAGE
from tests.host.streamer import SERVICE, STREAMER_MODULE, STREAMER_TYPE
from tests.host.support import eventually, refusal_of, refused

ID = "streamer"
_PATIENCE_S = 20.0


class Place:
    """A running host, and plain calls of the streamer by way of it."""

    def __init__(self, running: RunningHost, client: Client, life: AsyncExitStack) -> None:
        self.running = running
        self.client = client
        self.life = life

    def open(
        self,
        name: str,
        text: str = "",
        *,
        timeout_s: float | None = _PATIENCE_S,
        metadata: Sequence[tuple[str, str | bytes]] = (),
    ) -> grpc.aio.UnaryStreamCall[StringValue, StringValue]:
        """A call that is answered by a stream."""
        rpc: grpc.aio.UnaryStreamMultiCallable[StringValue, StringValue] = self.client.channel.unary_stream(
            f"/{SERVICE}/{name}", StringValue.SerializeToString, StringValue.FromString
        )
        return rpc(StringValue(value=text), metadata=[("paglet-id", ID), *metadata], timeout=timeout_s)

    def chat(self) -> grpc.aio.StreamStreamCall[StringValue, StringValue]:
        """A call of two streams."""
        rpc: grpc.aio.StreamStreamMultiCallable[StringValue, StringValue] = self.client.channel.stream_stream(
            f"/{SERVICE}/Chat", StringValue.SerializeToString, StringValue.FromString
        )
        return rpc(metadata=[("paglet-id", ID)], timeout=_PATIENCE_S)

    def collect(
        self, requests: AsyncIterator[StringValue], name: str = "Collect"
    ) -> grpc.aio.StreamUnaryCall[StringValue, StringValue]:
        """A stream that is answered once."""
        rpc: grpc.aio.StreamUnaryMultiCallable[StringValue, StringValue] = self.client.channel.stream_unary(
            f"/{SERVICE}/{name}", StringValue.SerializeToString, StringValue.FromString
        )
        return rpc(requests, metadata=[("paglet-id", ID)], timeout=_PATIENCE_S)

    async def hold(self, spot: str) -> StringValue:
        """A turn that stays at a spot, by a request id, as most calls have one."""
        rpc: grpc.aio.UnaryUnaryMultiCallable[StringValue, StringValue] = self.client.channel.unary_unary(
            f"/{SERVICE}/Hold", StringValue.SerializeToString, StringValue.FromString
        )
        metadata = [("paglet-id", ID), ("paglet-request-id", spot)]
        return await rpc(StringValue(value=spot), metadata=metadata, timeout=_PATIENCE_S)


class Places:
    """Alpha has the streamer, beta knows its class, gamma has never heard of it."""

    def __init__(self, alpha: Place, beta: Place, gamma: Place) -> None:
        self.alpha = alpha
        self.beta = beta
        self.gamma = gamma


async def _place(stack: AsyncExitStack, folder: Path, name: str, allow: Sequence[str], join: str = "") -> Place:
    settings = HostSettings(name=name, data=folder / name, listen="127.0.0.1:0", drain_s=1.0, quiesce_s=1.0)
    settings = replace(settings, max_calls_of_caller=8)
    life = await stack.enter_async_context(AsyncExitStack())
    running = await life.enter_async_context(
        local_host(name, allow=allow, join=join, data=folder / name, settings=settings)
    )
    return Place(running, await stack.enter_async_context(Client(running.address)), life)


@pytest.fixture
async def places(tmp_path: Path) -> AsyncIterator[Places]:
    """Three hosts, and the streamer."""
    async with AsyncExitStack() as stack:
        alpha = await _place(stack, tmp_path, "alpha", [STREAMER_MODULE])
        address = alpha.running.address
        beta = await _place(stack, tmp_path, "beta", [STREAMER_MODULE], address)
        gamma = await _place(stack, tmp_path, "gamma", [], address)
        await alpha.client.create(STREAMER_TYPE, paglet_id=ID)
        yield Places(alpha, beta, gamma)
        STAGE.clear()


async def _next(call: grpc.aio.UnaryStreamCall[StringValue, StringValue]) -> str:
    message = await call.read()
    assert isinstance(message, StringValue)
    return message.value


async def _all(call: grpc.aio.UnaryStreamCall[StringValue, StringValue]) -> list[str]:
    return [message.value async for message in call]


async def _texts(*texts: str) -> AsyncIterator[StringValue]:
    for text in texts:
        yield StringValue(value=text)


async def _eventually_waiting(place: Place) -> None:
    """Waits until something waits for a turn of the streamer."""

    async def is_waiting() -> bool:
        resident = place.running.host.residents.get(ID)
        return resident is not None and resident.gate.waiting == 1

    await eventually(is_waiting)


async def _noted(beginning: str, times: int) -> None:
    """Waits until so many notes begin with a text."""

    async def are_noted() -> bool:
        return sum(note.startswith(beginning) for note in STAGE.notes) == times

    await eventually(are_noted)


@pytest.mark.parametrize("host", ["alpha", "gamma"])
async def test_stream_runs_beside_turns_and_streams(places: Places, host: str) -> None:
    """A turn that takes its time holds up neither a stream that reads nor another one; both see what is durable."""
    place: Place = getattr(places, host)
    STAGE.hold("turn")
    turn = asyncio.create_task(places.alpha.hold("turn"))
    await STAGE.reached("turn")
    follow, chat = place.open("Follow"), place.chat()
    await chat.write(StringValue(value="hello"))
    answer = await chat.read()
    assert isinstance(answer, StringValue)
    assert answer.value == "alpha:hello"
    STAGE.release("turn")
    await turn
    assert await _next(follow) == "alpha:turn"
    chat.cancel()
    follow.cancel()


async def test_turns_of_a_stream_are_durable_before_it_tells_of_them(places: Places) -> None:
    """What a stream has said is found by whoever asks next, and after a move."""
    assert await _all(places.alpha.open("Write", "20")) == [str(number) for number in range(20)]
    follow = places.alpha.open("Follow")
    assert [await _next(follow) for _ in range(20)] == [f"alpha:{number}" for number in range(20)]
    follow.cancel()


@pytest.mark.parametrize("host", ["alpha", "beta", "gamma"])
async def test_stream_that_is_cut_by_a_move_goes_on_where_the_paglet_is(places: Places, host: str) -> None:
    """The reader is told that the stream had begun and was cut, and opens the next one at the same host."""
    place: Place = getattr(places, host)
    await _all(places.alpha.open("Write", "2"))
    follow = place.open("Follow")
    assert [await _next(follow) for _ in range(2)] == ["alpha:0", "alpha:1"]
    await places.alpha.client.dispatch(ID, "beta")
    refusal = await refused(follow.read())
    assert refusal.what == (grpc.StatusCode.UNAVAILABLE, "PAGLET_MOVED")
    assert refusal.metadata["begun"] == "true"
    assert refusal.resource == ("paglet", ID)
    assert refusal.trailing["paglet-host"] == "alpha"
    assert STAGE.notes == ["follow ended on alpha"]
    follow = place.open("Follow", "1")
    assert await _next(follow) == "beta:1"
    follow.cancel()


async def test_stream_is_told_of_before_its_first_message(places: Places) -> None:
    """Initial metadata say who answers, also through a host that passes on, while the stream is at work."""
    await _all(places.alpha.open("Write", "1"))
    for place in (places.alpha, places.beta, places.gamma):
        follow = place.open("Follow")
        assert dict(await follow.initial_metadata())["paglet-host"] == "alpha"
        follow.cancel()


async def test_stale_way_costs_no_request(places: Places) -> None:
    """A host that remembers an old place passes the requests that came meanwhile on to the new one, all of them."""
    assert (await places.gamma.collect(_texts("a"))).value == "alpha:1"
    await places.alpha.client.dispatch(ID, "beta")
    for place in (places.gamma, places.alpha, places.beta):
        assert (await place.collect(_texts("b", "c", "d"))).value == "beta:3"


@pytest.mark.parametrize("what", ["deactivate", "dispose"])
async def test_stream_is_cut_when_its_paglet_rests_or_ends(places: Places, what: str) -> None:
    """The next one wakes it, or is told that it is gone."""
    await _all(places.alpha.open("Write", "1"))
    follow = places.gamma.open("Follow")
    await _next(follow)
    await getattr(places.alpha.client, what)(ID)
    refusal = await refused(follow.read())
    assert (refusal.what, refusal.metadata["begun"]) == ((grpc.StatusCode.UNAVAILABLE, "PAGLET_MOVED"), "true")
    again = places.gamma.open("Follow")
    if what == "deactivate":
        assert await _next(again) == "alpha:0"
        again.cancel()
    else:
        assert (await refused(again.read())).what == (grpc.StatusCode.NOT_FOUND, "PAGLET_NOT_FOUND")


async def test_stream_is_cut_when_its_host_ends(places: Places) -> None:
    """It does not hold the host up, and its reader learns that he may ask again."""
    await places.alpha.client.dispatch(ID, "beta")
    await _all(places.beta.open("Write", "1"))
    follow = places.alpha.open("Follow")
    await _next(follow)
    stop = asyncio.create_task(places.beta.life.aclose())
    refusal = await refused(follow.read())
    assert (refusal.what, refusal.metadata["begun"]) == ((grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN"), "true")
    await stop


@pytest.mark.parametrize("host", ["alpha", "beta"])
async def test_stream_that_waits_for_a_turn_is_cut_when_its_host_ends(places: Places, host: str) -> None:
    """It is no failure of the author's: its reader learns that it had begun, and that he may ask again."""
    await places.alpha.client.dispatch(ID, "beta")
    STAGE.hold("turn")
    turn = asyncio.create_task(places.beta.hold("turn"))
    await STAGE.reached("turn")
    place: Place = getattr(places, host)
    write = place.open("Write", "1")
    await _eventually_waiting(places.beta)
    stop = asyncio.create_task(places.beta.life.aclose())
    refusal = await refused(write.read())
    assert (refusal.what, refusal.metadata["begun"]) == ((grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN"), "true")
    STAGE.release("turn")
    await asyncio.wait([turn])
    await stop


@pytest.mark.parametrize("host", ["alpha", "gamma"])
async def test_last_turn_of_a_stream_that_is_cut_does_not_hold_a_move_up(places: Places, host: str) -> None:
    """There are no turns any more; whose reader leaves has his."""
    place: Place = getattr(places, host)
    STAGE.hold("end")
    left = place.open("Farewell", "end")
    assert await _next(left) == "begun"
    left.cancel()
    follow = place.open("Follow")
    assert await _next(follow) == "alpha:end"
    follow.cancel()
    cut = place.open("Farewell", "end")
    assert await _next(cut) == "begun"
    await STAGE.reached("end", 2)
    await places.alpha.client.dispatch(ID, "beta")
    refusal = await refused(cut.read())
    assert (refusal.what, refusal.metadata["begun"]) == ((grpc.StatusCode.UNAVAILABLE, "PAGLET_MOVED"), "true")


@pytest.mark.parametrize("host", ["alpha", "beta"])
async def test_last_turn_of_a_stream_is_refused_when_its_host_ends(places: Places, host: str) -> None:
    """Its reader is not told that nothing was run: it had begun."""
    await places.alpha.client.dispatch(ID, "beta")
    STAGE.hold("turn", "end")
    turn = asyncio.create_task(places.beta.hold("turn"))
    await STAGE.reached("turn")
    place: Place = getattr(places, host)
    farewell = place.open("Farewell", "end")
    assert await _next(farewell) == "begun"
    stop = asyncio.create_task(places.beta.life.aclose())
    resident = places.beta.running.host.residents.get(ID)
    assert resident is not None

    async def is_ending() -> bool:
        return resident.gate.is_shut

    await eventually(is_ending)
    STAGE.release("end")
    refusal = await refused(farewell.read())
    assert (refusal.what, refusal.metadata["begun"]) == ((grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN"), "true")
    STAGE.release("turn")
    await asyncio.wait([turn])
    await stop


async def test_stream_is_cut_when_a_host_that_passes_it_on_ends(places: Places) -> None:
    """It holds up that host no more than one of its own; a call that is answered once has the time to end."""
    await _all(places.alpha.open("Write", "1"))
    follow = places.gamma.open("Follow")
    await _next(follow)
    STAGE.hold("turn")
    turn = asyncio.create_task(places.gamma.hold("turn"))
    await STAGE.reached("turn")
    stop = asyncio.create_task(places.gamma.life.aclose())
    refusal = await refused(follow.read())
    assert (refusal.what, refusal.metadata["begun"]) == ((grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN"), "true")
    STAGE.release("turn")
    assert (await turn).value == "turn"
    await stop
    await _noted("follow ended on alpha", 1)


async def test_stream_ends_with_its_reader(places: Places) -> None:
    """Who leaves, or whose deadline passes, is heard of by the handler, wherever he listens."""
    await _all(places.alpha.open("Write", "1"))
    for count, place in enumerate((places.alpha, places.gamma), start=1):
        follow = place.open("Follow")
        await _next(follow)
        follow.cancel()
        await _noted("follow ended on alpha", count)
    late = places.gamma.open("Follow", timeout_s=0.5)
    await _next(late)
    assert (await refused(late.read())).code is grpc.StatusCode.DEADLINE_EXCEEDED
    await _noted("follow ended on alpha", 3)
    await places.alpha.client.dispatch(ID, "beta")  # nothing is left that a move would have to end


async def test_stream_that_does_not_end_gives_a_move_up(places: Places) -> None:
    """As any body does; the stream goes on, and ends well."""
    STAGE.hold("spot")
    stubborn = places.alpha.open("Stubborn", "spot")
    assert await _next(stubborn) == "begun"
    await STAGE.reached("spot")
    with pytest.raises(DeadlineError) as caught:
        await places.alpha.client.dispatch(ID, "beta")
    assert caught.value.reason == "QUIESCE_TIMEOUT"
    assert STAGE.notes == ["cancelled"]
    STAGE.release("spot")
    assert await stubborn.read() is grpc.aio.EOF
    await places.alpha.client.dispatch(ID, "beta")


async def test_what_a_stream_asks_for_is_done_when_it_has_ended_well(places: Places) -> None:
    """A move that it asked for waits for its end, and is forgotten when its reader leaves before."""
    STAGE.hold("leave")
    for ends_well in (False, True):
        leave = places.alpha.open("Leave", "beta")
        assert await _next(leave) == "asked"
        await STAGE.reached("leave", 1 + ends_well)
        assert (await places.alpha.client.get(ID)).host == "alpha"
        if not ends_well:
            leave.cancel()
            continue
        STAGE.release("leave")
        assert await leave.read() is grpc.aio.EOF

        async def is_there() -> bool:
            return (await places.alpha.client.get(ID)).host == "beta"

        await eventually(is_there)


@pytest.mark.parametrize("host", ["alpha", "gamma"])
async def test_error_of_a_stream_comes_whole(places: Places, host: str) -> None:
    """After the messages before it: code, message, the author's own detail, and his trailing metadata."""
    place: Place = getattr(places, host)
    fail = place.open("Fail", "not there")
    assert await _next(fail) == "first"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await fail.read()
    refusal = refusal_of(caught.value)
    assert (refusal.what, refusal.message) == ((grpc.StatusCode.NOT_FOUND, "HANDLER_FAILED"), "not there")
    encoded = refusal.trailing["grpc-status-details-bin"]
    assert isinstance(encoded, bytes)
    status = Status.FromString(encoded)
    detail = StringValue()
    assert status.details[-1].Unpack(detail)
    assert detail.value == "detail"
    assert (refusal.trailing["x-told"], refusal.trailing["paglet-host"]) == ("at the end", "alpha")


@pytest.mark.slow
@pytest.mark.parametrize("host", ["alpha", "gamma"])
async def test_answer_that_comes_before_all_is_sent_comes_whole(places: Places, host: str) -> None:
    """The trailing metadata of a success are kept, though sending the rest has failed."""
    place: Place = getattr(places, host)
    calls = [place.collect(_texts(*["x" * 65536] * 40), "Early") for _ in range(7)]  # it happens to some of them
    ends = [CallEnd(call) for call in calls]
    for call in calls:
        with suppress(grpc.aio.AioRpcError):  # what gRPC makes of it here
            await call

    async def is_told() -> bool:
        return all(("x-told", "early") in end.trailing_metadata for end in ends)

    await eventually(is_told)


@pytest.mark.parametrize(("name", "reason"), [("Quit", "INTERNAL"), ("Wrong", "REPLY_INVALID")])
async def test_defect_of_a_stream_is_its_own(places: Places, name: str, reason: str) -> None:
    """Its reader is told, the host and the paglet go on."""
    broken = places.alpha.open(name, "x")
    assert await _next(broken) == "x"
    assert (await refused(broken.read())).what == (grpc.StatusCode.INTERNAL, reason)
    assert await _all(places.alpha.open("Write", "1")) == ["0"]


@pytest.mark.parametrize("host", ["alpha", "gamma"])
async def test_handler_sees_its_call(places: Places, host: str) -> None:
    """The caller's own metadata and deadline, and nothing that hosts say among themselves."""
    place: Place = getattr(places, host)
    call = place.open("Look", metadata=[("x-mine", "1"), ("x-mine-bin", b"\0")], timeout_s=10.0)
    operation, remaining = await _all(call)
    assert operation == f"{SERVICE}/Look"
    assert 5.0 < float(remaining) < 11.0
    assert dict(await call.initial_metadata())["x-heard"] == "x-mine,x-mine-bin"
    assert (await _all(place.open("Look", timeout_s=None)))[1] == ""


async def test_stream_cannot_be_asked_for_once(places: Places) -> None:
    """A request id would promise what a stream cannot keep."""
    for place in (places.alpha, places.gamma):
        refusal = await refused(place.open("Follow", metadata=[("paglet-request-id", "r")]).read())
        assert refusal.what == (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_REQUEST")
        assert refusal.fields == ["paglet-request-id"]


async def test_stream_needs_its_request(places: Places) -> None:
    """A client that ends its side without the one message is told so."""
    rpc: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = places.gamma.client.channel.stream_stream(
        f"/{SERVICE}/Follow"
    )
    call = rpc(metadata=[("paglet-id", ID)], timeout=_PATIENCE_S)
    await call.done_writing()
    assert (await refused(call.read())).what == (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_REQUEST")
    call = rpc(metadata=[("paglet-id", ID)], timeout=_PATIENCE_S)
    await call.write(b"\xff")
    assert (await refused(call.read())).what == (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_REQUEST")


async def test_failed_paglet_answers_streams_that_read(places: Places) -> None:
    """As it does single calls."""
    await places.alpha.client.create(STREAMER_TYPE, paglet_id="failing", state='{"refuse_at": "beta"}')
    with pytest.raises(PagletError):
        await places.alpha.client.dispatch("failing", "beta")
    chat: grpc.aio.StreamStreamMultiCallable[StringValue, StringValue] = places.alpha.client.channel.stream_stream(
        f"/{SERVICE}/Chat", StringValue.SerializeToString, StringValue.FromString
    )
    call = chat(_texts("a"), metadata=[("paglet-id", "failing")], timeout=_PATIENCE_S)
    assert (await refused(call.read())).what == (grpc.StatusCode.FAILED_PRECONDITION, "ARRIVAL_FAILED")


async def test_streams_are_counted_as_calls_are(places: Places) -> None:
    """A caller who opens too many has that one refused, and others none."""
    chats = [places.alpha.chat() for _ in range(8)]
    for chat in chats:
        await chat.write(StringValue(value="x"))
        await chat.read()
    refusal = await refused(places.alpha.open("Follow").read())
    assert refusal.what == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_CALLS")
    for chat in chats:
        chat.cancel()

    async def are_answered_again() -> bool:
        with suppress(grpc.aio.AioRpcError):
            return await _all(places.alpha.open("Write", "1")) == ["0"]
        return False

    await eventually(are_answered_again)


async def test_slow_reader_holds_up_only_himself(places: Places) -> None:
    """What is sent to one who reads nothing is bounded by what gRPC takes ahead, here and at a host that passes on."""
    for place in (places.alpha, places.gamma):
        flood = place.open("Flood")
        await _next(flood)
        assert await _all(place.open("Write", "3")) == ["0", "1", "2"]
        flood.cancel()
    await _noted("flood", 2)
    sent = [int(note.split()[1]) for note in STAGE.notes if note.startswith("flood")]
    assert max(sent) * 65536 < 32 << 20, sent


@pytest.mark.parametrize("timeout_s", [9e9, 1e300, math.inf])
async def test_stream_that_may_take_longer_than_any_life(places: Places, timeout_s: float) -> None:
    """Whoever gives a stream of the SDK all the time in the world has it, and so has the client itself."""

    def bind(kind: str, name: str) -> Callable[[grpc.aio.Channel], Any]:
        codec = (StringValue.SerializeToString, StringValue.FromString)
        return lambda channel: getattr(channel, kind)(f"/{SERVICE}/{name}", *codec)

    async with Client(places.gamma.running.address, timeout_s=timeout_s) as client:
        assert (await client.reach()).name == "gamma"
        proxy = client.proxy(ID)
        look = proxy.stub(bind("unary_stream", "Look"))(StringValue(), timeout=timeout_s)
        assert (await _all(look))[1] == ""
        assert (await proxy.stub(bind("stream_unary", "Collect"))(_texts("a"), timeout=timeout_s)).value == "alpha:1"
        chat = proxy.stub(bind("stream_stream", "Chat"))(_texts("a"), timeout=timeout_s)
        assert [message.value async for message in chat] == ["alpha:a"]
