"""Keeps a store tidy in the background.

It finishes recovery, sweeps what has expired and unlinks what nobody points to. It sleeps until something is due or
somebody wakes it; this file must never poll.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from functools import partial

from paglets.artifacts import uploads
from paglets.artifacts.blobs import BlobFolder
from paglets.artifacts.catalogue import Catalogue
from paglets.artifacts.disk import Disk
from paglets.artifacts.ledger import Ledger
from paglets.artifacts.recovery import Recovery
from paglets.artifacts.references import Blob
from paglets.artifacts.spare import SpareRoom
from paglets.artifacts.steps import Step, passed
from paglets.errors import ExhaustedError

__all__ = ["Janitor"]

_log = logging.getLogger(__name__)
_RETRY_S = 5.0
_LOOK_AGAIN_S = 3600.0  # the wall clock may have been set
_NEVER = float("inf")


class Janitor:
    """The background task of one store."""

    def __init__(
        self,
        ledger: Ledger,
        catalogue: Catalogue,
        blobs: BlobFolder,
        disk: Disk,
        recovery: Recovery,
        spare: SpareRoom,
        clock: Callable[[], float],
    ) -> None:
        self._ledger = ledger
        self._catalogue = catalogue
        self._blobs = blobs
        self._disk = disk
        self._recovery = recovery
        self._spare = spare
        self._clock = clock
        self._awake = asyncio.Event()
        self._settled = asyncio.Event()
        self._next_due = _NEVER
        self._to_forget: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins; `close` ends it."""
        self._task = asyncio.create_task(self._run(), name="artifact janitor")
        self._task.add_done_callback(self._ended)

    async def close(self) -> None:
        """Ends the task between two steps. Raises what it died of, if it did."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.wait((self._task,))
        if not self._task.cancelled():
            self._task.result()

    async def settled(self) -> None:
        """Waits until recovery is done and all that was due has been done once."""
        await self._settled.wait()

    def expect(self, due: float | None) -> None:
        """Something will be due at this time, in seconds since the epoch; None for never."""
        if due is not None and due < self._next_due:
            self._awake.set()

    def wake(self) -> None:
        """Something is due now."""
        self._awake.set()

    def forget_later(self, upload_id: str) -> None:
        """An upload is over, its part is gone, but its row could not be removed: the disk was full."""
        self._to_forget.add(upload_id)
        self._awake.set()

    async def reap(self, blobs: list[Blob]) -> bool:
        """Unlinks files that are tombstones and counts their bytes as free; says whether all are gone."""
        if not blobs:
            return True
        gone = await self._disk.run(partial(self._blobs.unlink, blobs))
        passed(Step.UNLINK_AFTER)
        await self._catalogue.bury(gone)
        passed(Step.BURY_AFTER)
        return len(gone) == len(blobs)

    async def reap_or_wake(self, blobs: list[Blob]) -> None:
        """Unlinks tombstones now; what cannot be is logged, and tried again in the background."""
        try:
            done = await self.reap(blobs)
        except (OSError, sqlite3.Error, ExhaustedError):
            _log.exception("what was deleted still takes room; trying again later")
            done = False
        if not done:
            self.wake()

    async def sweep(self) -> bool:
        """Removes what has expired and unlinks every tombstone, batch by batch; says whether all of it worked."""
        while (removal := await self._catalogue.remove_expired()).count:
            passed(Step.EXPIRE_AFTER)
            if not await self.reap(removal.blobs):
                return False
        while blobs := await self._catalogue.tombstones():
            if not await self.reap(blobs):
                return False
        while await self._ledger.free(lambda rows: uploads.purge_finished(rows, self._clock())):
            pass
        return True

    async def _run(self) -> None:
        while True:
            self._awake.clear()
            self._next_due = _NEVER  # whatever is announced during the round wakes the next one
            self._next_due = await self._round()
            try:
                async with asyncio.timeout(max(0.0, min(self._next_due - self._clock(), _LOOK_AGAIN_S))):
                    await self._awake.wait()
            except TimeoutError:
                continue

    async def _round(self) -> float:
        """Does all that is due; returns when to look again."""
        try:
            await self._recovery.roll_back()
            await self.reap(await self._recovery.roll_forward())
            await self._forget_the_rest()
            done = await self.sweep()
            await self._disk.run(self._spare.keep)
            due = await self._when_due()
        except (OSError, sqlite3.Error, ExhaustedError):
            _log.exception("the artifact store could not tidy up; trying again in %d s", _RETRY_S)
            done, due = False, 0.0
        self._settled.set()
        return due if done else self._clock() + _RETRY_S

    async def _forget_the_rest(self) -> None:
        for upload_id in tuple(self._to_forget):
            await self._ledger.free(partial(uploads.forget, upload_id=upload_id))
            self._to_forget.discard(upload_id)

    async def _when_due(self) -> float:
        expiry = await self._catalogue.next_expiry()
        purge = await self._ledger.read(uploads.next_purge)
        times = [time for time in (expiry, purge) if time is not None]
        return min(times, default=_NEVER)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._settled.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.critical("the artifact store's janitor died; nothing is swept any more", exc_info=error)
