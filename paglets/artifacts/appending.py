"""Writing a file from one end to the other, and to the disk all the while.

The page cache has each byte as soon as it was given: whoever is killed leaves all of them. What came is made durable
behind the writer's back, again and again, and the cache forgets it then: at the end there is little to wait for, and
the same pages are used again, which costs far less than fresh ones do. This file must never know what the bytes are.
"""

from __future__ import annotations

import errno
import os
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

__all__ = ["STEP_BYTES", "Appending"]

STEP_BYTES: Final = 16 * 1024 * 1024
"""So much has to come before what came is made durable: a disk that is emptied for less gets nothing else done."""

_BEHIND_BYTES = 64 * 1024 * 1024
"""So much may be in the page cache alone. The writer waits then: whoever fills it only waits later, and for more."""


class Appending:
    """The end of an open file, at `size_bytes`. One thread at a time; `close` it before its owner closes the file.

    What raised an `OSError` may have written a part of its piece, and the disk may have told of bytes given before:
    nothing may be appended after that.
    """

    def __init__(self, descriptor: int, size_bytes: int = 0) -> None:
        self._descriptor = descriptor
        self._size = size_bytes
        self._durable = 0  # whoever wrote what is there may have been killed before any sync
        self._thread: ThreadPoolExecutor | None = None
        self._syncing: Future[None] | None = None
        self._syncing_to = 0

    @property
    def size_bytes(self) -> int:
        """How many bytes are in the file."""
        return self._size

    @property
    def durable_bytes(self) -> int:
        """How many bytes from the first on were made durable since this was made, by whomever they were written."""
        return self._durable

    def append(self, data: bytes | memoryview) -> None:
        """Adds the next bytes. Waits for the disk when it is too far behind. Raises `OSError`."""
        rest = memoryview(data)
        while rest:
            written = os.pwrite(self._descriptor, rest, self._size)
            self._size += written
            rest = rest[written:]
        if self._size - self._durable >= STEP_BYTES:
            self._sync_behind()

    def settle(self) -> None:
        """Waits until nothing is being made durable any more. Raises EIO if some of it could not be, ever after."""
        if self._syncing is None:
            return
        try:
            self._syncing.result()
        except OSError as error:
            raise _lost(error) from error
        self._syncing = None
        os.posix_fadvise(self._descriptor, self._durable, self._syncing_to - self._durable, os.POSIX_FADV_DONTNEED)
        self._durable = self._syncing_to

    def sync(self) -> None:
        """Makes all bytes durable. Raises `OSError`."""
        self.settle()
        os.fdatasync(self._descriptor)
        self._durable = self._size

    def close(self) -> None:
        """Waits for what is being made durable, however that goes. Closing again does nothing."""
        if self._thread is not None:
            self._thread.shutdown()

    def _sync_behind(self) -> None:
        """Has the next bytes made durable once the last are. Waits for those when too many have come meanwhile."""
        if self._syncing is not None:
            if not self._syncing.done() and self._size - self._durable < _BEHIND_BYTES:
                return
            self.settle()
            if self._size - self._durable < STEP_BYTES:
                return
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="artifact-sync")
        self._syncing_to = self._size
        self._syncing = self._thread.submit(os.fdatasync, self._descriptor)


def _lost(error: OSError) -> OSError:
    """Tells that the disk could not write what the page cache had for it, for whatever reason, also a full disk.

    Those bytes are lost, and nobody is told of them again.
    """
    return OSError(
        errno.EIO, f"the disk did not keep what it was given before: {os.strerror(error.errno or errno.EIO)}"
    )
