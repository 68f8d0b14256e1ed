"""Files that are written, hashed and made durable by plain calls, in the order in which a host does it.

`syncs` counts every call that waits for the disk, so that both sides of a comparison can be seen to wait as often.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from blake3 import blake3

from paglets.bench.past_cache import PastCache

__all__ = ["Catalogue", "DurableFile", "Syncs"]

_RECORD = bytes(24 * 1024)


class Syncs:
    """How often this process has waited for the disk."""

    def __init__(self) -> None:
        self.count = 0

    def file(self, descriptor: int, sync: Callable[[int], None]) -> None:
        """Makes a file's bytes durable by `os.fdatasync` or `os.fsync`."""
        sync(descriptor)
        self.count += 1

    def folder(self, folder: Path) -> None:
        """Makes the names in a folder durable."""
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self.count += 1


class DurableFile:
    """A file under a hidden name: fill it, `sync` it, give it its name by `place`. `by` is what syncs it.

    `direct` writes past the page cache.
    """

    def __init__(self, target: Path, syncs: Syncs, *, by: Callable[[int], None], direct: bool = False) -> None:
        self._target = target
        self._path = target.with_name(f".{target.name}.part")
        self._syncs = syncs
        self._by = by
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self._hash = blake3()
        self._past_cache = PastCache(self._descriptor) if direct else None

    def append(self, data: memoryview) -> None:
        """Hashes and adds the next bytes."""
        self._hash.update(data)
        if self._past_cache is not None:
            self._past_cache.append(data)
            return
        rest = data
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]

    def digest(self) -> str:
        """What the bytes so far are."""
        return self._hash.hexdigest()

    def sync(self) -> None:
        """Makes the bytes durable."""
        self._syncs.file(self._descriptor, self._by)

    def place(self) -> None:
        """Gives the file its name, durably."""
        self._path.replace(self._target)
        self._syncs.folder(self._target.parent)

    def close(self) -> None:
        """Lets go of the file, and removes it unless it was placed."""
        if self._past_cache is not None:
            self._past_cache.close()
        os.close(self._descriptor)
        self._path.unlink(missing_ok=True)


class Catalogue:
    """A log with one durable record for each time that a store commits to its catalogue."""

    def __init__(self, path: Path, syncs: Syncs) -> None:
        self._syncs = syncs
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def record(self) -> None:
        """Adds a record, as large as what a store's transaction leaves in its log, and makes it durable."""
        os.write(self._descriptor, _RECORD)
        self._syncs.file(self._descriptor, os.fdatasync)

    def close(self) -> None:
        """Lets go of the log."""
        os.close(self._descriptor)
