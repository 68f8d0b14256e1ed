"""A file that is being received, hashed while it is written.

It is always a plain prefix of what is sent: whoever is killed leaves a file that can be hashed again and gone on with.
This file must never know what becomes of the bytes.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from paglets.artifacts.appending import Appending
from paglets.digest import Digest, Hasher

__all__ = ["BLOB_MODE", "Part"]

_RECEIVING_MODE = 0o600
BLOB_MODE = 0o444
"""What may be done with a file that is a blob: it may be read."""

_LARGE_BYTES = 256 * 1024
"""Pieces of this size and more are hashed in a thread of their own."""


class Part:
    """One file: `append`, in the end `sync`, at last `close`. Every method blocks; one thread at a time.

    An `OSError` of the disk is final: what adds or syncs bytes after it raises it again, and nothing is tried twice.
    """

    def __init__(self, descriptor: int, hasher: Hasher) -> None:
        """Takes over an open file that holds exactly what `hasher` was given; use `create` or `reopen`."""
        self._descriptor = descriptor
        self._hasher = hasher
        self._file = Appending(descriptor, hasher.size_bytes)
        self._hashing: ThreadPoolExecutor | None = None
        self._hashed: Future[None] | None = None
        self._failed: OSError | None = None

    @classmethod
    def create(cls, path: Path) -> Self:
        """An empty part; there must be no such file. Raises `OSError`."""
        return cls(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _RECEIVING_MODE), Hasher())

    @classmethod
    def reopen(cls, path: Path, hasher: Hasher) -> Self:
        """The part that somebody left, whose bytes `hasher` was given; what the file has beyond them is cut off.

        It is made if it is not there. Raises `OSError`.
        """
        with suppress(FileNotFoundError):
            path.chmod(_RECEIVING_MODE)  # it may have been made durable already
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _RECEIVING_MODE)
        try:
            os.ftruncate(descriptor, hasher.size_bytes)
            return cls(descriptor, hasher)
        except BaseException:
            os.close(descriptor)
            raise

    @property
    def size_bytes(self) -> int:
        """How many bytes are in the file."""
        return self._file.size_bytes

    @property
    def hasher(self) -> Hasher:
        """The state of the hash, to go on with."""
        hashed, self._hashed = self._hashed, None
        if hashed is not None:
            hashed.result()
        return self._hasher

    def append(self, data: bytes | memoryview) -> None:
        """Adds the next bytes. They are in the file when it returns, not yet durable, and may be being hashed."""
        with self._final_errors():
            if len(data) < _LARGE_BYTES:
                self.hasher.update(data)
            else:
                self._begin_hashing(data)
            self._file.append(data)

    def digest(self) -> Digest:
        """What the bytes so far are."""
        return self.hasher.digest()

    def settle(self) -> None:
        """Waits until nothing is being made durable any more. Raises EIO if the disk lost some of that.

        It tells of nothing else: what came before a full disk is as good as ever, and may be gone on with.
        """
        self._file.settle()

    def keep(self, least: int) -> int:
        """Makes the first `least` bytes durable if they are not; more may follow. Says how many are."""
        with self._final_errors():
            if self._file.durable_bytes < least:
                self._file.sync()
            return self._file.durable_bytes

    def sync(self) -> None:
        """Makes the bytes durable, and the file read-only. Nothing is appended after that."""
        with self._final_errors():
            os.fchmod(self._descriptor, BLOB_MODE)
            self._file.sync()

    def close(self) -> None:
        """Lets go of the file. Closing again does nothing."""
        if self._hashing is not None:
            self._hashing.shutdown()
        self._file.close()
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _begin_hashing(self, data: bytes | memoryview) -> None:
        if self._hashing is None:
            self._hashing = ThreadPoolExecutor(1, thread_name_prefix="artifact-hash")
        self._hashed = self._hashing.submit(self.hasher.update, data)

    @contextmanager
    def _final_errors(self) -> Generator[None]:
        """Raises the error that the disk gave before, or keeps the one that it gives now."""
        if self._failed is not None:
            raise self._failed
        try:
            yield
        except OSError as error:
            self._failed = error
            raise
