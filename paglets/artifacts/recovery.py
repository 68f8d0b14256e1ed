"""What a store does about uploads that a dead host left behind.

Uploads without an intent are dropped before the store opens. Those with one are proven and finished in the background:
until then they are UPLOAD_IN_PROGRESS, and nobody was told yet that they succeeded. The work is as much as there were
open uploads; this file must never look through all artifacts.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

from paglets.artifacts import uploads
from paglets.artifacts.blobs import BlobFolder
from paglets.artifacts.disk import Disk
from paglets.artifacts.ledger import Ledger
from paglets.artifacts.references import Blob
from paglets.artifacts.steps import Step, passed
from paglets.artifacts.uploads import Intent
from paglets.errors import ExhaustedError

__all__ = ["Recovery"]

_log = logging.getLogger(__name__)


class Recovery:
    """One store's recovery: `begin` before it opens, `roll_back` what that left and `roll_forward` after."""

    def __init__(self, ledger: Ledger, blobs: BlobFolder, disk: Disk, *, host: str, clock: Callable[[], float]) -> None:
        self._ledger = ledger
        self._blobs = blobs
        self._disk = disk
        self._host = host
        self._clock = clock
        self._opened: list[str] = []
        self._intents: list[Intent] = []

    async def begin(self) -> None:
        """Reads what was left behind, and drops the parts that nobody will finish; the disk need not have room."""
        self._opened, self._intents = await self._ledger.read(uploads.unfinished)
        kept = [intent.upload_id for intent in self._intents if not intent.held]
        await self._disk.run(partial(self._blobs.drop_parts_except, kept))
        try:
            await self.roll_back()
        except ExhaustedError:
            _log.warning("the disk is full: unfinished uploads keep their reservations until there is room")

    async def roll_back(self) -> None:
        """Forgets uploads without an intent; their parts are gone."""
        if not self._opened:
            return
        passed(Step.ROLL_BACK_FILES_AFTER)
        names = self._opened
        _log.info("dropping %d unfinished uploads", len(names))
        await self._ledger.free(lambda rows: [uploads.forget(rows, name) for name in names])
        self._opened = []
        passed(Step.ROLL_BACK_AFTER)

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
        if intent.held or await self._disk.run(partial(self._prove, intent)):
            _log.info("finishing upload %s", intent.upload_id)
            now = self._clock()
            _, spare = await self._ledger.write(lambda rows: uploads.commit(rows, intent, self._host, now))
            return spare
        _log.warning("upload %s: its bytes are not all there, dropping it", intent.upload_id)
        await self._disk.run(partial(self._blobs.drop_part, intent.upload_id))
        return await self._ledger.free(lambda rows: uploads.forget(rows, intent.upload_id))

    def _prove(self, intent: Intent) -> bool:
        try:
            return self._blobs.prove(intent.upload_id, intent.blob)
        except OSError:
            _log.exception("upload %s: its bytes cannot be read", intent.upload_id)
            return False
