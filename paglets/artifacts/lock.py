"""One process a store: the lock on its folder.

The kernel drops it when the process ends, however it ends. This file must never know what is in the folder.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from paglets.artifacts import refusals

__all__ = ["FolderLock"]


class FolderLock:
    """Held from construction to `release`. Raises DATA_FOLDER_LOCKED."""

    def __init__(self, folder: Path) -> None:
        self._descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.release()
            raise refusals.folder_locked(folder) from error

    def release(self) -> None:
        """Lets go. Safe to repeat."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
