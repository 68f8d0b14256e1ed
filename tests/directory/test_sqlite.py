"""What the directory in a file promises beyond the contract."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from paglets.directory import events, leases, tables
from paglets.directory.sqlite import KEEP_TOMBSTONES_S, SqliteDirectory
from paglets.errors import PagletError, UnavailableError
from paglets.sqlite import Database
from tests.directory.support import Clock, changed, disposed, host, new, put, take


async def reopened(directory: SqliteDirectory, path: Path, clock: Clock) -> SqliteDirectory:
    """The same file, closed and opened."""
    await directory.close()
    return await SqliteDirectory.open(path, clock)


def made(folder: Path, on_failure: Callable[[sqlite3.Error], None] | None = None) -> Database:
    """A directory's database, within reach."""
    return Database(folder / "made.db", tables.SCHEMA, version=tables.LAYOUT, on_failure=on_failure)


def limit_pages(connection: sqlite3.Connection) -> None:
    """Lets the file grow no more, as on a full disk."""
    connection.execute("PRAGMA max_page_count = 1")


async def test_everything_is_there_after_a_restart(tmp_path: Path, clock: Clock) -> None:
    """Rows, tombstones, hosts and the counter of revisions outlive the process."""
    path = tmp_path / "directory.db"
    directory = await SqliteDirectory.open(path, clock)
    row, gone = await put(directory, new("a"), new("b"))
    (gone,) = await put(directory, disposed(gone))
    await directory.lease_register(host("alpha"), 10)
    hosts = await directory.hosts()
    directory = await reopened(directory, path, clock)
    assert (await directory.get("a"), await directory.get("b")) == (row, gone)
    assert await directory.hosts() == hosts
    assert (await put(directory, new("c")))[0].revision == gone.revision + 1
    await directory.close()


async def test_old_tombstones_are_dropped_at_start(tmp_path: Path, clock: Clock) -> None:
    """A tombstone stays for a week; the revision goes on after it, so that its id begins with a higher epoch."""
    path = tmp_path / "directory.db"
    directory = await SqliteDirectory.open(path, clock)
    (early,) = await put(directory, new("early"))
    (early,) = await put(directory, disposed(early))
    clock.now += 3600
    (late,) = await put(directory, new("late"))
    (late,) = await put(directory, disposed(late))
    clock.now += KEEP_TOMBSTONES_S - 1800
    directory = await reopened(directory, path, clock)
    assert (await directory.get("early"), await directory.get("late")) == (None, late)
    clock.now += 3600
    directory = await reopened(directory, path, clock)
    assert await directory.get("late") is None
    (again,) = await put(directory, new("early"))
    assert again.epoch == late.revision + 1
    await directory.close()


async def test_slow_watch_gets_the_latest_version_only(local: SqliteDirectory) -> None:
    """What a watch has not taken is nowhere but in the table: the versions in between are gone."""
    rows = local.watch(0)
    (row,) = await put(local, new("a"))
    assert await take(rows, 1) == [row]
    for number in range(50):
        (row,) = await put(local, changed(row, error=str(number)))
    (last,) = await put(local, new("b"))
    assert await take(rows, 2) == [row, last]


async def test_write_of_a_cancelled_caller_is_told(tmp_path: Path, clock: Clock) -> None:
    """A write that became durable is seen by watches, though whoever asked for it has gone."""
    database, gate = made(tmp_path), threading.Event()
    directory = SqliteDirectory(database, clock)
    held = database.submit(lambda _: gate.wait())
    waiting = asyncio.ensure_future(take(directory.watch(0), 1))
    # The watch has found nothing, and waits, when reads that began after its own are answered.
    await asyncio.gather(*(directory.get("cart") for _ in range(4)))
    writer = asyncio.ensure_future(directory.apply([new("cart")]))
    await asyncio.sleep(0)
    writer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writer
    gate.set()
    await held
    assert [row.paglet_id for row in await waiting] == ["cart"]
    await directory.close()


async def test_closed_directory_is_unavailable(tmp_path: Path) -> None:
    """Whoever still asks is told so, and a watch ends with the same error."""
    directory = await SqliteDirectory.open(tmp_path / "directory.db")
    watching = asyncio.ensure_future(take(directory.watch(0), 1))
    await directory.get("cart")
    await directory.close()
    for call in (watching, directory.get("cart"), directory.apply([new("cart")]), directory.hosts()):
        with pytest.raises(UnavailableError) as caught:
            await call
        assert caught.value.reason == "DIRECTORY_UNAVAILABLE"
    await directory.close()


async def test_failing_commit_is_told(tmp_path: Path, clock: Clock) -> None:
    """A commit that fails is DIRECTORY_UNAVAILABLE to the caller, and an alarm to whoever opened the file."""
    failures: list[sqlite3.Error] = []
    database = made(tmp_path, failures.append)
    directory = SqliteDirectory(database, clock)
    await database.write(limit_pages)
    with pytest.raises(PagletError) as caught:
        await directory.apply([new(f"cart-{number}") for number in range(1000)])
    assert caught.value.reason == "DIRECTORY_UNAVAILABLE"
    assert await directory.list() == []
    await directory.close()


def plans(connection: sqlite3.Connection, reads: list[Callable[[sqlite3.Connection], object]]) -> list[str]:
    """How SQLite runs what the reads ask for."""
    queries: list[str] = []
    connection.set_trace_callback(queries.append)
    for read in reads:
        read(connection)
    connection.set_trace_callback(None)
    return [
        "; ".join(step["detail"] for step in connection.execute(f"EXPLAIN QUERY PLAN {query}")) for query in queries
    ]


async def test_no_query_scans_the_table(tmp_path: Path) -> None:
    """Lists, watches and hosts are answered from an index, in its order, however many rows there are."""
    reads: list[Callable[[sqlite3.Connection], object]] = [
        lambda connection: tables.find_row(connection, "cart"),
        lambda connection: tables.list_rows(connection, "cart", 10, "", "", awake=False),
        lambda connection: tables.list_rows(connection, "cart", 10, "alpha", "", awake=False),
        lambda connection: tables.list_rows(connection, "cart", 10, "", "shop.Cart", awake=False),
        lambda connection: tables.list_rows(connection, "cart", 10, "alpha", "shop.Cart", awake=False),
        lambda connection: tables.list_rows(connection, "cart", 10, "alpha", "", awake=True),
        lambda connection: tables.rows_after(connection, 7, 10),
        lambda connection: leases.list_hosts(connection, 0.0),
        lambda connection: events.history(connection, "cart", 7, 10),
    ]
    database = made(tmp_path)
    found = await database.read(lambda connection: plans(connection, reads))
    await database.close()
    assert len(found) == len(reads) + 1  # a watch looks first how far the directory has come
    for plan in found:
        assert "TEMP B-TREE" not in plan
        assert "SCAN paglets" not in plan
        assert "SCAN events" not in plan
    used = {
        2: "by_owner",
        3: "by_type",
        5: "by_owner",
        7: "by_revision",
        8: "COVERING INDEX paglets_by_owner",
        9: "events_by_paglet",
    }
    for at, index in used.items():
        assert index in found[at]
