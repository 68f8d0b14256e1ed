"""The floor of free disk: uploads together cannot fill it.

Space is promised to each before its bytes come. This file must never know the quota.
"""

from __future__ import annotations

import os
from pathlib import Path

from paglets.artifacts import refusals
from paglets.artifacts.disk import Disk

__all__ = ["DiskFloor"]


class DiskFloor:
    """Keeps `min_free_bytes` of the disk free, as far as this store's own uploads are concerned.

    `promise` before bytes may come, `kept` as they are written, and `kept` for what nobody needs any more.
    """

    def __init__(self, root: Path, min_free_bytes: int, disk: Disk) -> None:
        self._root = root
        self._min_free_bytes = min_free_bytes
        self._disk = disk
        self._promised = 0

    async def promise(self, needed: int, wanted: int) -> int:
        """Promises `wanted` bytes, or what may still be taken as long as `needed` fit. Returns how many.

        Raises DISK_FULL when `needed` do not fit.
        """
        free = await self._disk.run(self._measure)
        left = free - self._promised - self._min_free_bytes
        if needed > left:
            what = f"{needed} more bytes" if needed else "another upload"
            raise refusals.disk_full(f"{what} would leave less than {self._min_free_bytes} bytes of the disk free")
        granted = min(wanted, left)
        self._promised += granted
        return granted

    def kept(self, size: int) -> None:
        """Takes back `size` promised bytes: they are written now, or will never be."""
        self._promised -= size

    async def free(self) -> int:
        """How many bytes the disk has left for this user."""
        return await self._disk.run(self._measure)

    def _measure(self) -> int:
        found = os.statvfs(self._root)
        return found.f_bavail * found.f_frsize
