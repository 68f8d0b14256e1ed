"""Finds rotten bytes unasked: re-reads every blob from time to time, the longest unproven first.

One blob at a time, at a bounded rate, and past the page cache. It sleeps until something is due; this file must never
delete anything.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import sqlite3
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial

from paglets.artifacts.catalogue import Catalogue
from paglets.artifacts.disk import Disk
from paglets.artifacts.ledger import Ledger
from paglets.artifacts.proofs import due_blobs, note_proven, oldest_proof
from paglets.artifacts.reader import FileReader
from paglets.artifacts.references import Blob
from paglets.artifacts.stored import StoredBytes
from paglets.digest import Digest, Hasher
from paglets.errors import ExhaustedError

__all__ = ["Pace", "Scrubber"]

_log = logging.getLogger(__name__)
_BATCH = 64
_PIECE_BYTES = 1024 * 1024
_OPENING_BYTES = 64 * 1024
_LEAST_REST_S = 60.0
_LONGEST_REST_S = 3600.0  # the wall clock may have been set


class Pace:
    """Spreads work over time: what was spent is waited for before the next is."""

    def __init__(self, bytes_per_s: float) -> None:
        self._bytes_per_s = bytes_per_s
        self._free_at = 0.0

    async def spend(self, size_bytes: int) -> None:
        """Waits for as long as that many bytes may take, less the time that passed since the last wait was over."""
        now = asyncio.get_running_loop().time()
        self._free_at = max(self._free_at, now) + size_bytes / self._bytes_per_s
        await asyncio.sleep(self._free_at - now)


class Scrubber:
    """Re-reads the blobs of one store, each once in `period_s`. `clock` gives seconds since the epoch."""

    def __init__(
        self,
        ledger: Ledger,
        catalogue: Catalogue,
        stored: StoredBytes,
        disk: Disk,
        *,
        pace: Pace,
        period_s: float,
        clock: Callable[[], float],
    ) -> None:
        self._ledger = ledger
        self._catalogue = catalogue
        self._stored = stored
        self._disk = disk
        self._pace = pace
        self._period_s = period_s
        self._clock = clock

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Scrubs in the background for as long as the context lasts; leaving it waits for one piece at most."""
        task = asyncio.create_task(self._run(), name="artifact scrubber")
        task.add_done_callback(_ended)
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait((task,))

    async def round(self) -> None:
        """Re-reads all that is due, once. Raises `sqlite3.Error`, DISK_FULL."""
        until, after = self._clock() - self._period_s, None
        while due := await self._ledger.read(partial(due_blobs, until=until, after=after, limit=_BATCH)):
            proven = [one.blob for one in due if await self._is_sound(one.blob)]
            # A small blob is read in no time: a transaction for each would wear the disk more than the reading.
            await self._ledger.write(partial(note_proven, blobs=proven, now=self._clock()))
            after = due[-1]

    async def _run(self) -> None:
        while True:
            try:
                await self.round()
                rest_s = await self._until_due()
            except (sqlite3.Error, ExhaustedError):
                _log.exception("the artifact store could not note what it re-read; trying again later")
                rest_s = _LEAST_REST_S
            await asyncio.sleep(rest_s)

    async def _until_due(self) -> float:
        """How long to sleep, in seconds."""
        oldest = await self._ledger.read(oldest_proof)
        due = self._period_s if oldest is None else oldest + self._period_s - self._clock()
        return min(max(due, _LEAST_REST_S), _LONGEST_REST_S)

    async def _is_sound(self, blob: Blob) -> bool:
        """Whether a blob has its bytes; one that has not is quarantined. One that cannot be opened now is neither."""
        await self._pace.spend(_OPENING_BYTES)
        try:
            sound = await self._measure(blob) == Digest(blob.digest, blob.size_bytes)
        except FileNotFoundError:
            sound = False
        except OSError as error:
            _log.exception("cannot re-read %s", self._stored.where(blob))
            if error.errno != errno.EIO:
                return False
            sound = False
        if not sound and await self._catalogue.distrust(blob):
            _log.error("%s no longer has its bytes; it is kept, and nobody is given them", self._stored.where(blob))
        return sound

    async def _measure(self, blob: Blob) -> Digest | None:
        """The digest of a blob; None without reading it if its size tells that it is another."""
        file, hasher = FileReader(self._disk), Hasher()
        try:
            status = await self._stored.open(file, blob)
            if status.st_size != blob.size_bytes:
                return None
            await self._disk.run(partial(_forget, file.descriptor))
            while size := await self._disk.run(partial(_read_past_cache, file.descriptor, hasher)):
                await self._pace.spend(size)
        finally:
            await file.close()
        return hasher.digest()


def _forget(descriptor: int, offset: int = 0, size: int = 0) -> None:
    """Takes a file, or a part of it, out of the page cache."""
    os.posix_fadvise(descriptor, offset, size, os.POSIX_FADV_DONTNEED)


def _read_past_cache(descriptor: int, hasher: Hasher) -> int:
    """Hashes the next piece of a file of which nothing was in memory: it is the disk that is to be looked at.

    Nothing stays in memory either, where there are things that somebody uses.
    """
    offset = hasher.size_bytes
    data = os.pread(descriptor, _PIECE_BYTES, offset)
    hasher.update(data)
    _forget(descriptor, offset, max(len(data), 1))  # 0 would be the whole file
    return len(data)


def _ended(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.critical("the artifact store's scrubber died; rotten bytes are found by readers only", exc_info=error)
