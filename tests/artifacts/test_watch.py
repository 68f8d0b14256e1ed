"""Watches: every change once and in order, from any cursor that is kept, over broken streams and restarts."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

import pytest

from paglet.v1 import artifact_pb2, artifact_pb2_grpc
from paglets.artifacts.local import LocalArtifactStore
from paglets.artifacts.store import (
    ArtifactChanges,
    ArtifactEvent,
    ArtifactEventKind,
    ArtifactNotice,
    ArtifactQuery,
    ArtifactStore,
    ArtifactWrite,
)
from paglets.client.artifacts import RemoteArtifactStore
from paglets.client.channel import open_channel
from paglets.errors import CancelledCallError, InvalidArgumentError, OutOfRangeError, UnavailableError
from paglets.values import ArtifactRef, OwnerPolicy, new_id
from tests.artifacts.serve import serving
from tests.artifacts.support import PATIENCE_S, Clock, opened, pieces, put, refused, settings
from tests.artifacts.test_wire import refusal

Kind = ArtifactEventKind


async def taken(notices: AsyncGenerator[ArtifactNotice, None], number: int) -> list[ArtifactNotice]:
    """The next notices."""
    async with asyncio.timeout(PATIENCE_S):
        return [await anext(notices) for _ in range(number)]


async def events_of(notices: AsyncGenerator[ArtifactNotice, None], number: int) -> list[ArtifactEvent]:
    """The next events."""
    found: list[ArtifactEvent] = []
    async with asyncio.timeout(PATIENCE_S):
        while len(found) < number:
            event = (await anext(notices)).event
            if event is not None:
                found.append(event)
    return found


async def begun(
    store: ArtifactStore, owner: str | None = None, cursor: str = ""
) -> tuple[AsyncGenerator[ArtifactNotice, None], str]:
    """A watch, and the cursor at which it has begun."""
    notices = store.watch(cursor=cursor, owner=owner)
    (first,) = await taken(notices, 1)
    assert first.event is None
    return notices, first.cursor


def told(events: list[ArtifactEvent]) -> list[tuple[Kind, str, str]]:
    """What happened to which version of which artifact."""
    return [(event.kind, event.ref.artifact_id, event.ref.etag) for event in events]


async def owned(store: ArtifactStore, owner: str, artifact_id: str = "", data: bytes = b"x") -> ArtifactRef:
    """A new artifact of an owner."""
    write = ArtifactWrite(artifact_id=artifact_id, owner=owner, owner_policy=OwnerPolicy.DELETE_WITH_OWNER)
    return await store.ref((await store.create_from_chunks(write, pieces(data))).ref.artifact_id)


async def test_every_change_is_told(store: ArtifactStore) -> None:
    """A watch tells what is created, changed and deleted from when it began, with the artifact as it then was."""
    owner = f"o{new_id()}"
    await owned(store, owner, data=b"before")
    notices, _ = await begun(store, owner)
    async with aclosing(notices):
        made = await owned(store, owner)
        changed = await store.update(made.artifact_id, ArtifactChanges(name="new"))
        await store.delete(made.artifact_id)
        events = await events_of(notices, 3)
        assert [(event.kind, event.ref) for event in events] == [
            (Kind.CREATED, made),
            (Kind.UPDATED, changed),
            (Kind.DELETED, changed),
        ]
        assert [event.ref.etag for event in events] == [made.etag, changed.etag, changed.etag]
        assert [event.happened_at for event in events[:2]] == [made.created_at, changed.updated_at]
        assert events[2].happened_at >= changed.updated_at


async def test_goes_on_from_any_cursor(store: ArtifactStore) -> None:
    """From each cursor that a watch gave, another tells what came after, no more and no less."""
    owner = f"o{new_id()}"
    notices, start = await begun(store, owner)
    async with aclosing(notices):
        made = [await owned(store, owner) for _ in range(5)]
        told_by_first = await taken(notices, 5)
    assert [notice.event.ref for notice in told_by_first if notice.event] == made
    made.append(await owned(store, owner))
    for done, cursor in enumerate([start, *(notice.cursor for notice in told_by_first)]):
        notices, again = await begun(store, owner, cursor)
        async with aclosing(notices):
            assert again == cursor
            assert [event.ref for event in await events_of(notices, 6 - done)] == made[done:]


async def test_list_then_watch(store: ArtifactStore) -> None:
    """All pages of a list have the cursor of its beginning; from there a watch tells what the list may have missed."""
    owner = f"o{new_id()}"
    query = ArtifactQuery(owner=owner)
    for _ in range(2):
        await owned(store, owner)
    first = await store.list(query, page_size=1)
    late = await owned(store, owner)
    second = await store.list(query, page_size=1, page_token=first.next_token)
    assert second.cursor == first.cursor
    notices, _ = await begun(store, owner, first.cursor)
    async with aclosing(notices):
        assert told(await events_of(notices, 1)) == [(Kind.CREATED, late.artifact_id, late.etag)]


async def test_watch_of_an_owner(store: ArtifactStore) -> None:
    """An owner is told of what is his at the time; what is nobody's has a watch too."""
    one, other = f"o{new_id()}", f"p{new_id()}"
    notices, _ = await begun(store, one)
    others, _ = await begun(store, other)
    unowned, _ = await begun(store, "")
    async with aclosing(notices), aclosing(others), aclosing(unowned):
        made = await owned(store, one)
        given = await store.update(made.artifact_id, ArtifactChanges(owner=other))
        back = await store.update(made.artifact_id, ArtifactChanges(owner=one))
        free = await store.update(made.artifact_id, ArtifactChanges(owner=""))
        assert [event.ref for event in await events_of(notices, 2)] == [made, back]
        assert [event.ref for event in await events_of(others, 1)] == [given]
        assert [event.ref for event in await events_of(unowned, 1)] == [free]


async def test_deletion_with_the_owner(store: ArtifactStore) -> None:
    """What goes with its owner is told of one by one."""
    owner = f"o{new_id()}"
    made = {(await owned(store, owner)).artifact_id for _ in range(3)}
    notices, _ = await begun(store, owner)
    async with aclosing(notices):
        await store.delete_owner(owner)
        events = await events_of(notices, 3)
    assert {event.ref.artifact_id for event in events} == made
    assert {event.kind for event in events} == {Kind.DELETED}


@pytest.mark.parametrize("cursor", ["x", "0", "-1", "é", "0123456789abcdef", "0123456789abcdef-01", "A" * 5000])
async def test_no_cursor(store: ArtifactStore, cursor: str) -> None:
    """What is no cursor is refused by name."""
    error = await refused(anext(store.watch(cursor=cursor)))
    assert (type(error), error.reason, error.field) == (InvalidArgumentError, "MALFORMED_REQUEST", "cursor")


async def test_cursor_of_another_store(store: ArtifactStore) -> None:
    """The cursor of another store, or of a later time, tells to begin anew, and where."""
    now = (await store.list(page_size=1)).cursor
    life, _, revision = now.partition("-")
    for cursor in (f"{'0' * 16}-{revision}", f"{life}-{int(revision) + 1}", f"{life}-{'9' * 19}"):
        error = await refused(anext(store.watch(cursor=cursor)))
        assert (type(error), error.reason) == (OutOfRangeError, "CURSOR_EXPIRED")
        notices, _ = await begun(store, cursor=error.metadata["oldest"])
        await notices.aclose()


async def test_expiry_is_told(local: LocalArtifactStore, clock: Clock) -> None:
    """What expired is told as such with the time of its expiry, whoever finds it: a sweep, a deletion, a new writer."""
    notices, _ = await begun(local)
    for artifact_id in ("swept", "deleted", "taken"):
        await put(local, b"x", artifact_id=artifact_id, ttl_s=10)
    until = (await local.ref("taken")).expires_at
    clock.now += 11
    assert not await local.delete("deleted")
    await put(local, b"y", artifact_id="taken")
    await local.sweep()
    events = await events_of(notices, 7)
    assert [(event.kind, event.ref.artifact_id) for event in events[3:]] == [
        (Kind.EXPIRED, "deleted"),
        (Kind.EXPIRED, "taken"),
        (Kind.CREATED, "taken"),
        (Kind.EXPIRED, "swept"),
    ]
    assert {event.happened_at for event in events if event.kind is Kind.EXPIRED} == {until}
    await notices.aclose()


async def test_what_is_too_old(root: Path) -> None:
    """Only so many events are kept; an older cursor is refused, and the oldest that is not is named."""
    async with opened(root, bounds=settings(keep_events=3)) as store:
        notices, start = await begun(store)
        await notices.aclose()
        made = [await put(store, b"x") for _ in range(5)]
        error = await refused(anext(store.watch(cursor=start)))
        assert (type(error), error.reason) == (OutOfRangeError, "CURSOR_EXPIRED")
        notices, _ = await begun(store, cursor=error.metadata["oldest"])
        assert [event.ref.artifact_id for event in await events_of(notices, 3)] == made[2:]
        await notices.aclose()


async def test_too_slow(root: Path) -> None:
    """A watch whose events were dropped before it took them ends, rather than leave a gap."""
    async with opened(root, bounds=settings(keep_events=3)) as store:
        notices, _ = await begun(store)
        for _ in range(5):
            await put(store, b"x")
        assert (await refused(anext(notices))).reason == "CURSOR_EXPIRED"


async def test_cursor_moves_on_while_others_change(root: Path) -> None:
    """Who watches an owner to whom nothing happens has a cursor that does not expire by what happens to others."""
    async with opened(root, bounds=settings(keep_events=4)) as store:
        notices, cursor = await begun(store, "ann")
        for _ in range(10):
            for _ in range(2):
                await put(store, b"x")
            (notice,) = await taken(notices, 1)
            assert notice.event is None
            assert notice.cursor != cursor
            cursor = notice.cursor
        await notices.aclose()
        again, _ = await begun(store, "ann", cursor)
        await again.aclose()


async def test_cursor_outlives_restarts(root: Path) -> None:
    """A watch goes on after a restart with what happened before and after it, if it is still kept."""
    async with opened(root) as store:
        notices, start = await begun(store)
        await notices.aclose()
        await put(store, b"x", artifact_id="a")
        await put(store, b"x", artifact_id="b")
    async with opened(root) as store:
        await store.delete("a")
        notices, _ = await begun(store, cursor=start)
        found = told(await events_of(notices, 3))
        assert [(kind, artifact_id) for kind, artifact_id, _ in found] == [
            (Kind.CREATED, "a"),
            (Kind.CREATED, "b"),
            (Kind.DELETED, "a"),
        ]
        await notices.aclose()
    async with opened(root, bounds=settings(keep_events=1)) as store:
        await store.delete("b")
        assert (await refused(anext(store.watch(cursor=start)))).reason == "CURSOR_EXPIRED"


async def test_as_many_events_as_changes(local: LocalArtifactStore, seed: int) -> None:
    """While many change at once, a watch tells what led to what is there: replayed, it is the list."""
    numbers = random.Random(seed)
    notices, start = await begun(local)

    async def change(number: int) -> None:
        artifact_id = await put(local, bytes([number]))
        if numbers.random() < 0.7:
            await local.update(artifact_id, ArtifactChanges(name=str(number)))
        if numbers.random() < 0.5:
            await local.delete(artifact_id)

    await asyncio.gather(*(change(number) for number in range(40)))
    end = (await local.list()).cursor
    replayed: dict[str, ArtifactRef] = {}
    count = 0
    async with asyncio.timeout(PATIENCE_S):
        while True:
            notice = await anext(notices)
            assert notice.event is not None
            count += 1
            if notice.event.kind in {Kind.CREATED, Kind.UPDATED}:
                replayed[notice.event.ref.artifact_id] = notice.event.ref
            else:
                del replayed[notice.event.ref.artifact_id]
            if notice.cursor == end:
                break
    assert replayed == {ref.artifact_id: ref for ref in (await local.list()).refs}
    assert int(end.partition("-")[2]) - int(start.partition("-")[2]) == count
    await notices.aclose()


async def test_ends_with_its_store(local: LocalArtifactStore) -> None:
    """Watches that wait are ended at once, and none begins any more."""
    notices, _ = await begun(local)
    waiting = asyncio.ensure_future(anext(notices))
    for _ in range(5):  # time to have read, and found nothing
        await local.list()
    local.end_watches()
    error = await refused(waiting)
    assert (type(error), error.reason) == (UnavailableError, "SHUTTING_DOWN")
    late = local.watch()
    await anext(late)
    assert (await refused(anext(late))).reason == "SHUTTING_DOWN"
    await put(local, b"other calls go on")


async def test_outlives_its_host(local: LocalArtifactStore) -> None:
    """A client's watch goes on by itself when its host comes back, with what happened meanwhile, each once."""
    async with AsyncExitStack() as stack:
        async with serving(local) as port:
            channel = await stack.enter_async_context(open_channel(f"127.0.0.1:{port}"))
            notices, _ = await begun(RemoteArtifactStore(channel))
            await put(local, b"x", artifact_id="a")
            first = await events_of(notices, 1)
        await put(local, b"x", artifact_id="b")
        async with serving(local, port=port):
            second = await events_of(notices, 1)
            await put(local, b"x", artifact_id="c")
            third = await events_of(notices, 1)
        assert [event.ref.artifact_id for event in (*first, *second, *third)] == ["a", "b", "c"]
        waiting = asyncio.ensure_future(anext(notices))
        await channel.close()
        with pytest.raises(CancelledCallError):
            await waiting


async def test_so_many_watches(local: LocalArtifactStore) -> None:
    """There are only so many watches, beside the reads; one that ends makes room."""
    async with serving(local, max_open_reads=1) as port, open_channel(f"127.0.0.1:{port}") as channel:
        stub: artifact_pb2_grpc.ArtifactServiceAsyncStub = artifact_pb2_grpc.ArtifactServiceStub(channel)
        request = artifact_pb2.WatchArtifactsRequest()

        async def first() -> object:
            return await anext(aiter(stub.WatchArtifacts(request)))

        call = stub.WatchArtifacts(request)
        await anext(aiter(call))
        refused_as = await refusal(first())
        assert (refused_as.code, refused_as.reason) == ("RESOURCE_EXHAUSTED", "TOO_MANY_READS")
        assert refused_as.retry.retry_delay.ToNanoseconds() > 0
        call.cancel()
        remote = RemoteArtifactStore(channel)
        notices, _ = await begun(remote)  # asks again until there is room
        await notices.aclose()


async def test_expired_cursor_over_the_wire(root: Path) -> None:
    """A client that knows nothing of ours is told by code, reason and the oldest cursor, and where to begin anew."""
    async with opened(root, bounds=settings(keep_events=1)) as store, serving(store) as port:
        start = (await store.list()).cursor
        for _ in range(2):
            await put(store, b"x")
        async with open_channel(f"127.0.0.1:{port}") as channel:
            stub: artifact_pb2_grpc.ArtifactServiceAsyncStub = artifact_pb2_grpc.ArtifactServiceStub(channel)

            async def watch() -> object:
                return await anext(aiter(stub.WatchArtifacts(artifact_pb2.WatchArtifactsRequest(cursor=start))))

            told_so = await refusal(watch())
            assert (told_so.code, told_so.reason) == ("OUT_OF_RANGE", "CURSOR_EXPIRED")
            assert told_so.metadata == {"oldest": start.replace("-0", "-1")}
            error = await refused(anext(RemoteArtifactStore(channel).watch(cursor=start)))
            assert error.metadata == told_so.metadata
