"""Events of a paglet: numbered without a gap, kept with their turns, read by anybody as often as they like."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import Int64Value, StringValue

from paglet.v1 import event_pb2, event_pb2_grpc
from paglets.client.events import EventClient
from paglets.config import EventSettings
from paglets.core.cursor_events import CursorEvent
from paglets.errors import InvalidArgumentError, NotFoundError, OutOfRangeError, PagletError
from paglets.host.journal.events import EventRows
from paglets.patterns.coordination import CursorDrainMixin
from tests.patterns.feed import Feed, FeedState, Medley, SavedFeed
from tests.patterns.feed_support import ID, Place, feed_host, reader, say, taken

FEW = EventSettings(max_events=5, max_bytes=1000)


@pytest.fixture
async def alpha(tmp_path: Path) -> AsyncIterator[Place]:
    """A host that keeps few events, and a feed."""
    async with AsyncExitStack() as stack:
        place = await feed_host(stack, tmp_path, "alpha", events=FEW)
        await place.client.create(Feed, paglet_id=ID)
        yield place


async def _texts(place: Place, paglet_id: str = ID, after: int = 0) -> list[tuple[int, str]]:
    page = await reader(place.client, paglet_id).drain(after)
    return [(cursor, event.value) for cursor, event in page.events]


async def test_cur_1_append(alpha: Place) -> None:
    """Events get cursors from 1 on, in their order; the last one is told, also when nothing is appended."""
    assert await say(alpha.client, "") == 0
    assert await say(alpha.client, "a\nb") == 2
    assert await say(alpha.client, "c") == 3
    assert await say(alpha.client, "") == 3
    assert await _texts(alpha) == [(1, "a"), (2, "b"), (3, "c")]


async def test_cur_1_rolled_back_with_the_turn(alpha: Place) -> None:
    """What a turn that failed has appended was never there, and its cursors are the next turn's."""
    await say(alpha.client, "a")
    with pytest.raises(grpc.aio.AioRpcError):
        await say(alpha.client, "b\nfail")
    assert await say(alpha.client, "c") == 2
    assert await _texts(alpha) == [(1, "a"), (2, "c")]


async def test_cur_1_next_turn_counts_on(alpha: Place) -> None:
    """A turn that begins before the one before it is durable has the cursors after that one's."""
    cursors = await asyncio.gather(*(say(alpha.client, "a\nb") for _ in range(20)))
    assert sorted(cursors) == list(range(2, 41, 2))
    assert [cursor for cursor, _ in await _texts(alpha, after=35)] == [36, 37, 38, 39, 40]


async def test_cur_1_once_for_a_request(alpha: Place) -> None:
    """A request that is made again is answered as before, and appends nothing more."""
    assert [await say(alpha.client, "a", request_id="r-1") for _ in range(2)] == [1, 1]
    assert await say(alpha.client, "b", request_id="r-2") == 2


async def test_cur_1_two_paglets(alpha: Place) -> None:
    """Each paglet has its own sequence."""
    await alpha.client.create(Feed, paglet_id="other")
    await say(alpha.client, "a")
    assert await say(alpha.client, "x\ny", "other") == 2
    assert (await _texts(alpha), await _texts(alpha, "other")) == ([(1, "a")], [(1, "x"), (2, "y")])


async def test_cur_1_bad_events_are_refused(alpha: Place) -> None:
    """One that is too large, or appended outside of a turn, or of another type than is declared; none is appended."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await say(alpha.client, "a\n" + "x" * 65536)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    resident = alpha.running.host.residents.get(ID)
    assert resident is not None
    feed = resident.paglet
    assert isinstance(feed, Feed)
    with pytest.raises(PagletError, match="appends events outside of a turn"):
        feed.cursor_append_events(StringValue(value="a"))
    async with feed.turn():
        with pytest.raises(TypeError, match="must be StringValue"):
            feed.cursor_append_events(Int64Value(value=1))  # pyright: ignore[reportArgumentType] - what authors do
        with pytest.raises(PagletError, match="wait for its own events in a turn"):
            await feed.context.wait_events(0, 0.0)
    assert await _texts(alpha) == []


def test_cur_1_declarations() -> None:
    """The type of events is an argument or an attribute, is inherited, and is `Message` without either."""

    class Attribute(CursorDrainMixin[FeedState]):
        """Says it by an attribute."""

        Event = Int64Value

    class Derived(Attribute):
        """Inherits."""

    assert {each.event_class() for each in (Feed, SavedFeed)} == {StringValue}
    assert {each.event_class() for each in (Attribute, Derived)} == {Int64Value}
    assert Medley.event_class() is Message
    with pytest.raises(TypeError, match="which is no protobuf message class"):
        type("Wrong", (Medley,), {"Event": int})


async def test_cur_1_several_types(alpha: Place) -> None:
    """Without a declaration events are of any type, and are read as `Any`; a reader that wants one type says so."""
    await alpha.client.create(Medley, paglet_id="medley")
    await say(alpha.client, "abc", "medley")
    proxy = alpha.client.proxy("medley")
    page = await EventClient.for_paglet(proxy, Medley).drain()
    packed = [event for _, event in page.events if isinstance(event, AnyMessage)]
    number, text = Int64Value(), StringValue()
    assert (packed[0].Unpack(number), packed[1].Unpack(text)) == (True, True)
    assert (number.value, text.value) == (3, "abc")
    with pytest.raises(PagletError) as caught:
        await EventClient(proxy, StringValue).drain()
    assert caught.value.reason == "REPLY_INVALID"


async def test_cur_2_drain(alpha: Place) -> None:
    """At most as many as wanted, at least one; where to go on, and whether there is more. It deletes nothing."""
    await say(alpha.client, "a\nb\nc")
    client = reader(alpha.client)
    first = await client.drain(0, 2)
    assert ([cursor for cursor, _ in first.events], first.cursor, first.more) == ([1, 2], 2, True)
    rest = await client.drain(first.cursor, 2)
    assert ([cursor for cursor, _ in rest.events], rest.cursor, rest.more) == ([3], 3, False)
    nothing = await client.drain(3)
    assert (nothing.events, nothing.cursor, nothing.more) == ([], 3, False)
    assert len((await client.drain(0, 0)).events) == 1
    assert await client.drain(0, 2) == first
    with pytest.raises(InvalidArgumentError):
        await client.drain(-1)


async def test_cur_2_behind_retention(alpha: Place) -> None:
    """Who is behind what is kept is told so, and where the rest begins; so is one with a cursor of another life."""
    await say(alpha.client, "a\nb\nc\nd")
    await say(alpha.client, "e\nf\ng")
    client = reader(alpha.client)
    with pytest.raises(OutOfRangeError) as caught:
        await client.drain(1)
    assert (caught.value.reason, caught.value.metadata["oldest"]) == ("CURSOR_EXPIRED", "2")
    assert [cursor for cursor, _ in (await client.drain(2)).events] == [3, 4, 5, 6, 7]
    for cursor in (1, 8):
        with pytest.raises(OutOfRangeError):
            await anext(client.watch(cursor))
    await say(alpha.client, "x" * 600)
    await say(alpha.client, "y" * 600)
    with pytest.raises(OutOfRangeError) as caught:
        await client.drain(7)
    assert caught.value.metadata["oldest"] == "8"
    assert await say(alpha.client, "z" * 2000) == 10
    assert [cursor for cursor, _ in (await client.drain(9)).events] == [10]


async def test_cur_2_watch_that_is_left_behind(alpha: Place) -> None:
    """A watch that would leave something out ends instead, and says from where the events are kept."""
    async with aclosing(reader(alpha.client).watch(0)) as watch:
        await say(alpha.client, "a")
        assert await taken(watch, 1) == [(1, "a")]
        await say(alpha.client, "\n".join("bcdefghijklmnopqrstuvwxyz"))
        with pytest.raises(OutOfRangeError) as caught:
            await anext(watch)
        assert (caught.value.reason, caught.value.metadata["oldest"]) == ("CURSOR_EXPIRED", "21")


async def test_cur_2_many_watches_read_an_event_once(alpha: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has just come is told to all who wait for it, and is not read from the disk for each of them."""
    reads: list[int] = []
    real = EventRows.page

    async def page(rows: EventRows, paglet_id: str, after: int, limit: int) -> list[CursorEvent]:
        reads.append(after)
        return await real(rows, paglet_id, after, limit)

    async with AsyncExitStack() as stack:
        watches = [await stack.enter_async_context(aclosing(reader(alpha.client).watch(0))) for _ in range(20)]
        await say(alpha.client, "a")
        for watch in watches:
            assert await taken(watch, 1) == [(1, "a")]
        monkeypatch.setattr(EventRows, "page", page)
        for cursor in range(2, 40):
            await say(alpha.client, str(cursor))
            for watch in watches:
                assert await taken(watch, 1) == [(cursor, str(cursor))]
        assert len(reads) < 380, "each watch reads for itself"  # 760 if they did


async def test_cur_2_long_poll(alpha: Place) -> None:
    """A drain that waits is answered when there is an event, and holds up no turn meanwhile."""
    client = reader(alpha.client)
    waiting = [asyncio.create_task(client.drain(0, wait_s=20.0)) for _ in range(10)]
    assert (await client.drain(0, wait_s=0.05)).events == []
    assert await say(alpha.client, "") == 0
    await say(alpha.client, "a")
    pages = await asyncio.gather(*waiting)
    assert [[event.value for _, event in page.events] for page in pages] == [["a"]] * 10


async def test_cur_2_watch(alpha: Place) -> None:
    """A watch gives what is there, then what comes; one from now on begins with what comes next."""
    await say(alpha.client, "a\nb")
    client = reader(alpha.client)
    stub: event_pb2_grpc.EventServiceAsyncStub = alpha.client.proxy(ID).stub(event_pb2_grpc.EventServiceStub)
    later = stub.Watch(event_pb2.EventServiceWatchRequest())
    messages = aiter(later)
    first = await anext(messages)
    assert (first.cursor, first.HasField("event")) == (2, False)
    async with aclosing(client.watch(1)) as watch:
        assert await taken(watch, 1) == [(2, "b")]
        await say(alpha.client, "c")
        assert await taken(watch, 1) == [(3, "c")]
    assert (await anext(messages)).event.cursor == 3
    later.cancel()


async def test_cur_2_ends_with_the_paglet(alpha: Place) -> None:
    """Events go with their paglet, also from the disk; the next of its id begins anew."""
    await say(alpha.client, "a")
    client = reader(alpha.client)
    watch = client.watch(0)
    assert await taken(watch, 1) == [(1, "a")]
    await alpha.client.dispose(ID)
    with pytest.raises(NotFoundError):
        await anext(watch)
    assert await alpha.running.host.parts.journal.events.all(ID) == []
    await alpha.client.create(Feed, paglet_id=ID)
    assert await say(alpha.client, "b") == 1


async def test_cur_2_slow_watcher(tmp_path: Path) -> None:
    """One that does not read holds up neither the paglet nor other readers, and goes on where it was."""
    async with AsyncExitStack() as stack:
        place = await feed_host(stack, tmp_path, "alpha", events=EventSettings(max_bytes=64 * 1024 * 1024))
        await place.client.create(Feed, paglet_id=ID)
        stub: event_pb2_grpc.EventServiceAsyncStub = place.client.proxy(ID).stub(event_pb2_grpc.EventServiceStub)
        slow = stub.Watch(event_pb2.EventServiceWatchRequest(after_cursor=0))
        assert (await anext(aiter(slow))).cursor == 0
        large = "x" * 60_000
        async with aclosing(reader(place.client).watch(0)) as quick:
            for number in range(1, 101):
                await say(place.client, large)
                assert await taken(quick, 1) == [(number, large)]
        cursors: list[int] = []
        async for message in slow:
            cursors.append(message.cursor)
            if message.cursor == 100:
                break
        assert cursors == list(range(1, 101))
        slow.cancel()


@pytest.mark.slow
async def test_cur_2_long_poll_ends_though_the_paglet_moves_all_the_time(tmp_path: Path) -> None:
    """A drain that waits is over when its time is over, also if the paglet is moved again and again meanwhile."""
    async with AsyncExitStack() as stack:
        alpha = await feed_host(stack, tmp_path, "alpha")
        await feed_host(stack, tmp_path, "beta", join=alpha.running.address)
        await alpha.client.create(Feed, paglet_id=ID)
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            waiting = group.create_task(reader(alpha.client).drain(0, wait_s=1.0))
            while not waiting.done():
                for target in ("beta", "alpha"):
                    await alpha.client.dispatch(ID, target)
        assert (waiting.result().events, waiting.result().cursor) == ([], 0)


@pytest.mark.parametrize("kind", [Feed, SavedFeed])
async def test_cur_2_moves_rests_and_restarts(tmp_path: Path, kind: type[Feed]) -> None:
    """Events go along, those of hooks too, and a watch goes on over all of it; clones begin with none."""
    words = ["created", "leaving", "at beta", "rests", "message", "rests", "restart"]
    async with AsyncExitStack() as stack:
        alpha = await feed_host(stack, tmp_path, "alpha")
        async with AsyncExitStack() as inner:
            beta = await feed_host(inner, tmp_path, "beta", join=alpha.running.address)
            await alpha.client.create(kind, paglet_id=ID, state=FeedState(in_hooks=True))
            watch = await stack.enter_async_context(aclosing(reader(alpha.client).watch(0)))
            found = list(await taken(watch, 1))
            clone = await alpha.client.clone(ID)
            assert await _texts(alpha, clone.paglet_id) == []
            await alpha.client.dispatch(ID, "beta")
            found += await taken(watch, 2)
            await beta.client.deactivate(ID)
            found += await taken(watch, 2)
        beta = await feed_host(stack, tmp_path, "beta", join=alpha.running.address)
        found += await taken(watch, 2)
        await say(beta.client, "a")
        found += await taken(watch, 1)
    assert found == list(enumerate([*words, "a"], 1))
