"""Writing a file from one end to the other, large pieces past the page cache.

A disk takes large aligned blocks straight from memory; going through the page cache costs a copy, and at the end a long
wait for all that is dirty. Where a file system refuses that, and for the small and the odd, the page cache is used.
After each step the file holds every byte that it was given: whoever is killed leaves a prefix of what was to come.
This file must never know what the bytes are.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
from typing import Final

__all__ = ["DIRECT_BYTES", "PastCache"]

_BLOCK_BYTES: Final = 4096
_BUFFER_BYTES: Final = 2 * 1024 * 1024

DIRECT_BYTES: Final = 256 * 1024
"""Pieces of this size and more go past the page cache."""


class PastCache:
    """The end of an open file, at `size_bytes`. One thread at a time; the descriptor stays its owner's.

    What raised an `OSError` may have written a part of its piece: nothing may be appended after that.
    """

    def __init__(self, descriptor: int, size_bytes: int = 0) -> None:
        self._descriptor = descriptor
        self._size = size_bytes
        self._buffer: mmap.mmap | None = None
        self._refused = False

    @property
    def size_bytes(self) -> int:
        """How many bytes are in the file."""
        return self._size

    def append(self, data: bytes | memoryview) -> None:
        """Adds the next bytes. Raises `OSError`."""
        rest = memoryview(data)
        if len(rest) >= DIRECT_BYTES and not self._refused:
            gap = -self._size % _BLOCK_BYTES
            self._write(rest[:gap])
            rest = rest[gap:]
            rest = rest[self._write_direct(rest[: len(rest) - len(rest) % _BLOCK_BYTES]) :]
        self._write(rest)

    def close(self) -> None:
        """Frees memory. Closing again does nothing."""
        buffer, self._buffer = self._buffer, None
        if buffer is not None:
            buffer.close()

    def _write(self, data: memoryview) -> None:
        while data:
            written = os.pwrite(self._descriptor, data, self._size)
            self._size += written
            data = data[written:]

    def _write_direct(self, data: memoryview) -> int:
        """Writes whole blocks from an aligned place; says how many bytes were written: fewer where it is refused."""
        if self._buffer is None:
            self._buffer = mmap.mmap(-1, _BUFFER_BYTES)
        if not self._turn(on=True):
            return 0
        try:
            return self._write_blocks(data, self._buffer)
        finally:
            self._turn(on=False)

    def _write_blocks(self, data: memoryview, buffer: mmap.mmap) -> int:
        done = 0
        while done < len(data):
            size = min(_BUFFER_BYTES, len(data) - done)
            buffer[:size] = data[done : done + size]
            with memoryview(buffer) as aligned, aligned[:size] as blocks:
                try:
                    written = os.pwrite(self._descriptor, blocks, self._size)
                except OSError as error:
                    if error.errno != errno.EINVAL:
                        raise
                    self._refused = True
                    return done
            self._size += written
            done += written
            if written < size:
                return done
        return done

    def _turn(self, *, on: bool) -> bool:
        """Switches the way past the page cache on or off; False where the file system has none."""
        flags = fcntl.fcntl(self._descriptor, fcntl.F_GETFL)
        try:
            fcntl.fcntl(self._descriptor, fcntl.F_SETFL, flags | os.O_DIRECT if on else flags & ~os.O_DIRECT)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            self._refused = True
        return not self._refused
