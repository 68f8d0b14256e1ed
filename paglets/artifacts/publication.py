"""The way of a received part to a visible artifact, and the way back.

Part durable -> intent durable -> renamed -> folder durable -> one transaction that makes it visible: the one order that
survives any crash. Each step runs to its end, whoever is cancelled, so that `undo` always knows what is there.
"""

from __future__ import annotations

import logging
import sqlite3
from functools import partial

from paglets.artifacts import refusals, uploads
from paglets.artifacts.blobs import Part
from paglets.artifacts.disk import unbroken
from paglets.artifacts.rooms import StoreRooms
from paglets.artifacts.steps import Step, passed
from paglets.artifacts.store import ArtifactWriteResult, WriteOutcome
from paglets.artifacts.uploads import Intent
from paglets.digest import Digest
from paglets.errors import ExhaustedError

__all__ = ["Publication"]

_log = logging.getLogger(__name__)


class Publication:
    """The end of one upload: `publish` once, or `undo` unless it is `decided`."""

    def __init__(self, rooms: StoreRooms, upload_id: str) -> None:
        self._rooms = rooms
        self._upload_id = upload_id
        self._decided = False

    @property
    def decided(self) -> bool:
        """Whether the last transaction was tried: the artifact is there, or only a restart will tell."""
        return self._decided

    async def publish(self, part: Part, digest: Digest) -> ArtifactWriteResult:
        """Makes a proven part durable and visible. Raises DISK_FULL, `OSError`, `sqlite3.Error`."""
        passed(Step.SYNC_BEFORE)
        with refusals.full_disk_told():
            await self._rooms.disk.run(part.sync)
        passed(Step.SYNC_AFTER)
        intent = await unbroken(self._record_intent(digest))
        await self._place(intent)
        return await unbroken(self._commit(intent))

    async def undo(self) -> None:
        """Leaves nothing behind: the part first, then the row, then the blob that the part may have become.

        Bytes stay reserved, or count as used, as long as they are on disk.
        """
        rooms = self._rooms
        passed(Step.DROP_BEFORE)
        try:
            await rooms.disk.run(partial(rooms.blobs.drop_part, self._upload_id))
        except OSError:
            _log.exception("upload %s: its part cannot be unlinked before the next start", self._upload_id)
            return
        passed(Step.DROP_FILES_AFTER)
        try:
            spare = await rooms.ledger.free(partial(uploads.forget, upload_id=self._upload_id))
        except (sqlite3.Error, ExhaustedError):
            _log.exception("upload %s: its row cannot be removed now", self._upload_id)
            rooms.janitor.forget_later(self._upload_id)
            return
        passed(Step.DROP_AFTER)
        await rooms.janitor.reap_or_wake(spare)

    async def _record_intent(self, digest: Digest) -> Intent:
        rooms = self._rooms
        known = await rooms.catalogue.find_blob(digest)
        # Good bytes are in hand now, and never again: they are dropped only for a file that is read and found right.
        if known is not None and not await rooms.disk.run(partial(rooms.blobs.holds, known)):
            _log.error("blob %s no longer has its bytes; it is stored anew", digest)
            await rooms.catalogue.distrust(known)
        intent = await rooms.ledger.write(partial(uploads.record_intent, upload_id=self._upload_id, digest=digest))
        passed(Step.INTENT_AFTER)
        return intent

    async def _place(self, intent: Intent) -> None:
        """Gives the part its final name, or drops it if its bytes were here already."""
        blobs, disk = self._rooms.blobs, self._rooms.disk
        with refusals.full_disk_told():
            if intent.held:
                await disk.run(partial(blobs.drop_part, self._upload_id))
                passed(Step.SPARE_AFTER)
            else:
                await disk.run(partial(blobs.publish, self._upload_id, intent.blob))

    async def _commit(self, intent: Intent) -> ArtifactWriteResult:
        rooms = self._rooms
        now = rooms.clock()
        try:
            ref, spare = await rooms.ledger.write(lambda rows: uploads.commit(rows, intent, rooms.host, now))
        except sqlite3.Error:
            # It may be there after a restart: rows and files stay as they are until recovery has looked.
            self._decided = True
            raise
        self._decided = True
        passed(Step.COMMIT_AFTER)
        rooms.janitor.expect(ref.expires_at)
        if spare:
            rooms.janitor.wake()
        here_already = intent.held or intent.blob in spare
        return ArtifactWriteResult(ref, WriteOutcome.DEDUPLICATED if here_already else WriteOutcome.COMMITTED)
