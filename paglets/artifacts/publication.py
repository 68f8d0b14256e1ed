"""The way of a received part to a visible artifact.

Part durable -> intent durable -> renamed -> folder durable -> one transaction that makes it visible: the one order that
survives any crash. Each step runs to its end, whoever is cancelled, so that what is dropped then is all there is.
"""

from __future__ import annotations

import logging
import sqlite3
from functools import partial

from paglets.artifacts import refusals, uploads
from paglets.artifacts.disk import unbroken
from paglets.artifacts.part import Part
from paglets.artifacts.rooms import StoreRooms
from paglets.artifacts.steps import Step, passed
from paglets.artifacts.store import ArtifactWrite, ArtifactWriteResult, WriteOutcome
from paglets.artifacts.uploads import Intent
from paglets.digest import Digest

__all__ = ["Publication"]

_log = logging.getLogger(__name__)


class Publication:
    """The end of one upload: `publish` it, or `commit` what it holds. If that fails undecided, it is to be dropped."""

    def __init__(self, rooms: StoreRooms, write: ArtifactWrite) -> None:
        self._rooms = rooms
        self._write = write
        self._upload_id = write.upload_id
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
        return await self.commit(intent)

    async def commit(self, intent: Intent) -> ArtifactWriteResult:
        """Makes proven bytes that have their file visible. Raises DISK_FULL, `sqlite3.Error`."""
        return await unbroken(self._commit(intent))

    async def _record_intent(self, digest: Digest) -> Intent:
        rooms = self._rooms
        known = await rooms.catalogue.find_readable(digest, self._write.owner)
        # Good bytes are in hand now, and never again: they are dropped only for a file that is read and found right.
        if known is not None and not await rooms.disk.run(partial(rooms.blobs.holds, known)):
            _log.error("blob %s no longer has its bytes; it is stored anew", digest)
            await rooms.catalogue.distrust(known)
        moment = rooms.moment()
        intent = await rooms.ledger.write(lambda rows: uploads.record_intent(rows, self._write, digest, moment))
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
        now, limits = rooms.clock(), rooms.moment().limits
        try:
            ref, spare = await rooms.ledger.write(lambda rows: uploads.commit(rows, intent, rooms.host, now, limits))
        except sqlite3.Error:
            # It may be there after a restart: rows and files stay as they are until recovery has looked.
            self._decided = True
            raise
        self._decided = True
        passed(Step.COMMIT_AFTER)
        rooms.janitor.expect(ref.expires_at)
        if spare:
            rooms.janitor.wake()
        return ArtifactWriteResult(ref, WriteOutcome.DEDUPLICATED if intent.held else WriteOutcome.COMMITTED)
