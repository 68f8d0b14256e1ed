"""Uploads of a local store, received chunk by chunk and hashed as they come.

They are finished, or dropped without a trace. One chunk is written in a thread while the next one is received. This
file must never know how bytes become an artifact.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Self

from paglets.artifacts import refusals
from paglets.artifacts.allowance import Allowance
from paglets.artifacts.blobs import Part
from paglets.artifacts.disk import unbroken
from paglets.artifacts.limits import check_proof
from paglets.artifacts.publication import Publication
from paglets.artifacts.rooms import StoreRooms
from paglets.artifacts.steps import Step, passed
from paglets.artifacts.store import ArtifactWrite, ArtifactWriteResult
from paglets.digest import Digest
from paglets.errors import PagletError
from paglets.values import ArtifactRef

__all__ = ["LocalUpload"]

_log = logging.getLogger(__name__)


class LocalUpload:
    """One upload that is being received. `on_end` is called once, when it is finished or dropped."""

    def __init__(self, rooms: StoreRooms, write: ArtifactWrite, on_end: Callable[[LocalUpload], None]) -> None:
        self._rooms = rooms
        self._write = write
        self._on_end = on_end
        self._allowance = Allowance(rooms, write)
        self._publication = Publication(rooms, write.upload_id)
        self._lock = asyncio.Lock()
        self._part: Part | None = None
        self._pending: asyncio.Future[None] | None = None
        self._next = 0
        self._proven = False
        self._store_closes = False
        self._ended = False

    @property
    def committed_size(self) -> int:
        """Nothing: a new upload begins at 0."""
        return 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self.drop()

    async def admit(self) -> ArtifactRef | None:
        """Reserves and opens; call it first and once. Returns the artifact instead if this upload made it before."""
        return await unbroken(self._admit())

    async def write(self, offset: int, data: bytes) -> None:
        """Takes the next bytes; an error of the disk may show at the step after."""
        async with self._lock:
            part, end = self._receiving(), offset + len(data)
            self._check_next(offset, end)
            await self._drain()
            if not self._allowance.covers(end):
                await unbroken(self._allowance.cover(end, self._next))
            self._pending = self._rooms.disk.begin(partial(part.append, data))
            self._next = end
            self._allowance.wrote(len(data))

    async def finish(self, declared: Digest | None = None) -> ArtifactWriteResult:
        """Proves the bytes, makes them durable, and only then visible."""
        async with self._lock:
            part = self._receiving()
            await self._drain()
            digest, size = part.digest(), self._write.size_bytes
            if size is not None and size != digest.size_bytes:
                raise refusals.size_mismatch(size, digest.size_bytes)
            check_proof(digest, declared)
            check_proof(digest, self._write.expected_digest)
            self._proven = True  # whatever comes of it: a sync that failed must not be asked again
            result = await self._publication.publish(part, digest)
            self._end()
            return result

    async def close(self) -> None:
        """Drops the upload since its store closes: SHUTTING_DOWN for whoever still writes."""
        self._store_closes = True
        await self.drop()

    async def drop(self) -> None:
        """Gives the upload up and leaves nothing behind; does nothing once it has ended."""
        await unbroken(self._drop())

    async def _admit(self) -> ArtifactRef | None:
        async with self._lock:
            if self._ended:
                raise self._dropped()
            finished = await self._allowance.admit()
            if finished is None:
                create = partial(self._rooms.blobs.create_part, self._write.upload_id)
                with refusals.full_disk_told():
                    self._part = await self._rooms.disk.run(create)
                passed(Step.PART_AFTER)
            return finished

    def _receiving(self) -> Part:
        if self._ended or self._proven or self._part is None:
            raise self._dropped()
        return self._part

    def _dropped(self) -> PagletError:
        return refusals.shutting_down() if self._store_closes else refusals.upload_dropped(self._write.upload_id)

    def _check_next(self, offset: int, end: int) -> None:
        size, limit = self._write.size_bytes, self._rooms.settings.max_artifact_bytes
        if offset != self._next:
            raise refusals.offset_mismatch(self._next, offset)
        if size is not None and end > size:
            raise refusals.size_mismatch(size, end)
        if limit is not None and end > limit:
            raise refusals.artifact_too_large(limit, end, "chunk.data")

    async def _drain(self) -> None:
        """Waits for the chunk that is being written; one that failed is kept, so that every later step fails too."""
        if self._pending is not None:
            with refusals.full_disk_told():
                await unbroken(self._pending)
            self._pending = None
            passed(Step.WRITE_AFTER)

    async def _drop(self) -> None:
        async with self._lock:
            if self._ended:
                return
            if self._pending is not None:
                await asyncio.wait((self._pending,))
                _log.debug("last chunk of %s: %r", self._write.upload_id, self._pending.exception())
            self._end()
            if self._allowance.admitted and not self._publication.decided:
                await self._publication.undo()

    def _end(self) -> None:
        self._ended = True
        if self._part is not None:
            self._part.close()
        self._allowance.end()
        self._on_end(self)
