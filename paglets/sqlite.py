"""One SQLite file with one writer: writes that come together share one fsync (group commit), reads never wait for them.

Used by the store's catalogue, the host's journal and the directory. This file must never know what is in the tables.
"""

from __future__ import annotations

import asyncio
import os
import queue
import sqlite3
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Generic, TypeVar

from paglets.offloop import off_loop

__all__ = ["Database", "fsync_folder", "keep_folder", "make_folders"]

T = TypeVar("T")
_MAX_BATCH = 256
_READERS = 2
_WRITER_CACHE_KIB = 16 * 1024
_CHECKPOINT_PAGES = 4000


class _Job(Generic[T]):
    """One write or read, its outcome, and the future that its caller awaits."""

    def __init__(self, work: Callable[[sqlite3.Connection], T]) -> None:
        self.work = work
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[T] = self.loop.create_future()
        self._result: T
        self._error: BaseException | None = None

    def run(self, connection: sqlite3.Connection) -> bool:
        """Runs the work, and keeps what it returned or raised; False when it wrote something before it failed."""
        before = connection.total_changes
        self._error = None  # of an earlier run
        try:
            self._result = _done(self.work, connection)
        except Exception as error:
            self._error = error
            if not connection.in_transaction:  # SQLite gave up the whole batch, e.g. because the disk is full
                raise
        return self._error is None or connection.total_changes == before

    def look(self, connection: sqlite3.Connection) -> None:
        """Runs the work on a connection that nothing is written by, and keeps what it returned or raised."""
        try:
            self._result = _done(self.work, connection)
        except Exception as error:  # noqa: BLE001 - raised to whoever asked
            self._error = error

    def fail(self, error: BaseException) -> None:
        """What the work needs failed: the whole batch, or the connection."""
        self._error = self._error or error

    def settle(self) -> None:
        """Tells the caller; on the caller's loop."""
        if self.future.cancelled():
            return
        if self._error is not None:
            self.future.set_exception(self._error)
        else:
            self.future.set_result(self._result)


class Database:
    """A SQLite database in WAL mode with `synchronous=FULL`.

    Writes are made in the order of their submission by one thread; all that wait are committed by one fsync. A write's
    future is done when it is durable. `on_failure` is called in the writer's thread when a commit fails.
    """

    def __init__(
        self, path: Path, schema: str, *, version: int = 1, on_failure: Callable[[sqlite3.Error], None] | None = None
    ) -> None:
        self._path = path
        self._on_failure = on_failure
        self._connection = self._connect()
        # A batch touches pages all over the trees of digests: keep them, and do not write them back after each batch.
        for pragma in (f"cache_size=-{_WRITER_CACHE_KIB}", f"wal_autocheckpoint={_CHECKPOINT_PAGES}"):
            self._connection.execute(f"PRAGMA {pragma}")
        self._create(schema, version)
        self._jobs: queue.SimpleQueue[_Job[Any] | None] = queue.SimpleQueue()
        self._reads: queue.SimpleQueue[_Job[Any] | None] = queue.SimpleQueue()
        loops = (("write", self._write_loop), *(("read", self._read_loop) for _ in range(_READERS)))
        self._threads = [threading.Thread(target=run, name=f"{name}-{path.stem}", daemon=True) for name, run in loops]
        for thread in self._threads:
            thread.start()
        self._closed = False

    def submit(self, work: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]:
        """Queues one write; the future is done when it is durable, or holds what `work` raised, its writes undone.

        `work` runs in the writer's thread inside a transaction and must not wait for anything. It may run twice, the
        first run undone, so it keeps nothing but what it writes and returns. A cancelled future does not take the write
        back. Call it on an event loop.
        """
        return self._queued(work, self._jobs)

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Makes one durable write and returns what `work` returned."""
        return await self.submit(work)

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Runs `work` on a read connection in a thread; it sees what was committed when it began."""
        return await self._queued(work, self._reads)

    async def close(self) -> None:
        """Finishes the queued writes and closes the file. Closing again does nothing."""
        if self._closed:
            return
        self._closed = True
        self._jobs.put(None)
        for _ in range(_READERS):
            self._reads.put(None)
        for thread in self._threads:
            await off_loop(thread.join)
        self._connection.close()

    def _queued(
        self, work: Callable[[sqlite3.Connection], T], jobs: queue.SimpleQueue[_Job[Any] | None]
    ) -> asyncio.Future[T]:
        if self._closed:
            raise sqlite3.ProgrammingError(f"{self._path.name} is closed")
        job = _Job(work)
        jobs.put(job)
        return job.future

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=30)
        connection.row_factory = sqlite3.Row
        # What savepoints keep of pages needs no file: a crash undoes them anyway.
        durable = ("journal_mode=WAL", "synchronous=FULL", "temp_store=MEMORY")
        for pragma in (*durable, "foreign_keys=ON", "busy_timeout=30000"):
            connection.execute(f"PRAGMA {pragma}")
        return connection

    def _create(self, schema: str, version: int) -> None:
        (found,) = self._connection.execute("PRAGMA user_version").fetchone()
        if found not in (0, version):
            raise sqlite3.DatabaseError(f"{self._path} has layout {found}; this version of paglets reads {version}")
        if found == 0:
            self._connection.executescript(f"BEGIN; {schema}; PRAGMA user_version={version}; COMMIT;")
            fsync_folder(self._path.parent)

    def _read_loop(self) -> None:
        connection: sqlite3.Connection | None = None
        while (job := self._reads.get()) is not None:
            try:
                connection = connection or self._connect()
            except sqlite3.Error as error:
                job.fail(error)
            else:
                job.look(connection)
            _settle([job])
            del job  # nor what it holds, until the next comes
        if connection is not None:
            connection.close()

    def _write_loop(self) -> None:
        while (first := self._jobs.get()) is not None:
            batch, last = self._gather(first)
            self._commit(batch)
            _settle(batch)
            if last:
                return

    def _gather(self, first: _Job[Any]) -> tuple[list[_Job[Any]], bool]:
        """Takes all jobs that wait already; the flag says that the database is being closed."""
        batch = [first]
        while len(batch) < _MAX_BATCH:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                break
            if job is None:
                return batch, True
            batch.append(job)
        return batch, False

    def _commit(self, batch: list[_Job[Any]]) -> None:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            if not all(job.run(self._connection) for job in batch):
                self._connection.execute("ROLLBACK")
                self._connection.execute("BEGIN IMMEDIATE")
                self._run_apart(batch)
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            for job in batch:
                job.fail(error)
            if self._on_failure is not None:
                self._on_failure(error)

    def _run_apart(self, batch: list[_Job[Any]]) -> None:
        """Runs jobs so that one that fails undoes its own writes alone.

        A savepoint does that. It costs two statements, each of which lets go of the interpreter, and a copy of every
        page that the job changes: so no job gets one before another has written something and failed.
        """
        for job in batch:
            self._connection.execute("SAVEPOINT job")
            if not job.run(self._connection):
                self._connection.execute("ROLLBACK TO job")
            self._connection.execute("RELEASE job")


def _done(work: Callable[[sqlite3.Connection], T], connection: sqlite3.Connection) -> T:
    """Does the work and leaves no cursor behind, neither in what it returns nor in the frames of what it raises.

    A cursor resets its statement when it goes, in whatever thread that is: in another one than the connection's it does
    so in the middle of somebody else's use of the same statement.
    """
    try:
        result = work(connection)
    except BaseException as error:
        traceback.clear_frames(error.__traceback__)
        raise
    if isinstance(result, sqlite3.Cursor):
        result.close()
    return result


def _settle(batch: list[_Job[Any]]) -> None:
    """Wakes each loop once for all its jobs; a loop that is closed meanwhile has nobody left to tell."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Job[Any]]] = {}
    for job in batch:
        by_loop.setdefault(job.loop, []).append(job)
    for loop, jobs in by_loop.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(_settle_all, jobs)


def _settle_all(jobs: list[_Job[Any]]) -> None:
    for job in jobs:
        job.settle()


def keep_folder(folder: Path, *, mode: int = 0o777) -> None:
    """Makes a folder to keep things in, and its name durable, also if a process died between the two."""
    make_folders(folder, mode=mode)
    with suppress(PermissionError):  # others may list the folder above, which is not ours then, and not made by us
        fsync_folder(folder.parent)


def make_folders(folder: Path, *, mode: int = 0o777) -> None:
    """Makes a folder and its parents, and the names of the new ones durable. `mode` is the folder's own."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(mode if path == folder else 0o777, exist_ok=True)
        fsync_folder(path.parent)


def fsync_folder(folder: Path) -> None:
    """Makes the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
