"""What the rooms of a store share, opened and closed together.

The only place that knows how each of them is made. This file must never read a row.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from paglets.artifacts import events
from paglets.artifacts.blobs import BlobFolder, boot_id
from paglets.artifacts.catalogue import Catalogue
from paglets.artifacts.disk import Disk
from paglets.artifacts.floor import DiskFloor
from paglets.artifacts.janitor import Janitor
from paglets.artifacts.ledger import Ledger
from paglets.artifacts.lock import FolderLock
from paglets.artifacts.recovery import Recovery
from paglets.artifacts.scrubber import Pace, Scrubber
from paglets.artifacts.spare import SpareRoom
from paglets.artifacts.stored import StoredBytes
from paglets.artifacts.uploads import Moment
from paglets.artifacts.watches import Watches
from paglets.artifacts.writers import Writers
from paglets.config import StoreSettings
from paglets.errors import ExhaustedError

__all__ = ["StoreRooms", "open_rooms"]

_THREADS = 16

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StoreRooms:
    """The rooms of one open store. `clock` gives seconds since the epoch in whole microseconds."""

    host: str
    settings: StoreSettings
    clock: Callable[[], float]
    boot: str
    disk: Disk
    blobs: BlobFolder
    stored: StoredBytes
    ledger: Ledger
    catalogue: Catalogue
    floor: DiskFloor
    janitor: Janitor
    writers: Writers
    watches: Watches

    def moment(self) -> Moment:
        """What a transaction has to know that is begun now."""
        return Moment(
            host=self.host,
            settings=self.settings,
            now=self.clock(),
            boot=self.boot,
            writing=self.writers.names,
        )


@asynccontextmanager
async def open_rooms(
    root: Path, host: str, settings: StoreSettings, clock: Callable[[], float]
) -> AsyncGenerator[StoreRooms, None]:
    """Opens the folder `root` for this process alone, with what a dead one left unfinished rolled back.

    Raises DATA_FOLDER_LOCKED, `OSError`, `sqlite3.Error`.
    """

    def now() -> float:
        return round(clock(), 6)

    async with AsyncExitStack() as stack:
        disk = Disk(_THREADS)
        stack.push_async_callback(disk.close)
        blobs, spare = BlobFolder(root), SpareRoom(root / "spare")
        ledger = await _open_files(stack, root, disk, blobs, spare)
        boot = await disk.run(boot_id)
        stored = StoredBytes(ledger, blobs, disk)
        recovery = Recovery(ledger, blobs, stored, disk, host=host, boot=boot, clock=now)
        await recovery.begin()
        catalogue = Catalogue(ledger, host, now)
        writers = Writers(blobs, disk)
        ttl_s = settings.partial_ttl_s
        janitor = Janitor(ledger, catalogue, blobs, disk, recovery, spare, writers, ttl_s, now)
        janitor.start()
        stack.push_async_callback(janitor.close)
        await _keep_events(ledger, settings.keep_events)
        watches = Watches(ledger, host, settings.keep_events)
        stack.callback(watches.end)
        if settings.scrub_bytes_per_s is not None:
            pace = Pace(settings.scrub_bytes_per_s)
            scrubber = Scrubber(ledger, catalogue, stored, disk, pace=pace, period_s=settings.scrub_period_s, clock=now)
            await stack.enter_async_context(scrubber.running())
        floor = DiskFloor(root, settings.min_free_bytes, disk)
        yield StoreRooms(
            host, settings, now, boot, disk, blobs, stored, ledger, catalogue, floor, janitor, writers, watches
        )


async def _keep_events(ledger: Ledger, number: int) -> None:
    """Sets how many events are kept; on a full disk it stays as it was, until the next start."""
    try:
        await ledger.free(lambda rows: events.keep_events(rows, number))
    except ExhaustedError:
        _log.warning("the disk is full: how many events are kept stays as it was")


async def _open_files(stack: AsyncExitStack, root: Path, disk: Disk, blobs: BlobFolder, spare: SpareRoom) -> Ledger:
    """Makes the folders, takes them for this process and opens the database; the stack ends all that."""
    await disk.run(blobs.prepare)
    lock = await disk.run(partial(FolderLock, root))
    stack.callback(lock.release)
    ledger = await disk.run(partial(_open_ledger, root / "artifacts.db", spare))
    stack.push_async_callback(ledger.close)
    return ledger


def _open_ledger(path: Path, spare: SpareRoom) -> Ledger:
    """Opens the database, on a full disk too: even opening it takes some room."""
    try:
        return Ledger(path, spare)
    except sqlite3.OperationalError:
        if not spare.spend():
            raise
    return Ledger(path, spare)
