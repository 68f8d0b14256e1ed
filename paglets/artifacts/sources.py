"""Where the bytes of a new artifact come from: files and streams.

Both are read off the event loop. This file must never know where the bytes go.
"""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from paglets.artifacts import refusals
from paglets.artifacts.disk import Disk
from paglets.artifacts.limits import MAX_TEXT_BYTES
from paglets.artifacts.reader import PIECE_BYTES, FileReader
from paglets.artifacts.store import ArtifactWrite, Readable

__all__ = ["file_source", "stream_pieces"]

_NO_FILE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENXIO, errno.EISDIR})


@asynccontextmanager
async def file_source(
    disk: Disk, write: ArtifactWrite, path: Path
) -> AsyncGenerator[tuple[ArtifactWrite, AsyncIterator[bytes]], None]:
    """Opens a regular file: the write with its size, and its name if it has none, and the bytes.

    Raises SOURCE_NOT_A_FILE, and other `OSError`s unchanged.
    """
    file = FileReader(disk)
    try:
        found = await _open_regular(file, path)
        name = write.name or path.name.encode(errors="replace")[:MAX_TEXT_BYTES].decode(errors="ignore")
        size = found.st_size if write.size_bytes is None else write.size_bytes
        yield replace(write, name=name, size_bytes=size), file.pieces()
    finally:
        await file.close()


async def stream_pieces(source: Readable) -> AsyncIterator[bytes]:
    """What `source.read(n)` gives until it gives nothing. A cancelled caller does not wait for a read that blocks."""
    while piece := await asyncio.to_thread(source.read, PIECE_BYTES):
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
