"""Reading files off the event loop, one piece ahead.

The bytes of a whole artifact are proven against its digest at the end. This file must never know where files lie.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path

from paglets.artifacts import refusals
from paglets.artifacts.disk import Disk, unbroken
from paglets.artifacts.store import ByteRange
from paglets.digest import Hasher
from paglets.errors import PagletError
from paglets.values import ArtifactRef

__all__ = ["PIECE_BYTES", "BlobReader", "FileReader"]

PIECE_BYTES = 1024 * 1024


class FileReader:
    """A file that is read in threads. Closing waits for what is on its way."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._descriptor = -1
        self._ahead: set[asyncio.Future[bytes]] = set()

    @property
    def descriptor(self) -> int:
        """The open file, for calls that want its number."""
        return self._descriptor

    async def open(self, path: Path, flags: int = 0) -> os.stat_result:
        """Opens a file and returns what it is; close it also when this fails."""
        return await self._disk.run(partial(self._open, path, flags))

    async def open_bytes(self, data: bytes) -> os.stat_result:
        """Takes bytes that have no file for one; close it also when this fails."""
        return await self._disk.run(partial(self._open_bytes, data))

    async def pieces(
        self, hasher: Hasher | None = None, byte_range: ByteRange | None = None, piece_bytes: int = PIECE_BYTES
    ) -> AsyncGenerator[bytes]:
        """The bytes of a range as far as there are so many, or of the whole file.

        A `hasher` is fed in the threads that read, ahead of what was yielded.
        """
        offset, end = (0, None) if byte_range is None else (byte_range.offset, byte_range.end)

        def begin() -> asyncio.Future[bytes]:
            return self._read_ahead(offset, piece_bytes if end is None else min(piece_bytes, end - offset), hasher)

        ahead = begin()
        while data := await unbroken(ahead):
            offset += len(data)
            ahead = begin()
            yield data

    async def close(self) -> None:
        """Closes the file, also when the caller is cancelled meanwhile. Closing again does nothing."""
        try:
            if self._ahead:
                await unbroken(asyncio.wait(tuple(self._ahead)))  # the set itself empties meanwhile
        finally:
            descriptor, self._descriptor = self._descriptor, -1
            if descriptor >= 0:
                os.close(descriptor)

    def _open(self, path: Path, flags: int) -> os.stat_result:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | flags)
        return os.fstat(self._descriptor)

    def _open_bytes(self, data: bytes) -> os.stat_result:
        self._descriptor = os.memfd_create("inline blob")
        os.pwrite(self._descriptor, data, 0)
        return os.fstat(self._descriptor)

    def _read_ahead(self, offset: int, size: int, hasher: Hasher | None) -> asyncio.Future[bytes]:
        future = self._disk.begin(partial(self._read, offset, size, hasher))
        self._ahead.add(future)
        future.add_done_callback(self._arrived)
        return future

    def _arrived(self, future: asyncio.Future[bytes]) -> None:
        self._ahead.discard(future)
        future.exception()  # whoever reads on sees it; nobody else has to

    def _read(self, offset: int, size: int, hasher: Hasher | None) -> bytes:
        data = os.pread(self._descriptor, size, offset)
        if hasher is not None:
            hasher.update(data)
        return data


class BlobReader:
    """An artifact, or a range of it, that is open for reading, in pieces of `piece_bytes`.

    `distrust` is called when its bytes turn out to be wrong.
    """

    def __init__(
        self,
        ref: ArtifactRef,
        file: FileReader,
        distrust: Callable[[], Awaitable[None]],
        byte_range: ByteRange | None = None,
        piece_bytes: int = PIECE_BYTES,
    ) -> None:
        self._ref = ref
        self._file = file
        self._distrust = distrust
        self._whole = ByteRange(0, ref.size_bytes)
        self._range = byte_range or self._whole
        self._piece_bytes = piece_bytes

    @property
    def ref(self) -> ArtifactRef:
        """The artifact as it was when the read began."""
        return self._ref

    @property
    def byte_range(self) -> ByteRange:
        """Which of its bytes come."""
        return self._range

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self.proven(self._file) if self._range == self._whole else self._ranged()

    async def proven(self, file: FileReader) -> AsyncIterator[bytes]:
        """The bytes of a file that shall be this artifact's; raises STORED_BLOB_CORRUPT instead of ending if not."""
        hasher, size = Hasher(), 0
        try:
            async for piece in file.pieces(hasher, piece_bytes=self._piece_bytes):
                size += len(piece)
                if size > self._ref.size_bytes:
                    break
                yield piece
        except OSError as error:
            raise await self._corrupt("the stored bytes cannot be read") from error
        if hasher.digest() != self._ref.digest:
            raise await self._corrupt("the stored bytes no longer have their digest")

    async def _ranged(self) -> AsyncIterator[bytes]:
        """The bytes of the range, which nothing can prove but that they are all there."""
        size = 0
        try:
            async for piece in self._file.pieces(byte_range=self._range, piece_bytes=self._piece_bytes):
                size += len(piece)
                yield piece
        except OSError as error:
            raise await self._corrupt("the stored bytes cannot be read") from error
        if size != self._range.length:
            raise await self._corrupt("some of the stored bytes are gone")

    async def _corrupt(self, message: str) -> PagletError:
        await self._distrust()
        return refusals.blob_corrupt(self._ref.artifact_id, message)
