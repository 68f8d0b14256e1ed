"""An upload of bytes that are here already: none is wanted.

The stored bytes are read and found right before anybody is told so. This file must never write one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Self

from paglets.artifacts import refusals, uploads
from paglets.artifacts.disk import unbroken
from paglets.artifacts.limits import check_proof
from paglets.artifacts.publication import Publication
from paglets.artifacts.rooms import StoreRooms
from paglets.artifacts.steps import Step, passed
from paglets.artifacts.store import ArtifactWrite, ArtifactWriteResult
from paglets.artifacts.uploads import Intent
from paglets.digest import Digest

__all__ = ["KnownUpload"]

_log = logging.getLogger(__name__)


class KnownUpload:
    """An upload whose bytes are held by its row: `finish` makes them an artifact, leaving lets go of them."""

    def __init__(self, rooms: StoreRooms, write: ArtifactWrite, intent: Intent, writer_epoch: int) -> None:
        self._rooms = rooms
        self._upload_id = write.upload_id
        self._intent = intent
        self._writer_epoch = writer_epoch
        self._publication = Publication(rooms, write)
        self._ended = False

    @classmethod
    async def found(cls, rooms: StoreRooms, write: ArtifactWrite, writer_epoch: int) -> Self | None:
        """The upload, if the digest is known where its owner may read it, and the bytes were read and found right."""
        if write.expected_digest is None:
            return None
        moment = rooms.moment()
        intent = await rooms.ledger.write(lambda rows: uploads.hold_known(rows, write, writer_epoch, moment))
        if intent is None:
            return None
        passed(Step.HOLD_AFTER)
        upload = cls(rooms, write, intent, max(writer_epoch, 1))
        try:
            if await rooms.stored.holds(intent.blob):
                return upload
        except BaseException:
            await upload.leave()
            raise
        _log.error("blob %s no longer has its bytes; they are wanted anew", write.expected_digest)
        await rooms.catalogue.distrust(intent.blob)
        await upload.leave()
        return None

    @property
    def committed_size(self) -> int:
        """All of it."""
        return self._intent.blob.size_bytes

    @property
    def writer_epoch(self) -> int:
        """The writer's number."""
        return self._writer_epoch

    @property
    def is_complete(self) -> bool:
        """It is."""
        return True

    @property
    def lost(self) -> None:
        """Nobody can take it."""

    def when_lost(self, wake: Callable[[], None]) -> None:
        """Never calls it."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self.leave()

    async def write(self, offset: int, data: bytes | memoryview) -> None:
        """Raises OFFSET_MISMATCH: no byte is wanted."""
        raise refusals.offset_mismatch(self.committed_size, offset)

    async def pause(self) -> int:
        """Lets go of it: the next header finds it again."""
        await self.leave()
        return self.committed_size

    async def finish(self, declared: Digest | None = None) -> ArtifactWriteResult:
        """Makes the bytes an artifact."""
        check_proof(Digest(self._intent.blob.digest, self._intent.blob.size_bytes), declared)
        self._ended = True
        try:
            return await self._publication.commit(self._intent)
        finally:
            if not self._publication.decided:
                await unbroken(self._rooms.janitor.discard(self._upload_id))

    async def leave(self) -> None:
        """Lets go of the bytes; after `finish` it does nothing. Safe to repeat."""
        if not self._ended:
            self._ended = True
            await unbroken(self._rooms.janitor.discard(self._upload_id))

    async def drop(self) -> None:
        """The same."""
        await self.leave()
