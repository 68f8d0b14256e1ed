"""The way of a received part to a visible artifact.

Part durable -> intent durable -> renamed -> folder durable -> one transaction that makes it visible: the one order that
survives any crash. Bytes that the catalogue keeps need only the last of these. Each step runs to its end, whoever is
cancelled, so that what is dropped then is all there is.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial

from paglets.artifacts import refusals, uploads
from paglets.artifacts.disk import unbroken
from paglets.artifacts.late_part import LatePart
from paglets.artifacts.rooms import StoreRooms
from paglets.artifacts.steps import Step, passed
from paglets.artifacts.store import ArtifactWrite, ArtifactWriteResult, WriteOutcome
from paglets.artifacts.uploads import Committed, Intent
from paglets.digest import Digest
from paglets.errors import ExhaustedError

__all__ = ["Publication"]

_log = logging.getLogger(__name__)


class Publication:
    """The end of one upload: `publish` it, or `commit` what it holds. If that fails undecided, it is to be dropped."""

    def __init__(self, rooms: StoreRooms, write: ArtifactWrite) -> None:
        self._rooms = rooms
        self._write = write
        self._upload_id = write.upload_id
        self._decided = False
        self._repeatable = False

    @property
    def repeatable(self) -> bool:
        """Whether nothing was written for want of room, and the bytes are as good as before."""
        return self._repeatable

    @property
    def decided(self) -> bool:
        """Whether the last transaction was tried: the artifact is there, or only a restart will tell."""
        return self._decided

    async def publish(self, part: LatePart, digest: Digest) -> ArtifactWriteResult:
        """Makes a proven part durable and visible. Raises DISK_FULL, `OSError`, `sqlite3.Error`."""
        passed(Step.SYNC_BEFORE)
        with refusals.full_disk_told():
            await self._rooms.disk.run(part.sync)
        passed(Step.SYNC_AFTER)
        with self._noting_want_of_room():
            intent = await unbroken(self._record_intent(digest))
        await self._place(intent)
        return await self.commit(intent)

    async def commit(self, intent: Intent) -> ArtifactWriteResult:
        """Makes proven bytes that have their file visible. Raises DISK_FULL, `sqlite3.Error`."""
        rooms = self._rooms
        now, limits = rooms.clock(), rooms.moment().limits
        return await unbroken(self._commit(lambda rows: uploads.commit(rows, intent, rooms.host, now, limits)))

    async def commit_inline(self, digest: Digest, data: bytes) -> ArtifactWriteResult:
        """Makes proven bytes that the catalogue is to keep visible. Raises DISK_FULL, `sqlite3.Error`."""
        with self._noting_want_of_room():
            await self._check_known(digest)
            moment, write = self._rooms.moment(), self._write
            return await unbroken(self._commit(lambda rows: uploads.commit_inline(rows, write, digest, data, moment)))

    @contextmanager
    def _noting_want_of_room(self) -> Generator[None]:
        """Around the first transaction: before it nothing has changed."""
        try:
            yield
        except ExhaustedError:
            self._repeatable = True
            raise

    async def _record_intent(self, digest: Digest) -> Intent:
        rooms = self._rooms
        await self._check_known(digest)
        moment = rooms.moment()
        intent = await rooms.ledger.write(lambda rows: uploads.record_intent(rows, self._write, digest, moment))
        passed(Step.INTENT_AFTER)
        return intent

    async def _check_known(self, digest: Digest) -> None:
        """Good bytes are in hand now, and never again: they are dropped only for a blob that is found right."""
        known = await self._rooms.catalogue.find_readable(digest, self._write.owner)
        if known is not None and not await self._rooms.stored.holds(known):
            _log.error("blob %s no longer has its bytes; it is stored anew", digest)
            await self._rooms.catalogue.distrust(known)

    async def _place(self, intent: Intent) -> None:
        """Gives the part its final name, or drops it if its bytes were here already."""
        blobs, disk = self._rooms.blobs, self._rooms.disk
        with refusals.full_disk_told():
            if intent.held:
                await disk.run(partial(blobs.drop_part, self._upload_id))
                passed(Step.SPARE_AFTER)
            else:
                await disk.run(partial(blobs.publish, self._upload_id, intent.blob))

    async def _commit(self, work: Callable[[sqlite3.Connection], Committed]) -> ArtifactWriteResult:
        rooms = self._rooms
        try:
            done = await rooms.ledger.write(work)
        except sqlite3.Error:
            # It may be there after a restart: rows and files stay as they are until recovery has looked.
            self._decided = True
            raise
        self._decided = True
        passed(Step.COMMIT_AFTER)
        rooms.janitor.expect(done.ref.expires_at)
        if done.spare:
            rooms.janitor.wake()
        return ArtifactWriteResult(done.ref, WriteOutcome.DEDUPLICATED if done.held else WriteOutcome.COMMITTED)
