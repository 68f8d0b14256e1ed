"""What every directory tells those who watch its hosts, and what MeshService makes of it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest

from paglet.v1 import mesh_pb2_grpc
from paglets.client.channel import open_channel
from paglets.client.host_watch import watch_hosts
from paglets.directory import tables
from paglets.directory.contract import Directory
from paglets.directory.sqlite import SqliteDirectory
from paglets.services.host_watch import host_notices
from paglets.sqlite import Database
from paglets.values import HostChange, HostRef
from tests.directory.support import PATIENCE_S, Clock, CountingDatabase, host, new, put, serving

T = TypeVar("T")
_SOON_S = 0.05


async def following(lists: AsyncGenerator[Sequence[HostRef], None]) -> dict[str, bool]:
    """Which hosts are online by what is told next."""
    async with asyncio.timeout(PATIENCE_S):
        return {found.name: found.online for found in await anext(lists)}


async def test_hosts_are_told_again_when_one_changes(directory: Directory) -> None:
    """All that there are, then all of them again when one joins, says otherwise what it is, and leaves."""
    await directory.lease_register(host("alpha"), 10)
    async with aclosing(directory.watch_hosts()) as lists:
        assert await following(lists) == {"alpha": True}
        await directory.lease_register(host("beta", "uid-2"), 10)
        assert await following(lists) == {"alpha": True, "beta": True}
        await directory.lease_register(replace(host("beta", "uid-2"), tags=("gpu",)), 10)
        assert [found.tags for found in await anext(lists)] == [(), ("gpu",)]
        await directory.lease_revoke("beta", "uid-2")
        assert await following(lists) == {"alpha": True, "beta": False}


async def test_end_of_a_lease_is_told(directory: Directory, clock: Clock) -> None:
    """Nobody writes when a lease ends; a renewal of one that had ended is told too."""
    await directory.lease_register(host("alpha"), _SOON_S)
    async with aclosing(directory.watch_hosts()) as lists:
        assert await following(lists) == {"alpha": True}
        clock.now += 1
        assert await following(lists) == {"alpha": False}
        await directory.lease_keepalive("alpha", "uid-1", 10)
        assert await following(lists) == {"alpha": True}


async def test_lease_that_ends_sooner_than_was_said(directory: Directory, clock: Clock) -> None:
    """A watch that waits for the end of a long lease learns that it was made a short one."""
    await directory.lease_register(host("alpha"), 3600)
    async with aclosing(directory.watch_hosts()) as lists:
        assert await following(lists) == {"alpha": True}
        await directory.lease_keepalive("alpha", "uid-1", _SOON_S)
        clock.now += 1
        assert await following(lists) == {"alpha": False}


async def test_watch_of_hosts_looks_at_what_is_written_to_hosts_alone(tmp_path: Path, clock: Clock) -> None:
    """Writes of rows, and leases that are renewed in time, wake nobody who watches hosts."""
    database = CountingDatabase(tmp_path / "directory.db", tables.SCHEMA, version=tables.LAYOUT)
    directory = SqliteDirectory(database, clock)
    await directory.lease_register(host("alpha"), 10)
    async with aclosing(directory.watch_hosts()) as lists:
        assert await following(lists) == {"alpha": True}
        waiting = asyncio.ensure_future(following(lists))
        for number in range(20):
            await put(directory, new(f"cart-{number}"))
            await directory.lease_keepalive("alpha", "uid-1", 10)
        assert database.reads == 1
        await directory.lease_revoke("alpha", "uid-1")
        assert await waiting == {"alpha": False}
        assert database.reads == 2
    await directory.close()


async def test_renewal_that_is_durable_when_the_lease_was_told_to_have_ended(tmp_path: Path, clock: Clock) -> None:
    """A renewal in time that is slow to become durable is told, if the watch has seen the former end pass meanwhile."""
    database = Database(tmp_path / "directory.db", tables.SCHEMA, version=tables.LAYOUT)
    directory = SqliteDirectory(database, clock)
    await directory.lease_register(host("alpha"), _SOON_S)
    began, renewed, passed = threading.Event(), threading.Event(), threading.Event()
    async with aclosing(directory.watch_hosts()) as lists:
        assert await following(lists) == {"alpha": True}
        before = database.submit(lambda _: began.wait(PATIENCE_S))
        renewal = asyncio.ensure_future(directory.lease_keepalive("alpha", "uid-1", 10))
        await asyncio.sleep(0)
        behind = database.submit(lambda _: (renewed.set(), passed.wait(PATIENCE_S)))
        began.set()
        await asyncio.to_thread(renewed.wait, PATIENCE_S)
        clock.now += 1
        assert await following(lists) == {"alpha": False}
        passed.set()
        await asyncio.gather(before, renewal, behind)
        assert await following(lists) == {"alpha": True}
    await directory.close()


@pytest.mark.parametrize(
    "other",
    [
        {"address": "127.0.0.1:7601"},
        {"version": "0.2.0"},
        {"types": ("shop.Cart",)},
        {"tags": ("gpu",)},
        {"properties": {"rack": "7"}},
    ],
    ids=lambda other: next(iter(other)),
)
async def test_host_that_describes_itself_otherwise_has_changed(
    local: SqliteDirectory, other: dict[str, object]
) -> None:
    """One that comes back within its lease is told as it is now; one that says the same again is not told."""
    alpha = host("alpha")
    await local.lease_register(alpha, 10)
    async with (
        serving(local) as port,
        open_channel(f"127.0.0.1:{port}") as channel,
        aclosing(watch_hosts(mesh_pb2_grpc.MeshServiceStub(channel))) as notices,
        asyncio.timeout(PATIENCE_S),
    ):
        assert (await anext(notices)).change is HostChange.PRESENT
        await local.lease_register(alpha, 20)
        await local.lease_register(replace(alpha, **other), 10)
        told = await anext(notices)
    assert (told.change, told.host.online) == (HostChange.CHANGED, True)
    (name,) = other
    assert getattr(told.host, name) == other[name]


async def test_load_that_changes_is_told(directory: Directory) -> None:
    """How busy hosts are is news to who chooses among them, and to nobody who watches them come and go."""
    await directory.lease_register(host("alpha"), 3600)
    async with aclosing(directory.watch_hosts()) as lists, aclosing(host_notices(directory)) as notices:
        assert [found.load for found in await anext(lists)] == [0.0]
        assert (await anext(notices)).change is HostChange.PRESENT
        await directory.lease_keepalive("alpha", "uid-1", 3600, 0.5)
        assert [found.load for found in await anext(lists)] == [0.5]
        await directory.lease_revoke("alpha", "uid-1")
        assert (await anext(notices)).change is HostChange.LEFT
