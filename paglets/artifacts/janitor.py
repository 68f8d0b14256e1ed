"""Keeps a store tidy in the background.

It finishes recovery, sweeps what has expired, drops partials that rest too long and unlinks what nobody points to. It
sleeps until something is due or somebody wakes it; this file must never poll.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from functools import partial

from paglets.artifacts import partials, uploads
from paglets.artifacts.blobs import BlobFolder
from paglets.artifacts.catalogue import SWEEP_BATCH, Catalogue
from paglets.artifacts.disk import Disk
from paglets.artifacts.ledger import Ledger
from paglets.artifacts.recovery import Recovery
from paglets.artifacts.references import Blob
from paglets.artifacts.spare import SpareRoom
from paglets.artifacts.steps import Step, passed
from paglets.artifacts.writers import Writers
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
        writers: Writers,
        partial_ttl_s: float,
        clock: Callable[[], float],
    ) -> None:
        self._ledger = ledger
        self._catalogue = catalogue
        self._blobs = blobs
        self._disk = disk
        self._recovery = recovery
        self._spare = spare
        self._writers = writers
        self._partial_ttl_s = partial_ttl_s
        self._clock = clock
        self._awake = asyncio.Event()
        self._settled = asyncio.Event()
        self._next_due = _NEVER
        self._to_discard: set[str] = set()
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

    async def discard(self, upload_id: str) -> None:
        """Leaves nothing of an upload: its part first, then the row, then the blob that the part may have become.

        Bytes stay reserved, or count as used, as long as they are on disk. What cannot be done now is logged, and done
        later.
        """
        if not await self._discard(upload_id):
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

    async def make_room(self) -> None:
        """Sweeps for somebody who found no room; what keeps that from being done is logged, and is not his."""
        try:
            await self.sweep()
        except (OSError, sqlite3.Error, ExhaustedError):
            _log.exception("what has expired still takes room; trying again later")
            self.wake()

    async def sweep(self) -> bool:
        """Removes what has expired or rests too long and unlinks every tombstone; says whether all of it worked."""
        while (removal := await self._catalogue.remove_expired()).count:
            passed(Step.EXPIRE_AFTER)
            if not await self.reap(removal.blobs):
                return False
        while blobs := await self._catalogue.tombstones():
            if not await self.reap(blobs):
                return False
        while await self._ledger.free(lambda rows: uploads.purge_finished(rows, self._clock())):
            pass
        return await self._drop_idle()

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
            await self.reap(await self._recovery.roll_forward())
            done = await self.sweep()
            await self._disk.run(self._spare.keep)
            due = await self._when_due()
        except (OSError, sqlite3.Error, ExhaustedError):
            _log.exception("the artifact store could not tidy up; trying again in %d s", _RETRY_S)
            done, due = False, 0.0
        self._settled.set()
        return due if done else self._clock() + _RETRY_S

    async def _drop_idle(self) -> bool:
        """Drops partials that nobody went on with in time, and what could not be dropped; says whether all worked."""
        until = self._clock() - self._partial_ttl_s
        idle = await self._ledger.read(lambda rows: partials.idle(rows, until, SWEEP_BATCH))
        done = True
        for upload_id in (*self._to_discard, *idle):
            async with self._writers.alone(upload_id):
                if upload_id in self._writers.names:  # somebody goes on with it
                    self._to_discard.discard(upload_id)
                elif upload_id in self._to_discard or await self._is_idle(upload_id, until):
                    _log.info("upload %s: dropping what is left of it", upload_id)
                    done = await self._discard(upload_id) and done
        return done

    async def _is_idle(self, upload_id: str, until: float) -> bool:
        row = await self._ledger.read(partial(partials.find, upload_id=upload_id))
        return row is not None and row["state"] == "open" and row["touched_at"] <= until

    async def _discard(self, upload_id: str) -> bool:
        passed(Step.DROP_BEFORE)
        self._writers.forget(upload_id)
        try:
            await self._disk.run(partial(self._blobs.drop_part, upload_id))
            passed(Step.DROP_FILES_AFTER)
            spare = await self._ledger.free(partial(uploads.forget, upload_id=upload_id))
        except (OSError, sqlite3.Error, ExhaustedError):
            _log.exception("upload %s cannot be dropped now; trying again later", upload_id)
            self._to_discard.add(upload_id)
            return False
        self._to_discard.discard(upload_id)
        passed(Step.DROP_AFTER)
        await self.reap_or_wake(spare)
        return True

    async def _when_due(self) -> float:
        expiry = await self._catalogue.next_expiry()
        purge = await self._ledger.read(uploads.next_purge)
        writing = self._writers.names
        touched = await self._ledger.read(lambda rows: partials.next_idle(rows, writing))
        idle = None if touched is None else touched + self._partial_ttl_s
        times = [time for time in (expiry, purge, idle) if time is not None]
        return min(times, default=_NEVER)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._settled.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.critical("the artifact store's janitor died; nothing is swept any more", exc_info=error)
