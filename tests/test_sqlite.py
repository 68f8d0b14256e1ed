"""One writer, group commit, and writes that are whole or not at all."""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
import threading
from collections.abc import AsyncGenerator
from functools import partial
from pathlib import Path

import pytest

from paglets.sqlite import Database, keep_folder
from paglets.testing import local_host

SCHEMA = "CREATE TABLE numbers (n INTEGER PRIMARY KEY)"


@pytest.fixture
async def database(tmp_path: Path) -> AsyncGenerator[Database]:
    """An empty table of numbers."""
    opened = Database(tmp_path / "numbers.db", SCHEMA)
    yield opened
    await opened.close()


async def _numbers(database: Database) -> list[int]:
    rows = await database.read(lambda db: db.execute("SELECT n FROM numbers ORDER BY n").fetchall())
    return [row["n"] for row in rows]


async def test_write_is_seen_by_the_next_read(database: Database) -> None:
    """What was acknowledged can be read."""
    await database.write(lambda db: db.execute("INSERT INTO numbers VALUES (1)"))
    assert await _numbers(database) == [1]


async def test_commits_wait_for_the_disk(database: Database) -> None:
    """SQLite syncs its log with every commit: what is acknowledged outlives a loss of power."""
    for pragma, value in (("journal_mode", "wal"), ("synchronous", 2)):
        assert await database.write(lambda db, name=pragma: db.execute(f"PRAGMA {name}").fetchone()[0]) == value


async def test_failed_write_undoes_itself_alone(database: Database) -> None:
    """A write that raises takes its own changes back and nobody else's, though they share a commit."""

    def broken(db: sqlite3.Connection) -> None:
        db.execute("INSERT INTO numbers VALUES (2)")
        raise LookupError("no")

    good, bad = database.submit(lambda db: db.execute("INSERT INTO numbers VALUES (1)")), database.submit(broken)
    last = database.submit(lambda db: db.execute("INSERT INTO numbers VALUES (3)"))
    outcomes = await asyncio.gather(good, bad, last, return_exceptions=True)
    assert isinstance(outcomes[1], LookupError)
    assert await _numbers(database) == [1, 3]


@pytest.mark.unrehearsed
@pytest.mark.parametrize("writes", [False, True])
async def test_a_neighbour_runs_again_only_after_what_failed_had_written(database: Database, *, writes: bool) -> None:
    """A failure that wrote nothing costs its neighbours nothing; else they run again, as if for the first time."""
    runs: list[int] = []

    def add(number: int, db: sqlite3.Connection) -> int:
        runs.append(number)
        db.execute("INSERT INTO numbers VALUES (?)", (number,))
        return db.execute("SELECT COUNT(*) FROM numbers").fetchone()[0]

    def broken(db: sqlite3.Connection) -> None:
        if writes:
            db.execute("INSERT INTO numbers VALUES (9)")
        raise LookupError("no")

    begun, gathered = threading.Event(), threading.Event()

    def hold(_: sqlite3.Connection) -> None:
        begun.set()
        gathered.wait()

    held = database.submit(hold)
    await asyncio.to_thread(begun.wait)
    first, failed, last = database.submit(partial(add, 1)), database.submit(broken), database.submit(partial(add, 2))
    gathered.set()
    await held
    with pytest.raises(LookupError):
        await failed
    assert (await first, await last) == (1, 2)
    assert await _numbers(database) == [1, 2]
    assert runs == ([1, 1, 2] if writes else [1, 2])


async def test_writes_are_made_in_the_order_of_submission(database: Database) -> None:
    """A later write sees what an earlier one did."""

    def add(db: sqlite3.Connection) -> int:
        db.execute("INSERT INTO numbers VALUES (NULL)")
        return db.execute("SELECT COUNT(*) FROM numbers").fetchone()[0]

    assert await asyncio.gather(*(database.submit(add) for _ in range(500))) == list(range(1, 501))


async def test_waiting_writes_share_a_commit(tmp_path: Path) -> None:
    """Hundreds of writes at once cost a few commits: the log grows by frames of a commit, not of a write."""
    database = Database(tmp_path / "numbers.db", SCHEMA)
    before = (tmp_path / "numbers.db-wal").stat().st_size
    writes = [database.submit(lambda db: db.execute("INSERT INTO numbers VALUES (NULL)")) for _ in range(250)]
    await asyncio.gather(*writes)
    grown = (tmp_path / "numbers.db-wal").stat().st_size - before
    await database.close()
    assert grown < 250 * 4096 / 4


async def test_cancelled_caller_does_not_take_the_write_back(database: Database) -> None:
    """The write was submitted; who asked for it is gone."""
    waiting = database.submit(lambda db: db.execute("INSERT INTO numbers VALUES (7)"))
    waiting.cancel()
    await database.write(lambda _: None)
    assert await _numbers(database) == [7]


async def test_failed_read_is_told_and_disturbs_nobody(database: Database) -> None:
    """What a read raises is its caller's; the next one is answered."""

    def broken(db: sqlite3.Connection) -> None:
        db.execute("SELECT n FROM nowhere")

    for _ in range(5):  # more than there are threads
        with pytest.raises(sqlite3.OperationalError, match="nowhere"):
            await database.read(broken)
    assert await _numbers(database) == []


async def test_read_without_a_connection_is_told(tmp_path: Path) -> None:
    """A file that cannot be opened fails the read, which can be made again when it can."""
    path = tmp_path / "numbers.db"
    database = Database(path, SCHEMA)
    hidden = path.rename(tmp_path / "elsewhere.db")
    path.mkdir()
    with pytest.raises(sqlite3.OperationalError):
        await _numbers(database)
    path.rmdir()
    hidden.rename(path)
    assert await _numbers(database) == []
    await database.close()


async def test_read_of_a_cancelled_caller_holds_up_nobody(database: Database) -> None:
    """Whoever does not wait any more is not told, and the next one is answered."""
    begun, cancelled = threading.Event(), threading.Event()

    def look(_: sqlite3.Connection) -> None:
        begun.set()
        cancelled.wait()

    reading = asyncio.create_task(database.read(look))
    await asyncio.to_thread(begun.wait)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    cancelled.set()
    assert await _numbers(database) == []


async def test_closed_database_takes_nothing(tmp_path: Path) -> None:
    """Closing finishes what is queued; whoever comes later is told."""
    database = Database(tmp_path / "numbers.db", SCHEMA)
    queued = database.submit(lambda db: db.execute("INSERT INTO numbers VALUES (1)"))
    await database.close()
    await database.close()
    assert queued.done()
    with pytest.raises(sqlite3.ProgrammingError):
        await database.write(lambda _: None)


async def test_layout_of_another_version_is_refused(tmp_path: Path) -> None:
    """A file of a newer version is left alone."""
    await Database(tmp_path / "numbers.db", SCHEMA, version=2).close()
    with pytest.raises(sqlite3.DatabaseError, match="layout 2"):
        Database(tmp_path / "numbers.db", SCHEMA, version=1)


async def test_failed_commit_reaches_every_caller_and_the_owner(tmp_path: Path) -> None:
    """When the commit itself fails, nobody is told that his write was made."""
    told: list[sqlite3.Error] = []
    database = Database(tmp_path / "numbers.db", SCHEMA, on_failure=told.append)

    def spoil(db: sqlite3.Connection) -> None:
        db.execute("PRAGMA defer_foreign_keys = ON")
        db.execute("INSERT INTO child VALUES (1)")

    await database.write(lambda db: db.execute("CREATE TABLE child (n REFERENCES numbers(n))"))
    outcomes = await asyncio.gather(
        database.submit(spoil),
        database.submit(lambda db: db.execute("INSERT INTO numbers VALUES (5)")),
        return_exceptions=True,
    )
    assert all(isinstance(outcome, sqlite3.IntegrityError) for outcome in outcomes)
    assert len(told) == 1
    assert await _numbers(database) == []
    await database.close()


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files and folders that are synced from now on."""
    paths: list[Path] = []
    fsync = os.fsync

    def note(descriptor: int) -> None:
        fsync(descriptor)
        paths.append(Path(f"/proc/self/fd/{descriptor}").readlink())

    monkeypatch.setattr(os, "fsync", note)
    return paths


def test_folder_to_keep_things_in(tmp_path: Path, synced: list[Path]) -> None:
    """Each new name is durable from above, the folder's own also if somebody made it who died before he synced it."""
    folder = tmp_path / "a" / "b"
    keep_folder(folder, mode=0o700)
    assert synced == [tmp_path, tmp_path / "a", tmp_path / "a"]
    assert folder.stat().st_mode & 0o777 == 0o700
    synced.clear()
    keep_folder(folder, mode=0o700)
    assert synced == [tmp_path / "a"]


def test_folder_below_one_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that is there is taken, also where those above are not ours to open."""

    def refuse(path: Path, _flags: int) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    monkeypatch.setattr(os, "open", refuse)
    keep_folder(tmp_path)
    with pytest.raises(PermissionError):
        keep_folder(tmp_path / "new")


async def test_the_folder_of_a_host_is_durable(tmp_path: Path, synced: list[Path]) -> None:
    """The name of a host's data folder is durable before anything is kept there."""
    async with local_host(data=tmp_path / "data"):
        assert synced[0] == tmp_path


async def test_no_cursor_leaves_its_thread(database: Database) -> None:
    """What a write returns or raises holds no cursor: it would break into the statements of others."""
    statement, rows = "INSERT OR REPLACE INTO numbers VALUES (?)", [(1,), (2,)]
    cursor = await database.write(lambda db: db.executemany(statement, rows))
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        cursor.fetchone()

    def failing(db: sqlite3.Connection) -> None:
        held = db.execute("SELECT n FROM numbers")
        raise LookupError(held.fetchone()[0])

    for attempt in (database.write, database.read):
        with pytest.raises(LookupError) as caught:
            await attempt(failing)
        frames = [frame.frame.f_locals for frame in caught.traceback if frame.name == "failing"]
        assert frames == [{}]
