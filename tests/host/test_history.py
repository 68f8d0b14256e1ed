"""What becomes of paglets is told with its cause: of one as a history, of all as a watch that misses nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

import grpc
import pytest

from paglet.v1 import lifecycle_pb2, lifecycle_pb2_grpc
from paglets.client.client import Client
from paglets.config import HostSettings
from paglets.errors import NotFoundError
from paglets.values import PagletNotice, PagletState
from tests.host.conftest import Mesh, site
from tests.host.support import PROBE_TYPE, ask, refused

_PATIENCE_S = 20.0


async def next_told(notices: AsyncGenerator[PagletNotice, None], number: int) -> list[PagletNotice]:
    """The next notices that tell of a paglet or an event."""
    found: list[PagletNotice] = []
    async with asyncio.timeout(_PATIENCE_S):
        while len(found) < number:
            notice = await anext(notices)
            if notice.event is not None or notice.paglet is not None:
                found.append(notice)
    return found


async def begin(notices: AsyncGenerator[PagletNotice, None]) -> str:
    """Waits for the cursor at which a watch begins."""
    async with asyncio.timeout(_PATIENCE_S):
        notice = await anext(notices)
    assert (notice.event, notice.paglet) == (None, None)
    return notice.cursor


async def test_core_19_history_tells_every_step(mesh: Mesh) -> None:
    """Each change has its cause, place and epoch, whichever host is asked, to the end and beyond it."""
    await mesh.probe()
    await mesh.alpha.client.dispatch("probe", "beta")
    await mesh.alpha.client.deactivate("probe")
    await mesh.alpha.client.activate("probe")
    await mesh.alpha.client.dispose("probe")
    for client in (mesh.alpha.client, mesh.beta.client):
        told = await client.history("probe")
        assert [(event.cause, event.state.value, event.host) for event in told] == [
            ("create", "active", "alpha"),
            ("depart", "departing", "alpha"),
            ("commit", "arriving", "beta"),
            ("arrive", "active", "beta"),
            ("deactivate", "inactive", "beta"),
            ("activate", "active", "beta"),
            ("dispose", "disposed", "beta"),
        ]
        epochs = [event.epoch for event in told]
        assert epochs == sorted(epochs)
        assert len(set(epochs)) == 4
        depart, commit = told[1:3]
        assert (depart.target, commit.former_host) == ("beta", "alpha")
        assert depart.transfer_id == commit.transfer_id != ""


async def test_core_19_history_is_paged(mesh: Mesh) -> None:
    """A page is as long as asked for, and the next begins where it ended."""
    await mesh.probe()
    await mesh.alpha.client.dispatch("probe", "beta")
    stub: lifecycle_pb2_grpc.LifecycleServiceAsyncStub = lifecycle_pb2_grpc.LifecycleServiceStub(mesh.beta.channel)
    request, causes = lifecycle_pb2.GetPagletHistoryRequest(paglet_id="probe", page_size=3), list[str]()
    while True:
        page = await stub.GetPagletHistory(request)
        assert len(page.events) <= 3
        causes += [event.cause for event in page.events]
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert causes == ["create", "depart", "commit", "arrive"]
    request.page_token = "x"  # noqa: S105 - no password
    assert (await refused(stub.GetPagletHistory(request))).reason == "MALFORMED_REQUEST"


async def test_history_of_nobody(mesh: Mesh) -> None:
    """An id that was never used has none."""
    with pytest.raises(NotFoundError):
        await mesh.alpha.client.history("nobody")


async def test_core_19_watch_tells_what_happens_after_the_snapshot(mesh: Mesh) -> None:
    """First who is there, then a cursor, then each event once and in order; filters hold for both."""
    await mesh.probe("first")
    await mesh.probe("second")
    async with aclosing(mesh.beta.client.watch(snapshot=True)) as notices:
        there = await next_told(notices, 2)
        assert [notice.paglet.paglet_id for notice in there if notice.paglet] == ["first", "second"]
        await begin(notices)
        await mesh.alpha.client.dispatch("second", "beta")
        told = [notice.event for notice in await next_told(notices, 3)]
        assert [(event.paglet_id, event.cause) for event in told if event] == [
            ("second", "depart"),
            ("second", "commit"),
            ("second", "arrive"),
        ]
    async with aclosing(mesh.alpha.client.watch(snapshot=True, host="beta")) as notices:
        (only,) = await next_told(notices, 1)
        assert only.paglet is not None
        assert (only.paglet.paglet_id, only.paglet.state) == ("second", PagletState.ACTIVE)


async def test_core_19_watch_goes_on_from_its_cursor(tmp_path: Path) -> None:
    """A cursor outlives the restart of the directory's host, and another host goes on from it: nothing is lost."""
    async with AsyncExitStack() as stack:
        async with AsyncExitStack() as first:
            alpha = await site(first, tmp_path, "alpha")
            async with aclosing(alpha.client.watch()) as notices:
                await begin(notices)
                await alpha.client.create(PROBE_TYPE, paglet_id="a")
                (notice,) = await next_told(notices, 1)
            await alpha.client.create(PROBE_TYPE, paglet_id="b")
        alpha = await site(stack, tmp_path, "alpha")
        beta = await site(stack, tmp_path, "beta", join=alpha.running.address)
        await alpha.client.create(PROBE_TYPE, paglet_id="c")
        async with aclosing(beta.client.watch(cursor=notice.cursor)) as notices:
            told = [(found.event.paglet_id, found.event.cause) for found in await next_told(notices, 4) if found.event]
        assert [event for event in told if event[1] == "create"] == [("b", "create"), ("c", "create")]
        assert sorted(event for event in told if event[1] == "resume") == [("a", "resume"), ("b", "resume")]


async def test_watches_are_bounded_and_end_with_their_host(tmp_path: Path) -> None:
    """One too many is told so, a closed one makes room, and the host's end ends them all with a reason."""
    settings = HostSettings(name="alpha", data=tmp_path / "alpha", drain_s=1.0, max_watches=1)
    async with AsyncExitStack() as stack:
        alpha = await site(stack, tmp_path, "alpha", settings=settings)
        stub: lifecycle_pb2_grpc.LifecycleServiceAsyncStub = lifecycle_pb2_grpc.LifecycleServiceStub(alpha.channel)
        open_one = stub.WatchPaglets(lifecycle_pb2.WatchPagletsRequest())
        await open_one.read()
        second = await refused(_read(stub))
        assert second.what == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_READS")
        assert second.metadata == {"limit": "1"}
        open_one.cancel()
        async with Client(alpha.running.address) as other, aclosing(other.watch()) as notices:
            await begin(notices)  # the client tries again until there is room
        wrong = await refused(_read(stub, cursor="wrong"))
        assert wrong.reason in {"MALFORMED_REQUEST", "TOO_MANY_READS"}
        assert (await ask(alpha.channel, await _probe(alpha.client), "Read")).text == ""


async def _probe(client: Client) -> str:
    return (await client.create(PROBE_TYPE)).paglet_id


async def _read(stub: lifecycle_pb2_grpc.LifecycleServiceAsyncStub, cursor: str = "") -> object:
    return await stub.WatchPaglets(lifecycle_pb2.WatchPagletsRequest(cursor=cursor)).read()
