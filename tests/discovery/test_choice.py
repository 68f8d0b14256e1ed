"""Of several services that fit, the one is chosen whose host is there and has the least to do, then the nearest."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace
from pathlib import Path

import pytest

from paglet.v1 import types_pb2
from paglets.config import HostSettings, ResidentServiceSpec
from paglets.core.services import Advertisement
from paglets.directory.contract import ServiceNews
from paglets.discovery import ServiceKey, ServiceQuery, ServiceRecord, ServiceScope
from paglets.host.board import Board
from paglets.operations import query_of
from paglets.testing import eventually
from paglets.values import HostRef
from paglets.wire.services import scope_from_message
from tests.directory.support import Clock
from tests.discovery.conftest import KEEPERS, site, until_found, value
from tests.discovery.keepers import COUNTER, Slow
from tests.discovery.test_residents import ID

CARTS = ServiceRecord(service="shop.v1.CartService", paglet_id="cart", operations=("Put", "Take"), advertiser="alpha")
ANY = ServiceQuery()


def known(name: str, *, online: bool = True, load: float = 0.0) -> HostRef:
    """A host."""
    return HostRef(name=name, address="", online=online, load=load)


def on(host: str, paglet_id: str) -> ServiceRecord:
    """The service, by a paglet on a host."""
    return replace(CARTS, host=host, paglet_id=paglet_id)


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still."""
    return Clock()


@pytest.fixture
def board(clock: Clock) -> Board:
    """What alpha knows: three services on three hosts."""
    board = Board("alpha", clock)
    board.tell_hosts([known("alpha"), known("beta"), known("gamma")])
    records = (on("gamma", "c"), on("beta", "b"), on("alpha", "d"), on("beta", "a"))
    board.tell(ServiceNews(now=100.0, records=records, anew=True))
    return board


def order(board: Board, query: ServiceQuery = ANY) -> str:
    """The paglets that are found, the best first."""
    return " ".join(record.paglet_id for record in board.find(query))


def test_svc_6_nearest_first_then_by_name(board: Board) -> None:
    """Where hosts are alike, the asked host's own come first, and the rest is the same for everybody."""
    assert order(board) == "d a b c"
    board.tell_hosts([known("gamma"), known("beta"), known("alpha")])
    assert order(board) == "d a b c"


def test_svc_6_least_load_first(board: Board) -> None:
    """A host with less to do comes before a near one."""
    board.tell_hosts([known("alpha", load=2.0), known("beta", load=1.0), known("gamma", load=0.5)])
    assert order(board) == "c a b d"


def test_svc_6_hosts_that_are_away_come_last(board: Board) -> None:
    """However little they have to do; a host that nobody has told of yet has just come."""
    board.tell_hosts([known("alpha", load=8.0), known("beta", online=False)])
    assert order(board) == "c d a b"
    assert [record.online for record in board.find(ANY)] == [True, True, False, False]


def test_svc_6_default_scope_is_the_mesh() -> None:
    """Wherever none is given: of what is advertised, declared and looked for, in Python and on the wire."""
    record = ServiceRecord(service="s.v1.S", paglet_id="p", operations=())
    declared = ResidentServiceSpec(type="m.C"), Advertisement(COUNTER)
    scopes = {found.scope for found in (record, *declared, ServiceQuery(), query_of(COUNTER))}
    assert scopes | {scope_from_message(types_pb2.SERVICE_SCOPE_UNSPECIFIED)} == {ServiceScope.MESH}


def test_svc_6_query_filters(board: Board) -> None:
    """Name, operations, tags and scope all have to fit."""
    board.tell(ServiceNews(now=100.0, records=(replace(on("beta", "e"), operations=("Put",), tags=("fast",)),)))
    assert order(board, ServiceQuery(service="shop.v1.CartService", operations=("Take",))) == "d a b c"
    assert order(board, ServiceQuery(tags=("fast",))) == "e"
    assert order(board, ServiceQuery(scope=ServiceScope.LOCAL)) == "d"
    assert order(board, ServiceQuery(service="shop.v2.CartService")) == ""


def test_svc_5_record_ends_by_the_time_that_was_left(board: Board, clock: Clock) -> None:
    """A record lasts as long as the directory says, whatever the two clocks show."""
    board.tell(ServiceNews(now=100.0, records=(replace(on("beta", "brief"), expires_at=105.0),)))
    clock.now += 4.9
    assert "brief" in order(board)
    clock.now += 0.2
    assert "brief" not in order(board)


def test_svc_5_snapshot_counts_when_it_is_complete(board: Board) -> None:
    """While parts of a snapshot come, what was known before is found; then nothing of it that was not told again."""
    board.tell(ServiceNews(now=100.0, records=(on("beta", "x"),), anew=True, more=True))
    assert order(board) == "d a b c"
    board.tell(ServiceNews(now=100.0, records=(on("beta", "y"),)))
    assert order(board) == "x y"
    board.tell(ServiceNews(now=100.0, gone=(ServiceKey(CARTS.service, "x"),)))
    assert order(board) == "y"


def test_svc_8_service_of_two_starters_is_found_once(board: Board) -> None:
    """What several hosts declare is one service; it is started where there is least to do."""
    declared = replace(CARTS, paglet_id="one", resident=True)
    records = tuple(replace(declared, advertiser=name, host=name) for name in ("alpha", "beta"))
    board.tell(ServiceNews(now=100.0, records=records, anew=True))
    assert order(board) == "one"
    assert board.starter("one") == "alpha"
    board.tell_hosts([known("alpha", load=1.0), known("beta")])
    assert board.starter("one") == "beta"
    board.tell_hosts([known("alpha", load=1.0), known("beta", online=False)])
    assert board.starter("one") == "alpha"
    assert board.starter("other") is None


async def test_watch_tells_of_an_end_that_nobody_wrote(board: Board) -> None:
    """A record whose time is over is told of as gone, also while the directory says nothing."""
    loop = asyncio.get_running_loop()
    board = Board("alpha", loop.time)
    board.tell_hosts([known("alpha")])
    board.tell(ServiceNews(now=100.0, records=(replace(on("alpha", "brief"), expires_at=100.05),), anew=True))
    async with aclosing(board.watch(ANY)) as notices, asyncio.timeout(20):
        assert [(await anext(notices)).change.value for _ in range(2)] == ["present", "gone"]


@pytest.mark.slow
async def test_svc_6_busy_host_is_left_alone(tmp_path: Path) -> None:
    """Whoever looks is sent from a host that has calls under way to one that has none, and back when they are over."""
    spec = ResidentServiceSpec(type=f"{KEEPERS}.Slow", singleton=False)
    settings = HostSettings(name="alpha", data=tmp_path, residents=(spec,), lease_s=0.9, drain_s=1.0)
    Slow.released = asyncio.Event()
    async with AsyncExitStack() as stack:
        alpha = await site(stack, tmp_path, "alpha", settings=settings)
        await site(stack, tmp_path, "beta", join=alpha.address, settings=settings)
        await until_found(alpha.client, f"{ID}.alpha", f"{ID}.beta")

        async def until_chosen(paglet_id: str) -> None:
            async def look() -> bool:
                return (await alpha.client.services.require(COUNTER)).paglet_id == paglet_id

            await eventually(look, 20.0, f"{paglet_id} being chosen")

        await until_chosen(f"{ID}.alpha")
        reads = [asyncio.create_task(value(alpha.client.proxy(f"{ID}.alpha"))) for _ in range(8)]
        await until_chosen(f"{ID}.beta")
        assert (await alpha.client.host("alpha")).load > 0
        Slow.released.set()
        await asyncio.gather(*reads)
        await until_chosen(f"{ID}.alpha")
