"""What the rooms of a store share, opened and closed together.

The only place that knows how each of them is made. This file must never read a row.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from paglets.artifacts.blobs import BlobFolder
from paglets.artifacts.catalogue import Catalogue
from paglets.artifacts.disk import Disk
from paglets.artifacts.floor import DiskFloor
from paglets.artifacts.janitor import Janitor
from paglets.artifacts.ledger import Ledger
from paglets.artifacts.lock import FolderLock
from paglets.artifacts.recovery import Recovery
from paglets.artifacts.scrubber import Pace, Scrubber
from paglets.artifacts.spare import SpareRoom
from paglets.config import StoreSettings

__all__ = ["StoreRooms", "open_rooms"]

_THREADS = 16


@dataclass(frozen=True, slots=True)
class StoreRooms:
    """The rooms of one open store. `clock` gives seconds since the epoch in whole microseconds."""

    host: str
    settings: StoreSettings
    clock: Callable[[], float]
    disk: Disk
    blobs: BlobFolder
    ledger: Ledger
    catalogue: Catalogue
    floor: DiskFloor
    janitor: Janitor


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
        recovery = Recovery(ledger, blobs, disk, host=host, clock=now)
        await recovery.begin()
        catalogue = Catalogue(ledger, host, now)
        janitor = Janitor(ledger, catalogue, blobs, disk, recovery, spare, now)
        janitor.start()
        stack.push_async_callback(janitor.close)
        if settings.scrub_bytes_per_s is not None:
            pace = Pace(settings.scrub_bytes_per_s)
            scrubber = Scrubber(ledger, catalogue, blobs, disk, pace=pace, period_s=settings.scrub_period_s, clock=now)
            await stack.enter_async_context(scrubber.running())
        floor = DiskFloor(root, settings.min_free_bytes, disk)
        yield StoreRooms(host, settings, now, disk, blobs, ledger, catalogue, floor, janitor)


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
