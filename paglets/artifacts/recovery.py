"""What a store does about uploads that a dead host left behind.

Uploads without an intent stay, for their writers to go on. Those with one are proven and finished in the background:
until then they are UPLOAD_IN_PROGRESS, and nobody was told yet that they succeeded. The work is as much as there were
unfinished uploads; this file must never look through all artifacts.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from functools import partial

from paglets.artifacts import partials, uploads
from paglets.artifacts.blobs import BlobFolder
from paglets.artifacts.disk import Disk
from paglets.artifacts.ledger import Ledger
from paglets.artifacts.partials import LeftPart
from paglets.artifacts.quota import Limits
from paglets.artifacts.references import Blob
from paglets.artifacts.steps import Step, passed
from paglets.artifacts.stored import StoredBytes
from paglets.artifacts.uploads import Intent
from paglets.errors import ExhaustedError

__all__ = ["Recovery"]

_log = logging.getLogger(__name__)


class Recovery:
    """One store's recovery: `begin` before it opens, `roll_forward` after."""

    def __init__(
        self,
        ledger: Ledger,
        blobs: BlobFolder,
        stored: StoredBytes,
        disk: Disk,
        *,
        host: str,
        boot: str,
        clock: Callable[[], float],
    ) -> None:
        self._ledger = ledger
        self._blobs = blobs
        self._stored = stored
        self._disk = disk
        self._host = host
        self._boot = boot
        self._clock = clock
        self._intents: list[Intent] = []

    async def begin(self) -> None:
        """Reads what was left behind; drops parts that are nobody's, and what a loss of power may have spoilt."""
        self._intents = await self._ledger.read(uploads.unfinished)
        left = await self._ledger.read(partials.left_open)
        kept = [intent.upload_id for intent in self._intents if not intent.held]
        kept += [row["upload_id"] for row in left]
        await self._disk.run(partial(self._blobs.drop_parts_except, kept))
        if not left:
            return
        found = await self._disk.run(partial(self._look_at, left))
        passed(Step.CUT_AFTER)
        try:
            await self._ledger.free(lambda rows: partials.rebooted(rows, found, self._boot))
        except ExhaustedError:
            _log.warning("the disk is full: that partials were looked at is noted at the next start")
        passed(Step.LEFT_AFTER)

    def _look_at(self, left: list[sqlite3.Row]) -> list[LeftPart]:
        """What is there of each partial; one of another run of the machine keeps what was durable then."""
        found: list[LeftPart] = []
        for row in left:
            upload_id, status = row["upload_id"], self._blobs.part_status(row["upload_id"])
            size, written_at = (0, 0.0) if status is None else (status.st_size, status.st_mtime)
            if row["boot"] != self._boot:
                self._blobs.cut_part(upload_id, row["durable"])
                size = min(size, row["durable"])
            found.append(LeftPart(upload_id, size, min(written_at, self._clock())))
        return found

    async def roll_forward(self) -> list[Blob]:
        """Finishes uploads whose bytes are all there, drops the others. Returns files that are to be unlinked."""
        spare: list[Blob] = []
        while self._intents:
            passed(Step.ROLL_FORWARD_BEFORE)
            spare += await self._finish(self._intents[-1])
            self._intents.pop()
            passed(Step.ROLL_FORWARD_AFTER)
        return spare

    async def _finish(self, intent: Intent) -> list[Blob]:
        if await self._prove(intent):
            _log.info("finishing upload %s", intent.upload_id)
            now = self._clock()
            done = await self._ledger.write(lambda rows: uploads.commit(rows, intent, self._host, now, Limits()))
            return done.spare
        _log.warning("upload %s: its bytes are not all there, dropping it", intent.upload_id)
        await self._disk.run(partial(self._blobs.drop_part, intent.upload_id))
        return await self._ledger.free(lambda rows: uploads.forget(rows, intent.upload_id))

    async def _prove(self, intent: Intent) -> bool:
        try:
            if intent.held:
                return await self._stored.holds(intent.blob)
            return await self._disk.run(partial(self._blobs.prove, intent.upload_id, intent.blob))
        except OSError:
            _log.exception("upload %s: its bytes cannot be read", intent.upload_id)
            return False
