"""A directory in one SQLite file: the embedded default, for the host that begins a mesh.

One process opens the file, and one event loop uses it: a watch is woken by the writes made through the same object.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Self, TypeVar

from paglets.config import DirectorySettings
from paglets.directory import events, leases, services, tables
from paglets.directory.contract import (
    HostRegistration,
    JourneyRecord,
    PagletRow,
    RowEvent,
    RowNotice,
    RowWrite,
    ServiceNews,
)
from paglets.directory.event_watch import watch_events
from paglets.directory.events import EventFilter
from paglets.directory.latest import LatestRows
from paglets.directory.news import News
from paglets.directory.rules import (
    check_batch,
    check_load,
    check_page,
    check_record,
    check_registration,
    check_ttl,
)
from paglets.directory.service_watch import watch_services
from paglets.discovery import ServiceRecord, check_advertised
from paglets.errors import InvalidArgumentError, UnavailableError
from paglets.faults import point
from paglets.offloop import off_loop
from paglets.sqlite import Database
from paglets.values import HostRef

__all__ = ["KEEP_TOMBSTONES_S", "SqliteDirectory"]

KEEP_TOMBSTONES_S = 7 * 24 * 3600.0
_WATCH_PAGE = 256
_DEFAULTS = DirectorySettings()

T = TypeVar("T")


class _Written(NamedTuple):
    """The rows that a batch wrote, and whether one of their paglets answers a service that is advertised."""

    rows: list[PagletRow]
    answers: bool


class SqliteDirectory:
    """The rows of a mesh in one file; keeps the contract of `paglets.directory.contract.Directory`.

    Every write is durable before it is acknowledged or seen by a watch. Raises DIRECTORY_UNAVAILABLE when the file
    cannot be used, or is closed.
    """

    def __init__(self, database: Database, clock: Callable[[], float], settings: DirectorySettings = _DEFAULTS) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings
        self._row_news = News()
        self._latest = LatestRows(_WATCH_PAGE)
        self._host_news = News()
        self._service_news = News()
        self._closed = False

    @classmethod
    async def open(
        cls,
        path: Path,
        clock: Callable[[], float] = time.time,
        *,
        keep_tombstones_s: float = KEEP_TOMBSTONES_S,
        settings: DirectorySettings = _DEFAULTS,
        on_failure: Callable[[sqlite3.Error], None] | None = None,
    ) -> Self:
        """Opens the file, or makes it, drops tombstones older than `keep_tombstones_s`, and lets leases go on.

        Who was away for longer than that cannot learn of a disposal by a watch, only by `get` or `list`. `clock` gives
        seconds since the epoch and is called in other threads. `on_failure` is called in the writer's thread when a
        commit fails, after which nothing is known of that write.
        """
        database = await off_loop(lambda: Database(path, tables.SCHEMA, version=tables.LAYOUT, on_failure=on_failure))

        def begin(connection: sqlite3.Connection) -> None:
            tables.prune_tombstones(connection, clock() - keep_tombstones_s)
            leases.resume(connection, clock())

        await database.write(begin)
        return cls(database, clock, settings)

    async def close(self) -> None:
        """Makes the writes under way durable and closes the file; watches end with DIRECTORY_UNAVAILABLE."""
        self._closed = True
        self._row_news.tell()
        self._host_news.tell()
        self._service_news.tell()
        await self._database.close()

    async def get(self, paglet_id: str) -> PagletRow | None:
        """Reads one row, a tombstone included; None when the id was never used, or its tombstone was dropped."""
        return await self._read(lambda connection: tables.find_row(connection, paglet_id))

    async def list(
        self,
        *,
        after: str = "",
        limit: int = 1000,
        owner: str = "",
        type_name: str = "",
        awake: bool = False,
    ) -> Sequence[PagletRow]:
        """Reads live rows with ids after `after` in order; fewer than `limit` (1 to 1000) means the last."""
        check_page(limit)
        return await self._read(
            lambda connection: tables.list_rows(connection, after, limit, owner, type_name, awake=awake)
        )

    async def apply(
        self,
        writes: Sequence[RowWrite],
        *,
        journeys: Sequence[JourneyRecord] = (),
        forget: Sequence[str] = (),
        above: int = 0,
    ) -> Sequence[PagletRow]:
        """Makes all writes durably, or none. A caller that is cancelled meanwhile does not know the outcome."""
        check_batch(writes, journeys, forget, above)

        def work(connection: sqlite3.Connection) -> _Written:
            now, kept = self._clock(), self._settings
            answers = services.any_answered(connection, [write.row.paglet_id for write in writes])
            written = tables.write_batch(connection, writes, now, journeys, above)
            tables.write_journeys(connection, journeys, forget)
            if written:
                last, before = written[-1].revision, now - kept.keep_events_s
                events.forget_events(connection, last, len(written), kept.keep_events, before)
            return _Written(written, answers)

        point("directory.apply.before")
        written = await self._write(work, self._rows_written)
        point("directory.apply.after")
        return written.rows

    async def watch(self, after_revision: int) -> AsyncIterator[PagletRow]:
        """Rows with a greater revision in the order of revisions, then each change as it comes.

        A slow consumer costs no memory: it reads the table in pages, and a row that changed often meanwhile comes once,
        as it is then. Who keeps up is given what was just written, and reads nothing.
        """
        if after_revision < 0:
            raise InvalidArgumentError(
                "MALFORMED_REQUEST", f"a revision is 0 or more, got {after_revision}", field="after_revision"
            )
        seen = after_revision
        while True:
            changed = self._row_news.next  # before the page is read
            self._check_open()
            page = self._latest.after(seen)
            if page is None:
                page = await self._read(lambda connection, seen=seen: tables.rows_after(connection, seen, _WATCH_PAGE))
            for row in page:
                seen = row.revision
                yield row
            if len(page) < _WATCH_PAGE:
                await changed.wait()

    async def history(self, paglet_id: str, *, after: int = 0, limit: int = 1000) -> Sequence[RowEvent]:
        """What became of one id, as far as it is kept, in order; fewer than `limit` (1 to 1000) means the last."""
        check_page(limit)
        return await self._read(lambda connection: events.history(connection, paglet_id, after, limit))

    def watch_events(
        self, cursor: str = "", *, owner: str = "", type_name: str = "", paglet_id: str = ""
    ) -> AsyncGenerator[RowNotice, None]:
        """Every write after `cursor` once and in order, read from the table in pages as they are taken."""
        wanted = EventFilter(owner=owner, type_name=type_name, paglet_id=paglet_id)
        return watch_events(self._read, lambda: self._row_news.next, cursor, wanted, self._settings.bookmark_s)

    async def journey(self, transfer_id: str) -> JourneyRecord | None:
        """Reads the record of a committed journey; None when there is none, or it is forgotten."""
        return await self._read(lambda connection: tables.find_journey(connection, transfer_id))

    async def lease_register(self, host: HostRegistration, ttl_s: float) -> None:
        """Takes a name and a lease on it, for good while paglets are on the host or on their way to it.

        Raises HOST_NAME_TAKEN when another uid has the name so, or has a live lease on it.
        """
        check_registration(host)
        check_ttl(ttl_s)

        def work(connection: sqlite3.Connection) -> None:
            leases.register(connection, host, self._clock(), ttl_s)
            services.declare(connection, host.name, host.services)

        await self._write(work, self._host_written)

    async def lease_keepalive(self, name: str, uid: str, ttl_s: float, load: float = 0.0) -> None:
        """Renews a lease, and says how busy the host is; HOST_NOT_FOUND when the name is not this uid's."""
        check_ttl(ttl_s)
        check_load(load)
        await self._write(
            lambda connection: leases.keep_alive(connection, name, uid, self._clock(), ttl_s, load),
            self._lease_renewed,
        )

    async def lease_revoke(self, name: str, uid: str) -> None:
        """Ends a lease; does nothing when the name is not registered with this uid."""
        await self._write(lambda connection: leases.revoke(connection, name, uid, self._clock()), self._host_written)

    async def hosts(self) -> Sequence[HostRef]:
        """All hosts in the order of their names."""
        return await self._read(lambda connection: leases.list_hosts(connection, self._clock()))

    async def watch_hosts(self) -> AsyncGenerator[Sequence[HostRef], None]:
        """All hosts, without their paglets, and again whenever one changes or a lease ends."""
        told: Sequence[HostRef] | None = None
        while True:
            changed, now = self._host_news.next, self._clock()
            hosts, ends_at = await self._read(lambda connection, now=now: leases.list_leases(connection, now))
            if (described := [replace(host, seen_at=0.0) for host in hosts]) != told:
                told = described
                yield hosts
            with suppress(TimeoutError):
                async with asyncio.timeout(None if ends_at is None else ends_at - now):
                    await changed.wait()

    async def advertise(self, record: ServiceRecord, ttl_s: float | None = None) -> ServiceRecord:
        """Writes the record of a service that a living paglet answers. Raises PAGLET_NOT_FOUND."""
        check_record(record)
        check_advertised(ttl_s)
        host, expires_at = await self._write(
            lambda connection: services.advertise(connection, record, self._clock(), ttl_s), self._services_written
        )
        return replace(record, host=host, expires_at=expires_at, resident=False, online=False)

    async def withdraw(self, service: str, paglet_id: str) -> None:
        """Deletes the record that a paglet advertised; does nothing when there is none."""
        await self._write(lambda connection: services.withdraw(connection, service, paglet_id), self._services_written)

    def watch_services(self, host: str) -> AsyncGenerator[ServiceNews, None]:
        """The records that `host` may tell of, then what becomes of them."""
        return watch_services(self._read, lambda: self._service_news.next, self._clock, host)

    async def _write(self, work: Callable[[sqlite3.Connection], T], tell: Callable[[asyncio.Future[T]], object]) -> T:
        """Makes one durable write, and tells the watches when it is, also if the caller was cancelled meanwhile."""
        self._check_open()
        written = self._database.submit(work)
        written.add_done_callback(tell)
        try:
            return await asyncio.shield(written)
        except sqlite3.Error as error:
            raise _unusable(error) from error

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        self._check_open()
        try:
            return await self._database.read(work)
        except sqlite3.Error as error:
            raise _unusable(error) from error

    def _check_open(self) -> None:
        if self._closed:
            raise UnavailableError("DIRECTORY_UNAVAILABLE", "the directory is closed")

    def _rows_written(self, written: asyncio.Future[_Written]) -> None:
        if written.exception() is None:
            self._latest.add(written.result().rows)
            self._row_news.tell()
            if written.result().answers:
                self._service_news.tell()

    def _host_written(self, _written: object) -> None:
        self._host_news.tell()
        self._service_news.tell()

    def _services_written(self, _written: object) -> None:
        self._service_news.tell()

    def _lease_renewed(self, renewed: asyncio.Future[leases.Renewal]) -> None:
        """Wakes the watches of hosts if the renewal changes what they told, or ends sooner than they will look.

        The clock is read when the renewal is durable: a watch that saw the former end pass did so before.
        """
        if renewed.exception() is None:
            former_end, end, has_news = renewed.result()
            if self._clock() < former_end <= end and not has_news:
                return
        self._host_news.tell()


def _unusable(error: sqlite3.Error) -> UnavailableError:
    return UnavailableError("DIRECTORY_UNAVAILABLE", f"the directory's file cannot be used now: {error}")
