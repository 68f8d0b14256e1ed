"""What every directory promises of the services that paglets answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest

from paglets.directory.contract import Directory, PagletState, ServiceNews
from paglets.directory.sqlite import SqliteDirectory
from paglets.discovery import ServiceKey, ServiceRecord, ServiceScope
from paglets.errors import InvalidArgumentError, NotFoundError
from tests.directory.support import PATIENCE_S, Clock, changed, departing, disposed, host, new, put

CARTS = ServiceRecord(
    service="shop.v1.CartService", paglet_id="cart", operations=("Put", "Take"), advertiser="alpha", tags=("fast",)
)


async def told(watch: AsyncGenerator[ServiceNews, None]) -> ServiceNews:
    """The next news."""
    async with asyncio.timeout(PATIENCE_S):
        return await anext(watch)


async def known(directory: Directory, asks: str = "alpha") -> list[ServiceRecord]:
    """All records that a host may tell of now."""
    records: list[ServiceRecord] = []
    async with aclosing(directory.watch_services(asks)) as watch:
        while True:
            news = await told(watch)
            records.extend(news.records)
            if not news.more:
                return records


async def test_svc_5_record_names_a_paglet_and_is_told_with_its_host(directory: Directory) -> None:
    """What was advertised comes back as it was, with the host that the paglet is on."""
    await put(directory, new("cart", "beta"))
    written = await directory.advertise(CARTS)
    assert written == replace(CARTS, host="beta")
    assert await known(directory) == [written]


async def test_svc_5_advertising_again_replaces(directory: Directory) -> None:
    """There is one record of a service of a paglet: the last one."""
    await put(directory, new("cart"))
    await directory.advertise(CARTS, 60)
    again = await directory.advertise(replace(CARTS, operations=("Put",), tags=()))
    assert await known(directory) == [again]


async def test_svc_5_nobody_who_is_not_there_answers(directory: Directory) -> None:
    """Only a living paglet is advertised, so no late write brings one back that has ended."""
    with pytest.raises(NotFoundError) as caught:
        await directory.advertise(CARTS)
    assert caught.value.reason == "PAGLET_NOT_FOUND"
    (row,) = await put(directory, new("cart"))
    await put(directory, disposed(row))
    with pytest.raises(NotFoundError):
        await directory.advertise(CARTS)


async def test_svc_5_record_ends_with_its_time(directory: Directory, clock: Clock) -> None:
    """One that has a time to live is there until then, and not a moment longer, by the directory's clock."""
    await put(directory, new("cart"))
    written = await directory.advertise(CARTS, 60)
    assert written.expires_at == pytest.approx(clock.now + 60)
    clock.now += 59.9
    assert [record.key for record in await known(directory)] == [CARTS.key]
    clock.now += 0.2
    assert await known(directory) == []


async def test_svc_5_watch_tells_of_the_end_when_it_comes(tmp_path: Path) -> None:
    """Nobody needs to write anything for a record to end."""
    directory = await SqliteDirectory.open(tmp_path / "directory.db")
    try:
        await put(directory, new("cart"))
        async with aclosing(directory.watch_services("alpha")) as watch:
            assert (await told(watch)).anew
            await directory.advertise(CARTS, 0.2)
            assert [record.key for record in (await told(watch)).records] == [CARTS.key]
            assert (await told(watch)).gone == (CARTS.key,)
    finally:
        await directory.close()


async def test_svc_5_disposal_ends_it_in_the_same_write(directory: Directory) -> None:
    """Whoever sees the tombstone finds no record, and a later life of the id has none."""
    (row,) = await put(directory, new("cart"))
    await directory.advertise(CARTS)
    async with aclosing(directory.watch_services("alpha")) as watch:
        await told(watch)
        (tombstone,) = await put(directory, disposed(row))
        assert await known(directory) == []
        assert (await told(watch)).gone == (CARTS.key,)
    await put(directory, new("cart", after=tombstone))
    assert await known(directory) == []


async def test_svc_5_moving_changes_the_host_and_nothing_else(directory: Directory) -> None:
    """A record names no place: a paglet that moves goes on being found, where it is."""
    (row,) = await put(directory, new("cart"))
    await directory.advertise(CARTS)
    async with aclosing(directory.watch_services("alpha")) as watch:
        await told(watch)
        (frozen,) = await put(directory, departing(row, "x-1", "beta"))
        moved = changed(frozen, owner="beta", intent=None, epoch=frozen.epoch + 1, state=PagletState.ACTIVE)
        await put(directory, moved)
        news = await told(watch)
        while not news.records:
            news = await told(watch)
    assert (news.records, news.gone, news.anew) == ((replace(CARTS, host="beta"),), (), False)


@pytest.mark.parametrize("state", [PagletState.FAILED, PagletState.QUARANTINED])
async def test_svc_7_paglet_that_is_ill_is_not_told_of_until_it_is_well(
    directory: Directory, state: PagletState
) -> None:
    """It answers reads at most: nobody who looks for a service is sent there."""
    (row,) = await put(directory, new("cart"))
    written = await directory.advertise(CARTS)
    async with aclosing(directory.watch_services("alpha")) as watch:
        await told(watch)
        (ill,) = await put(directory, changed(row, state=state))
        assert (await told(watch)).gone == (CARTS.key,)
        assert await known(directory) == []
        await put(directory, changed(ill, state=PagletState.ACTIVE))
        assert (await told(watch)).records == (written,)
    assert await known(directory) == [written]


async def test_svc_5_withdrawn_is_gone(directory: Directory) -> None:
    """Withdrawing ends one service of one paglet, and may be repeated."""
    await put(directory, new("cart"), new("other"))
    await directory.advertise(CARTS)
    stays = await directory.advertise(replace(CARTS, paglet_id="other"))
    for _ in range(2):
        await directory.withdraw(CARTS.service, "cart")
    assert await known(directory) == [stays]


async def test_svc_6_local_record_is_told_to_its_host_alone(directory: Directory) -> None:
    """What is advertised for one host is not even sent to the others."""
    await put(directory, new("cart"))
    written = await directory.advertise(replace(CARTS, scope=ServiceScope.LOCAL))
    assert await known(directory, "alpha") == [written]
    assert await known(directory, "beta") == []


async def test_svc_8_hosts_declare_what_is_not_there_yet(directory: Directory) -> None:
    """A registration declares all resident services of its host; the next one replaces them."""
    resident = replace(CARTS, resident=True, tags=())
    await directory.lease_register(replace(host("alpha"), services=(resident,)), 10)
    await directory.lease_register(replace(host("beta"), services=(replace(resident, advertiser="beta"),)), 10)
    assert {(found.host, found.key) for found in await known(directory)} == {
        ("alpha", ServiceKey(CARTS.service, "cart", "alpha")),
        ("beta", ServiceKey(CARTS.service, "cart", "beta")),
    }
    (row,) = await put(directory, new("cart", "beta"))
    assert {found.host for found in await known(directory)} == {"beta"}
    await put(directory, disposed(row))
    assert {found.host for found in await known(directory)} == {"alpha", "beta"}
    await directory.withdraw(CARTS.service, "cart")
    await directory.lease_register(host("alpha"), 10)
    assert [found.key for found in await known(directory)] == [ServiceKey(CARTS.service, "cart", "beta")]


async def test_records_of_one_paglet_are_bounded(directory: Directory) -> None:
    """A paglet cannot fill the directory; what it advertised before can be advertised again."""
    await put(directory, new("cart"))
    for number in range(100):
        await directory.advertise(replace(CARTS, service=f"shop.v1.Service{number}"))
    with pytest.raises(InvalidArgumentError, match="at most 100"):
        await directory.advertise(CARTS)
    await directory.advertise(replace(CARTS, service="shop.v1.Service7"))


async def test_many_records_come_in_parts(directory: Directory) -> None:
    """However many records there are, no message is too large, and the watch says when all are told."""
    records = tuple(
        replace(CARTS, paglet_id=f"cart-{number}", resident=True, operations=("O" * 100,) * 10) for number in range(999)
    )
    await directory.lease_register(replace(host("alpha"), services=records), 10)
    assert len(await known(directory)) == 999


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"service": "no service"}, id="service"),
        pytest.param({"service": "x" * 257}, id="long-service"),
        pytest.param({"operations": ()}, id="no-operations"),
        pytest.param({"operations": ("a/b",)}, id="operation"),
        pytest.param({"tags": ("Not An Id",)}, id="tag"),
        pytest.param({"tags": tuple(f"t{number}" for number in range(65))}, id="tags"),
        pytest.param({"paglet_id": "Not An Id"}, id="paglet"),
    ],
)
async def test_record_that_is_none_is_refused(directory: Directory, changes: dict[str, object]) -> None:
    """A directory takes no record out of bounds, through whichever door it comes."""
    await put(directory, new("cart"))
    with pytest.raises(InvalidArgumentError):
        await directory.advertise(replace(CARTS, **changes))
    with pytest.raises(InvalidArgumentError):
        await directory.lease_register(replace(host("alpha"), services=(replace(CARTS, **changes),)), 10)


@pytest.mark.parametrize("ttl_s", [0.0, -1.0, 1e9, float("nan"), float("inf")])
async def test_time_that_is_none_is_refused(directory: Directory, ttl_s: float) -> None:
    """A record lasts more than no time, and at most a year."""
    await put(directory, new("cart"))
    with pytest.raises(InvalidArgumentError) as caught:
        await directory.advertise(CARTS, ttl_s)
    assert caught.value.field == "ttl"


async def test_records_outlive_the_directorys_process(tmp_path: Path, clock: Clock) -> None:
    """They are as durable as rows."""
    path = tmp_path / "directory.db"
    first = await SqliteDirectory.open(path, clock)
    await put(first, new("cart"))
    written = await first.advertise(CARTS, 60)
    await first.close()
    second = await SqliteDirectory.open(path, clock)
    try:
        assert await known(second) == [written]
    finally:
        await second.close()
