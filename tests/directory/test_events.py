"""What every directory promises of its events: each write once and in order, from any cursor that is kept."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from paglets.client.channel import open_channel
from paglets.client.directory import RemoteDirectory
from paglets.config import DirectorySettings
from paglets.directory.contract import Directory, JourneyRecord, PagletState, RowEvent, RowNotice
from paglets.directory.sqlite import SqliteDirectory
from paglets.errors import ConflictError, InvalidArgumentError, OutOfRangeError
from tests.directory.support import PATIENCE_S, Clock, changed, departing, disposed, new, put, serving
from tests.ports import free_port

Notices = AsyncGenerator[RowNotice, None]


@pytest.fixture(params=["local", "remote"])
async def brief(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> AsyncIterator[Directory]:
    """Each implementation, with a directory that keeps the last 10 events for an hour, and bookmarks at once."""
    settings = DirectorySettings(keep_events=10, keep_events_s=3600.0, bookmark_s=0.01)
    local = await SqliteDirectory.open(tmp_path / "brief.db", clock, settings=settings)
    if request.param == "local":
        yield local
    else:
        async with serving(local) as port, open_channel(f"127.0.0.1:{port}") as channel:
            yield RemoteDirectory(channel)
    await local.close()


async def begun(
    directory: Directory, cursor: str = "", *, owner: str = "", type_name: str = "", paglet_id: str = ""
) -> tuple[Notices, str]:
    """A watch, and the cursor at which it has begun."""
    notices = directory.watch_events(cursor, owner=owner, type_name=type_name, paglet_id=paglet_id)
    async with asyncio.timeout(PATIENCE_S):
        first = await anext(notices)
    assert first.event is None
    return notices, first.cursor


async def told(notices: Notices, number: int) -> list[RowNotice]:
    """The next notices that have an event."""
    found: list[RowNotice] = []
    async with asyncio.timeout(PATIENCE_S):
        while len(found) < number:
            notice = await anext(notices)
            if notice.event is not None:
                found.append(notice)
    return found


def events_in(notices: list[RowNotice]) -> list[RowEvent]:
    """Their events."""
    return [notice.event for notice in notices if notice.event is not None]


async def test_every_write_leaves_an_event(directory: Directory, clock: Clock) -> None:
    """Who owns the paglet now and before, its state and epoch, why, and by which journey, are told of each write."""
    notices, _ = await begun(directory)
    (row,) = await put(directory, new("cart"))
    clock.now += 1
    (frozen,) = await put(directory, departing(row, "x-1", "beta"))
    arriving = JourneyRecord(
        transfer_id="x-1", paglet_id="cart", source="alpha", target="beta", state=PagletState.ARRIVING
    )
    commit = changed(frozen, "commit", owner="beta", intent=None, epoch=2, state=PagletState.ARRIVING)
    (moved,) = await directory.apply([commit], journeys=[arriving])
    failed = JourneyRecord(transfer_id="x-1", paglet_id="cart", source="alpha", target="beta", state=PagletState.FAILED)
    fail = changed(moved, "fail", state=PagletState.FAILED, error="no room")
    (stuck,) = await directory.apply([fail], journeys=[failed])
    await put(directory, disposed(stuck))
    events = await directory.history("cart")
    assert [(event.cause, event.owner, event.former_owner, event.state, event.epoch) for event in events] == [
        ("create", "alpha", "", PagletState.ACTIVE, 1),
        ("depart", "alpha", "alpha", PagletState.DEPARTING, 1),
        ("commit", "beta", "alpha", PagletState.ARRIVING, 2),
        ("fail", "beta", "beta", PagletState.FAILED, 2),
        ("dispose", "beta", "beta", PagletState.DISPOSED, 2),
    ]
    assert [(event.transfer_id, event.target) for event in events] == [
        ("", ""),
        ("x-1", "beta"),
        ("x-1", ""),
        ("x-1", ""),
        ("", ""),
    ]
    assert [event.revision for event in events] == [1, 2, 3, 4, 5]
    assert [event.happened_at for event in events] == [clock.now - 1, *[clock.now] * 4]
    assert (events[3].error, events[3].type) == ("no room", "shop.Cart")
    assert events_in(await told(notices, 5)) == events
    await notices.aclose()


async def test_write_that_is_not_made_leaves_none(directory: Directory) -> None:
    """A batch that is refused has not happened, in its history either, and takes no revision."""
    await put(directory, new("cart"))
    with pytest.raises(ConflictError):
        await directory.apply([new("till"), new("cart")])
    assert await directory.history("till") == []
    (row,) = await put(directory, new("till"))
    assert [event.revision for event in await directory.history("till")] == [row.revision] == [2]


async def test_history_comes_in_pages_and_of_one_id(directory: Directory) -> None:
    """Pages put together are all events of the id, whatever else is written between."""
    (row,) = await put(directory, new("cart"))
    for number in range(6):
        (row,) = await put(directory, changed(row, error=str(number)))
        await put(directory, new(f"other-{number}"))
    first = await directory.history("cart", limit=4)
    rest = await directory.history("cart", after=first[-1].revision, limit=4)
    assert [event.error for event in (*first, *rest)] == ["", "0", "1", "2", "3", "4", "5"]
    with pytest.raises(InvalidArgumentError):
        await directory.history("cart", limit=0)


async def test_goes_on_from_any_cursor(directory: Directory) -> None:
    """From each cursor that a watch gave, another tells what came after, no more and no less."""
    notices, start = await begun(directory)
    await put(directory, *(new(f"cart-{number}") for number in range(5)))
    first = await told(notices, 5)
    await notices.aclose()
    await put(directory, new("cart-5"))
    for done, cursor in enumerate([start, *(notice.cursor for notice in first)]):
        again, at = await begun(directory, cursor)
        found = events_in(await told(again, 6 - done))
        assert (at, [event.paglet_id for event in found]) == (cursor, [f"cart-{left}" for left in range(done, 6)])
        await again.aclose()


@pytest.mark.slow
async def test_as_many_events_as_writes(directory: Directory, seed: int) -> None:
    """While many write at once, a watch tells each write, and replayed it is what is there."""
    numbers = random.Random(seed)
    notices, _ = await begun(directory)

    async def live(paglet_id: str) -> None:
        (row,) = await put(directory, new(paglet_id))
        for _ in range(numbers.randrange(4)):
            (row,) = await put(directory, changed(row, epoch=row.epoch + 1))
        if numbers.random() < 0.5:
            await put(directory, disposed(row))

    await asyncio.gather(*(live(f"cart-{number}") for number in range(150)))
    (last,) = await put(directory, new("last"))
    events = events_in(await told(notices, last.revision))
    assert [event.revision for event in events] == list(range(1, last.revision + 1))
    replayed = {event.paglet_id: event.epoch for event in events if event.state is not PagletState.DISPOSED}
    gone = {event.paglet_id for event in events if event.state is PagletState.DISPOSED}
    assert {paglet_id: epoch for paglet_id, epoch in replayed.items() if paglet_id not in gone} == {
        row.paglet_id: row.epoch for row in await directory.list()
    }
    await notices.aclose()


async def test_filters(directory: Directory) -> None:
    """A host is told what comes and what leaves; types and ids are told apart."""
    of_beta, _ = await begun(directory, owner="beta")
    of_tills, _ = await begun(directory, type_name="shop.Till")
    of_cart, _ = await begun(directory, paglet_id="cart")
    cart, _, _ = await put(directory, new("cart"), new("till", type_name="shop.Till"), new("home", "beta"))
    (frozen,) = await put(directory, departing(cart, "x-1", "beta"))
    commit = changed(frozen, "commit", owner="beta", intent=None, epoch=frozen.epoch + 1)
    (moved,) = await put(directory, commit)
    await put(directory, changed(moved, "back", owner="alpha", epoch=moved.epoch + 1))
    assert [event.cause for event in events_in(await told(of_beta, 3))] == ["create", "commit", "back"]
    assert [event.paglet_id for event in events_in(await told(of_tills, 1))] == ["till"]
    causes = [event.cause for event in events_in(await told(of_cart, 4))]
    assert causes == ["create", "depart", "commit", "back"]
    for notices in (of_beta, of_tills, of_cart):
        await notices.aclose()


async def test_idle_watch_says_where_it_is(brief: Directory) -> None:
    """A watch with nothing to tell gives fresh cursors, from which another goes on though the first has expired."""
    notices, start = await begun(brief, type_name="shop.Till")
    cursor = start
    async with asyncio.timeout(PATIENCE_S):
        for number in range(30):
            (row,) = await put(brief, new(f"cart-{number}"))
            notice = await anext(notices)
            while notice.revision < row.revision:
                assert notice.event is None
                notice = await anext(notices)
            cursor = notice.cursor
    await notices.aclose()
    with pytest.raises(OutOfRangeError):
        await begun(brief, start)
    await put(brief, new("till", type_name="shop.Till"))
    again, _ = await begun(brief, cursor, type_name="shop.Till")
    assert [event.paglet_id for event in events_in(await told(again, 1))] == ["till"]
    await again.aclose()


async def test_reader_behind_what_is_kept_is_told(brief: Directory) -> None:
    """Nothing is left out silently: there is no watch from there, and the oldest cursor that there is one is named."""
    notices, start = await begun(brief)
    await notices.aclose()
    for number in range(100):
        await put(brief, new(f"cart-{number}"))
    with pytest.raises(OutOfRangeError) as caught:
        await begun(brief, start)
    assert caught.value.reason == "CURSOR_EXPIRED"
    oldest = caught.value.metadata["oldest"]
    assert oldest == start.replace("-0", "-90")
    again, _ = await begun(brief, oldest)
    assert [event.revision for event in events_in(await told(again, 10))] == list(range(91, 101))
    await again.aclose()


async def test_watch_that_is_too_slow_ends(tmp_path: Path, clock: Clock) -> None:
    """A reader who takes nothing costs no memory: what he needed is forgotten meanwhile, and he is told so."""
    local = await SqliteDirectory.open(tmp_path / "d.db", clock, settings=DirectorySettings(keep_events=10))
    notices, _ = await begun(local)
    await put(local, *(new(f"cart-{number}") for number in range(3)))
    await told(notices, 3)
    for number in range(100):
        await put(local, new(f"later-{number}"))
    with pytest.raises(OutOfRangeError) as caught:
        await told(notices, 100)
    assert caught.value.reason == "CURSOR_EXPIRED"
    await local.close()


async def test_events_are_forgotten_a_thousandth_at_once(tmp_path: Path, clock: Clock) -> None:
    """A thousandth more than asked for may be kept, and no more than that; what is kept has no gap."""
    path, keep = tmp_path / "d.db", 4000
    local = await SqliteDirectory.open(path, clock, settings=DirectorySettings(keep_events=keep))
    for batch in range(4):
        await put(local, *(new(f"first-{batch}-{number}") for number in range(keep // 4)))
    kept: list[int] = []
    for number in range(12):
        await put(local, new(f"later-{number}"))
        with sqlite3.connect(path) as rows:
            first, last, count = rows.execute("SELECT min(revision), max(revision), count(*) FROM events").fetchone()
        rows.close()
        assert count == last - first + 1
        kept.append(count - keep)
    assert kept == [1, 2, 3, 0] * 3
    await local.close()


async def test_old_events_are_forgotten(brief: Directory, clock: Clock) -> None:
    """What is older than the bound goes as new writes come, a few at a time, and the oldest first."""
    await put(brief, *(new(f"cart-{number}") for number in range(6)))
    clock.now += 3601
    for left in (4, 2, 0):
        await put(brief, new(f"later-{left}"))
        kept = [number for number in range(6) if await brief.history(f"cart-{number}")]
        assert kept == list(range(6 - left, 6))
    assert len(await brief.history("later-4")) == 1


@pytest.mark.parametrize("cursor", ["x", "0123456789abcdef", "0123456789abcdef-01", "0123456789abcdef--1"])
async def test_text_that_is_no_cursor_is_refused(directory: Directory, cursor: str) -> None:
    """MALFORMED_REQUEST, naming the field."""
    with pytest.raises(InvalidArgumentError) as caught:
        await begun(directory, cursor)
    assert (caught.value.reason, caught.value.field) == ("MALFORMED_REQUEST", "cursor")


async def test_cursor_of_another_directory_has_expired(directory: Directory) -> None:
    """Also one from the future of this one: its file is not what it was."""
    notices, start = await begun(directory)
    await notices.aclose()
    for cursor in ("0123456789abcdef-0", start.replace("-0", "-1")):
        with pytest.raises(OutOfRangeError) as caught:
            await begun(directory, cursor)
        assert caught.value.reason == "CURSOR_EXPIRED"


async def test_watch_goes_on_over_restarts(tmp_path: Path) -> None:
    """Over restarts of the directory's host a remote watch tells what was written meanwhile, each once."""
    port, seen = free_port(), list[RowEvent]()
    async with open_channel(f"127.0.0.1:{port}") as channel, aclosing(RemoteDirectory(channel).watch_events()) as all_:
        for life in range(3):
            local = await SqliteDirectory.open(tmp_path / "directory.db")
            if life:
                await put(local, *(new(f"away-{life}-{number}") for number in range(20)))
            async with serving(local, port):
                if not life:
                    assert (await anext(all_)).event is None
                    await put(local, *(new(f"away-{life}-{number}") for number in range(20)))
                waiting = asyncio.ensure_future(told(all_, 40))
                for number in range(20):
                    await put(local, new(f"up-{life}-{number}"))
                seen += events_in(await waiting)
            await local.close()
    assert [event.revision for event in seen] == list(range(1, 121))
