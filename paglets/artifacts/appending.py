"""Writing a file from one end to the other, and to the disk all the while.

The page cache has each byte as soon as it was given: whoever is killed leaves all of them. The disk is told at once to
write what came, and the cache to forget what was written: at the end there is little to wait for, and the same few
pages are used again and again, which costs far less than fresh ones do. This file must never know what the bytes are.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable
from typing import Final

__all__ = ["STEP_BYTES", "Appending", "begin_to_write", "sync_range"]

STEP_BYTES: Final = 1024 * 1024
"""The disk is told to write when so much has come."""

_BEHIND_BYTES = 8 * 1024 * 1024
"""So much may be on its way to the disk: enough to keep one busy, and little for others' syncs to wait for."""

_NO_RANGES = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ESPIPE})


# What `sync_file_range` does with a range: it begins to write its pages, or it writes all of them and waits.
_BEGIN = 2
_WRITE = 1 | 2 | 4


class Appending:
    """The end of an open file, at `size_bytes`. One thread at a time; the descriptor stays its owner's.

    What raised an `OSError` may have written a part of its piece, and the disk may have told of bytes given before:
    nothing may be appended after that.
    """

    def __init__(self, descriptor: int, size_bytes: int = 0) -> None:
        self._descriptor = descriptor
        self._size = self._begun = self._written = size_bytes

    @property
    def size_bytes(self) -> int:
        """How many bytes are in the file."""
        return self._size

    def append(self, data: bytes | memoryview) -> None:
        """Adds the next bytes. Waits for the disk when it is too far behind. Raises `OSError`."""
        rest = memoryview(data)
        while rest:
            written = os.pwrite(self._descriptor, rest, self._size)
            self._size += written
            rest = rest[written:]
        if self._size - self._begun >= STEP_BYTES:
            self._write_back()

    def _write_back(self) -> None:
        """Begins to write what came since the last step, and forgets what was begun with long enough ago."""
        if not _told(self._descriptor, self._begun, self._size, _BEGIN):
            return
        self._begun = self._size
        done = self._begun - _BEHIND_BYTES
        if done > self._written:
            _told(self._descriptor, self._written, done, _WRITE)
            os.posix_fadvise(self._descriptor, self._written, done - self._written, os.POSIX_FADV_DONTNEED)
            self._written = done


def begin_to_write(descriptor: int, size_bytes: int) -> None:
    """Has the disk begin to write a new file of this size; whoever waits for many need not wait for each then."""
    _told(descriptor, 0, size_bytes, _BEGIN)


def _told(descriptor: int, start: int, end: int, how: int) -> bool:
    """Has a range written; False where that cannot be asked for.

    Raises `OSError` with EIO when the disk could not write what the page cache had for it, for whatever reason, also a
    full disk: those bytes are lost, and nobody is told of them again.
    """
    error = sync_range(descriptor, start, end - start, how)
    if error and error not in _NO_RANGES:
        raise OSError(errno.EIO, f"the disk did not keep what it was given before: {os.strerror(error)}")
    return not error


def sync_range(descriptor: int, start: int, size: int, how: int) -> int:
    """Calls `sync_file_range`; the number of its error, 0 for none."""
    if _sync_file_range is None:
        return errno.ENOSYS
    return ctypes.get_errno() if _sync_file_range(descriptor, start, size, how) else 0


def _find_sync_file_range() -> Callable[..., int] | None:
    try:
        function = ctypes.CDLL(None, use_errno=True).sync_file_range
    except (OSError, AttributeError):
        return None
    function.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return function


_sync_file_range = _find_sync_file_range()
