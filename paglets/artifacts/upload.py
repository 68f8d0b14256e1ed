"""Uploads of a local store, received chunk by chunk and hashed as they come.

They are finished, or left as partials for the next writer, or dropped without a trace. A chunk is in the file before
the next one is asked for: what a killed host has not written is what it was given ahead. This file must never know how
bytes become an artifact.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from functools import partial
from typing import Self

from paglets.artifacts import partials, refusals
from paglets.artifacts.allowance import Allowance
from paglets.artifacts.disk import unbroken
from paglets.artifacts.late_part import LatePart
from paglets.artifacts.limits import check_proof
from paglets.artifacts.publication import Publication
from paglets.artifacts.rooms import StoreRooms
from paglets.artifacts.steps import Step, passed
from paglets.artifacts.store import ArtifactWrite, ArtifactWriteResult
from paglets.digest import Digest, Hasher
from paglets.errors import ExhaustedError, PagletError

__all__ = ["LocalUpload"]

_log = logging.getLogger(__name__)


class LocalUpload:
    """One upload that is being received, entered in `rooms.writers` from its opening to its end."""

    def __init__(
        self, rooms: StoreRooms, write: ArtifactWrite, writer_epoch: int, part: LatePart, allowance: Allowance
    ) -> None:
        self._rooms = rooms
        self._write = write
        self._writer_epoch = writer_epoch
        self._part = part
        self._allowance = allowance
        self._publication = Publication(rooms, write)
        self._lock = asyncio.Lock()
        self._committed_size = self._next = part.hasher.size_bytes
        self._durable = 0  # whoever left them may not have waited for the disk
        self._publishing = False
        self._hopeless = False
        self._failed: BaseException | None = None
        self._lost: PagletError | None = None
        self._wake: Callable[[], None] | None = None
        self._ended = False

    @property
    def committed_size(self) -> int:
        """How many bytes were here at the beginning."""
        return self._committed_size

    @property
    def writer_epoch(self) -> int:
        """The writer's number."""
        return self._writer_epoch

    @property
    def is_complete(self) -> bool:
        """It is not: even if all bytes are here, nobody has said so."""
        return False

    @property
    def is_publishing(self) -> bool:
        """Whether the bytes are proven and on their way to become an artifact."""
        return self._publishing

    @property
    def lost(self) -> PagletError | None:
        """Why it was taken from its writer."""
        return self._lost

    def when_lost(self, wake: Callable[[], None]) -> None:
        """Calls `wake` if the upload is taken from its writer, or was already."""
        self._wake = wake
        if self._lost is not None:
            wake()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self.leave()

    async def write(self, offset: int, data: bytes | memoryview) -> None:
        """Takes the next bytes. When it returns, they are in the file, or in memory if they are few."""
        async with self._lock:
            part, end = self._receiving(), offset + len(data)
            self._check_next(offset, end)
            step = self._rooms.settings.sync_step_bytes
            if self._next - self._durable >= step:  # by now a disk that keeps up has half of it, and nobody waits
                await unbroken(self._keep(self._next - step // 2))
            if not self._allowance.covers(end):
                await unbroken(self._allowance.cover(end, self._next))
            self._next = end
            self._allowance.wrote(len(data))
            await self._append(part, data)

    async def finish(self, declared: Digest | None = None) -> ArtifactWriteResult:
        """Proves the bytes, makes them durable, and only then visible. Bytes that prove to be others are dropped."""
        async with self._lock:
            part, size = self._receiving(), self._write.size_bytes
            digest = part.digest() if part.held is not None else await self._rooms.disk.run(part.digest)
            self._receiving()  # it may have been taken away meanwhile, and then is not published any more
            self._hopeless = True  # whatever comes of it: a sync that failed must not be asked again
            if size is not None and size != digest.size_bytes:
                raise refusals.size_mismatch(size, digest.size_bytes)
            check_proof(digest, declared)
            check_proof(digest, self._write.expected_digest)
            self._publishing = True
            try:
                result = await self._publish(part, digest)
            except ExhaustedError:
                if self._publication.repeatable:
                    self._hopeless = self._publishing = False
                raise
            self._end(None)
            return result

    async def pause(self) -> int:
        """Makes the bytes so far durable and leaves; an upload without any stays, too."""
        async with self._lock:
            self._receiving()
            await unbroken(self._keep(self._next))
            await unbroken(self._rest())
            return self._next

    async def leave(self) -> None:
        """Leaves what came for the next writer, if anything did; does nothing once the upload has ended."""
        await unbroken(self._leave(drop=self._next == 0))

    async def drop(self) -> None:
        """Gives the upload up and leaves nothing behind; does nothing once it has ended."""
        await unbroken(self._leave(drop=True))

    async def lose(self, error: PagletError, *, drop: bool = False) -> None:
        """Takes the upload from its writer: `error` is what he gets at his next step, for which he is woken."""
        self._lost = error
        if self._wake is not None and not self._publishing:
            self._wake()
        await unbroken(self._leave(drop=drop))

    async def so_far(self) -> Digest:
        """What is here. Raises UPLOAD_IN_PROGRESS for what cannot be gone on with."""
        async with self._lock:
            if self._ended or self._hopeless or self._failed is not None:
                raise refusals.upload_in_progress("upload", self._write.upload_id)
            try:  # what is told to be here must outlive this process
                return await self._rooms.disk.run(lambda: self._part.file().digest())
            except OSError as error:
                raise refusals.upload_in_progress("upload", self._write.upload_id) from error

    async def _publish(self, part: LatePart, digest: Digest) -> ArtifactWriteResult:
        data = part.held
        if data is None:
            return await self._publication.publish(part, digest)
        return await unbroken(self._publish_inline(part, digest, data))

    async def _publish_inline(self, part: LatePart, digest: Digest, data: bytes) -> ArtifactWriteResult:
        """Leaves no file of what the catalogue has; one that cannot be unlinked goes when the store is opened next."""
        result = await self._publication.commit_inline(digest, data)
        if part.has_file:
            try:
                await self._rooms.disk.run(partial(self._rooms.blobs.drop_part, self._write.upload_id))
            except OSError:
                _log.exception("upload %s: its part cannot be unlinked", self._write.upload_id)
        return result

    def _receiving(self) -> LatePart:
        if self._lost is not None:
            raise self._lost
        if self._ended or self._hopeless:
            raise refusals.upload_cancelled(self._write.upload_id)
        if self._failed is not None:
            with refusals.full_disk_told():
                raise self._failed
        return self._part

    def _check_next(self, offset: int, end: int) -> None:
        size, limit = self._write.size_bytes, self._rooms.settings.max_artifact_bytes
        if offset != self._next:
            raise refusals.offset_mismatch(self._next, offset)
        if size is not None and end > size:
            raise refusals.size_mismatch(size, end)
        if limit is not None and end > limit:
            self._hopeless = True
            raise refusals.artifact_too_large(limit, end, "chunk.data")

    async def _append(self, part: LatePart, data: bytes | memoryview) -> None:
        """Adds a chunk, also for a caller who is cancelled. Once that has failed, every later step does."""
        appending = self._rooms.disk.begin(partial(part.append, data))
        try:
            with refusals.full_disk_told():
                await unbroken(appending)
        finally:
            self._failed = appending.exception()
        passed(Step.WRITE_AFTER)

    async def _keep(self, least: int) -> None:
        """Makes the first `least` bytes survive a loss of power. A sync that failed must not be asked again."""
        rooms = self._rooms
        try:
            with refusals.full_disk_told():
                size = await rooms.disk.run(partial(self._part.keep, least))
        except BaseException:
            self._hopeless = True
            raise
        passed(Step.KEEP_AFTER)
        await rooms.ledger.write(lambda rows: partials.mark_durable(rows, self._write.upload_id, size))
        self._durable = size
        passed(Step.MARK_AFTER)

    async def _leave(self, *, drop: bool) -> None:
        async with self._lock:
            if self._ended:
                return
            try:
                await self._leave_or_drop(drop=drop)
            finally:
                if not self._ended:  # e.g. the store was closed while this was opened
                    self._end(None)

    async def _leave_or_drop(self, *, drop: bool) -> None:
        error = self._failed
        if isinstance(error, OSError) and refusals.full_disk_in(error) is None:
            drop = True
        if not (self._publication.decided or drop or self._hopeless):
            drop = not await self._left_in_file()
        if self._publication.decided:
            self._end(None)
        elif drop or self._hopeless:
            await self._rooms.disk.release(self._part.close)
            await self._rooms.janitor.discard(self._write.upload_id)
            self._end(None)
        else:
            await self._rest(known=error is None)

    async def _left_in_file(self) -> bool:
        """Sees to it that the next writer finds what came, and nothing that the disk is known to have lost."""
        try:
            await self._rooms.disk.run(self._part.rest)
        except OSError:
            _log.exception("upload %s: what came of it cannot be kept", self._write.upload_id)
            return False
        return True

    async def _rest(self, *, known: bool = True) -> None:
        """Leaves a partial."""
        rooms, upload_id, hasher = self._rooms, self._write.upload_id, self._part.hasher
        self._part.close()
        try:
            await rooms.ledger.free(lambda rows: partials.keep(rows, upload_id, self._next, rooms.clock()))
        except (sqlite3.Error, ExhaustedError, PagletError):
            _log.exception("upload %s: that it rests cannot be noted", upload_id)
        passed(Step.REST_AFTER)
        self._end(hasher if known else None)
        rooms.janitor.expect(rooms.clock() + rooms.settings.partial_ttl_s)

    def _end(self, hasher: Hasher | None) -> None:
        self._ended = True
        self._part.close()
        self._allowance.end()
        self._rooms.writers.leave(self._write.upload_id, hasher)
