"""Spare room, so that a full disk never keeps a store from giving room back.

Deleting needs a few bytes for the database. This file must never know what they are for; every function blocks.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

from paglets.artifacts import refusals

__all__ = ["SpareRoom"]

_log = logging.getLogger(__name__)
_SPARE_BYTES = 512 * 1024


class SpareRoom:
    """A file of no use but its size: `keep` it while there is room, `spend` it when there is none."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def keep(self) -> None:
        """Makes the file unless it is there; a disk without room for it is left as it is."""
        if self._path.exists():
            return
        try:
            with self._path.open("xb", buffering=0) as file:
                os.posix_fallocate(file.fileno(), 0, _SPARE_BYTES)
        except OSError as error:
            self._path.unlink(missing_ok=True)
            if refusals.full_disk_in(error) is None:
                raise

    def spend(self) -> bool:
        """Gives the room to whoever needs it; says whether there was any."""
        try:
            self._path.unlink()
        except FileNotFoundError:
            return False
        _log.warning("the disk is full; the artifact store uses its spare room")
        return True
