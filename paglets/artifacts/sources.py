"""Where the bytes of a new artifact come from: files, which can be read again, and streams, which cannot.

Both are read off the event loop. This file must never know where the bytes go.
"""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Protocol

from paglets.artifacts import refusals
from paglets.artifacts.behind import Behind
from paglets.artifacts.disk import Disk
from paglets.artifacts.limits import MAX_TEXT_BYTES
from paglets.artifacts.reader import FileReader
from paglets.artifacts.store import ArtifactWrite, ByteRange, Readable
from paglets.digest import Hasher
from paglets.offloop import off_loop

__all__ = ["HELD_BYTES", "FileSource", "Source", "StreamSource", "file_source", "stream_pieces"]

HELD_BYTES = 16 * 1024 * 1024
"""As much of a stream is held in memory to be given again."""

_SOURCE_BYTES = 2 * 1024 * 1024  # as much as a message of an upload carries
_NO_END = 1 << 62
_NO_FILE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENXIO, errno.EISDIR})


class Source(Protocol):
    """The bytes of one artifact. Errors of whatever they come from pass unchanged."""

    @property
    def kept_bytes(self) -> int:
        """How many bytes are held in memory to be given again."""
        ...

    @property
    def failure(self) -> BaseException | None:
        """What the bytes' own origin raised: it is at an end, and not the bytes."""
        ...

    async def prefix(self, size: int) -> Hasher | None:
        """The state of the hash of the first `size` bytes, or of all if there are fewer.

        None when they cannot be had again.
        """
        ...

    def pieces(self, offset: int) -> AsyncIterator[bytes]:
        """The bytes from there on. What `prefix` had no answer for cannot be asked for."""
        ...

    def hashed_pieces(self, hasher: Hasher) -> AsyncGenerator[bytes]:
        """The bytes after those that `hasher` was given; it has been given these, too, once this has ended."""
        ...

    def settle(self, hasher: Hasher) -> None:
        """The bytes that `hasher` was given will not be asked for again."""
        ...


class FileSource:
    """A file that is open."""

    def __init__(self, disk: Disk, file: FileReader) -> None:
        self._disk = disk
        self._file = file

    @property
    def kept_bytes(self) -> int:
        """None: they are in the file."""
        return 0

    @property
    def failure(self) -> None:
        """None: a file can be read again."""

    async def prefix(self, size: int) -> Hasher | None:
        """Reads the beginning of the file."""
        return await self._disk.run(partial(_hash_file, self._file.descriptor, size))

    def pieces(self, offset: int) -> AsyncIterator[bytes]:
        """The bytes from there on."""
        return self._file.pieces(byte_range=ByteRange(offset, _NO_END), piece_bytes=_SOURCE_BYTES)

    def hashed_pieces(self, hasher: Hasher) -> AsyncGenerator[bytes]:
        """The bytes after those, hashed by the thread that reads them, ahead of whoever sends them."""
        return self._file.pieces(hasher, ByteRange(hasher.size_bytes, _NO_END), _SOURCE_BYTES)

    def settle(self, hasher: Hasher) -> None:
        """Does nothing."""


class StreamSource:
    """Bytes that come once. Those since the last `settle` are kept, to be given again, if that is asked for.

    Without `keep`, `prefix` is of use before the first of `pieces` only.
    """

    def __init__(self, chunks: AsyncIterable[bytes], *, keep: bool) -> None:
        self._chunks = aiter(chunks)
        self._keep = keep
        self._settled = Hasher()
        self._kept: deque[bytes] = deque()
        self._kept_bytes = 0
        self._failure: BaseException | None = None

    @property
    def kept_bytes(self) -> int:
        """How many bytes came since the last `settle`."""
        return self._kept_bytes

    @property
    def failure(self) -> BaseException | None:
        """What the stream raised."""
        return self._failure

    async def prefix(self, size: int) -> Hasher | None:
        """What was kept, and as much more as is needed, of which no more is kept than can be held."""
        if size < self._settled.size_bytes:
            return None
        hasher = self._settled.copy()
        for piece in tuple(self._kept):
            await off_loop(hasher.update, piece[: size - hasher.size_bytes])
        while hasher.size_bytes < size and await self._pull():
            await off_loop(hasher.update, self._kept[-1][: size - hasher.size_bytes])
            if self._kept_bytes > HELD_BYTES:
                self.settle(hasher)
        if not self._keep:
            self.settle(hasher)
        return hasher

    async def pieces(self, offset: int) -> AsyncIterator[bytes]:
        """What was kept from there on, then what comes."""
        start = self._settled.size_bytes
        for piece in tuple(self._kept):
            if start + len(piece) > offset:
                yield piece[max(0, offset - start) :]
            start += len(piece)
        while await self._pull():
            yield self._kept[-1]
            if not self._keep:
                self._kept.clear()
                self._kept_bytes = 0

    async def hashed_pieces(self, hasher: Hasher) -> AsyncGenerator[bytes]:
        """The bytes after those, each hashed while whoever asked for it sends it."""
        async with Behind.working(Disk(), hasher.update) as hashing:
            async for piece in self.pieces(hasher.size_bytes):
                await hashing.put(piece)
                yield piece

    def settle(self, hasher: Hasher) -> None:
        """Forgets what was kept before."""
        surplus = hasher.size_bytes - self._settled.size_bytes
        self._settled = hasher.copy()
        self._kept_bytes -= surplus
        while surplus:
            piece = self._kept.popleft()
            if len(piece) > surplus:
                self._kept.appendleft(piece[surplus:])
            surplus -= min(surplus, len(piece))

    async def _pull(self) -> bool:
        """Takes the next bytes in; False at the end. A stream that raised says so for ever, and not that it ended."""
        if self._failure is not None:
            raise self._failure
        try:
            while not (piece := await anext(self._chunks, None)):
                if piece is None:
                    return False
        except BaseException as error:
            self._failure = error
            raise
        self._kept.append(piece)
        self._kept_bytes += len(piece)
        return True


@asynccontextmanager
async def file_source(
    disk: Disk, write: ArtifactWrite, path: Path
) -> AsyncGenerator[tuple[ArtifactWrite, FileSource], None]:
    """Opens a regular file: the write with its size, and its name if it has none, and the bytes.

    Raises SOURCE_NOT_A_FILE, and other `OSError`s unchanged.
    """
    file = FileReader(disk)
    try:
        found = await _open_regular(file, path)
        name = write.name or path.name.encode(errors="replace")[:MAX_TEXT_BYTES].decode(errors="ignore")
        size = found.st_size if write.size_bytes is None else write.size_bytes
        yield replace(write, name=name, size_bytes=size), FileSource(disk, file)
    finally:
        await file.close()


async def stream_pieces(source: Readable) -> AsyncIterator[bytes]:
    """What `source.read(n)` gives until it gives nothing. A cancelled caller does not wait for a read that blocks."""
    while piece := await asyncio.to_thread(source.read, _SOURCE_BYTES):
        yield piece


async def _open_regular(file: FileReader, path: Path) -> os.stat_result:
    try:
        found = await file.open(path, os.O_NONBLOCK)  # opening a pipe must not wait for its other end
    except OSError as error:
        if error.errno in _NO_FILE:
            raise refusals.source_not_a_file(path) from error
        raise
    if not stat.S_ISREG(found.st_mode):
        raise refusals.source_not_a_file(path)
    return found


def _hash_file(descriptor: int, size: int) -> Hasher:
    hasher = Hasher()
    while hasher.size_bytes < size:
        piece = os.pread(descriptor, min(_SOURCE_BYTES, size - hasher.size_bytes), hasher.size_bytes)
        if not piece:
            break
        hasher.update(piece)
    return hasher
