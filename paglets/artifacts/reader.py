"""Reading files off the event loop, one piece ahead.

The bytes of an artifact are proven against its digest at the end. This file must never know where files lie.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path

from paglets.artifacts import refusals
from paglets.artifacts.disk import Disk, unbroken
from paglets.digest import Hasher
from paglets.values import ArtifactRef

__all__ = ["PIECE_BYTES", "BlobReader", "FileReader"]

PIECE_BYTES = 1024 * 1024


class FileReader:
    """A file that is read in threads, `piece_bytes` at a time. Closing waits for what is on its way."""

    def __init__(self, disk: Disk, piece_bytes: int = PIECE_BYTES) -> None:
        self._disk = disk
        self._piece_bytes = piece_bytes
        self._descriptor = -1
        self._ahead: set[asyncio.Future[bytes]] = set()

    @property
    def descriptor(self) -> int:
        """The open file, for calls that want its number."""
        return self._descriptor

    async def open(self, path: Path, flags: int = 0) -> os.stat_result:
        """Opens a file and returns what it is; close it also when this fails."""
        return await self._disk.run(partial(self._open, path, flags))

    async def pieces(self, hasher: Hasher | None = None, *, offset: int = 0) -> AsyncIterator[bytes]:
        """The bytes from `offset` on; a `hasher` is fed in the threads that read, ahead of what was yielded."""
        ahead = self._read_ahead(offset, hasher)
        while data := await unbroken(ahead):
            offset += len(data)
            ahead = self._read_ahead(offset, hasher)
            yield data

    async def close(self) -> None:
        """Closes the file. Closing again does nothing."""
        if self._ahead:
            await unbroken(asyncio.wait(tuple(self._ahead)))  # the set itself empties meanwhile
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _open(self, path: Path, flags: int) -> os.stat_result:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | flags)
        return os.fstat(self._descriptor)

    def _read_ahead(self, offset: int, hasher: Hasher | None) -> asyncio.Future[bytes]:
        future = self._disk.begin(partial(self._read, offset, hasher))
        self._ahead.add(future)
        future.add_done_callback(self._arrived)
        return future

    def _arrived(self, future: asyncio.Future[bytes]) -> None:
        self._ahead.discard(future)
        future.exception()  # whoever reads on sees it; nobody else has to

    def _read(self, offset: int, hasher: Hasher | None) -> bytes:
        data = os.pread(self._descriptor, self._piece_bytes, offset)
        if hasher is not None:
            hasher.update(data)
        return data


class BlobReader:
    """An artifact that is open for reading. `distrust` is called when its bytes turn out to be wrong."""

    def __init__(self, ref: ArtifactRef, file: FileReader, distrust: Callable[[], Awaitable[None]]) -> None:
        self._ref = ref
        self._file = file
        self._distrust = distrust

    @property
    def ref(self) -> ArtifactRef:
        """The artifact as it was when the read began."""
        return self._ref

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self.proven(self._file)

    async def proven(self, file: FileReader) -> AsyncIterator[bytes]:
        """The bytes of a file that shall be this artifact's; raises STORED_BLOB_CORRUPT instead of ending if not."""
        hasher, size = Hasher(), 0
        try:
            async for piece in file.pieces(hasher):
                size += len(piece)
                if size > self._ref.size_bytes:
                    break
                yield piece
        except OSError as error:
            await self._distrust()
            raise refusals.blob_corrupt(self._ref.artifact_id, "the stored bytes cannot be read") from error
        if hasher.digest() != self._ref.digest:
            await self._distrust()
            raise refusals.blob_corrupt(self._ref.artifact_id, "the stored bytes no longer have their digest")
