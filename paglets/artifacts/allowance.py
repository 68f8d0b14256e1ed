"""The room that one upload may take, reserved before its bytes come.

Reserved means counted in the quota and promised on the disk. This file must never see a byte of the upload.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import TypeVar

from paglets.artifacts import partials, uploads
from paglets.artifacts.rooms import StoreRooms
from paglets.artifacts.steps import Step, passed
from paglets.artifacts.store import ArtifactWrite
from paglets.errors import ExhaustedError

__all__ = ["Allowance"]

T = TypeVar("T")


class Allowance:
    """One upload's room; `committed` bytes of it are on the disk already.

    `admit` first; then `cover` before and `wrote` after each piece; `end` at last, however the upload ended.
    """

    def __init__(self, rooms: StoreRooms, write: ArtifactWrite, committed: int) -> None:
        self._rooms = rooms
        self._write = write
        self._committed = committed
        self._reserved = 0
        self._promised = 0

    async def admit(self, writer_epoch: int) -> int:
        """Opens the upload's row with the declared size reserved, or gives an open one to its next writer: his number.

        Raises as `uploads.admit`, and DISK_FULL.
        """
        rooms, write = self._rooms, self._write
        missing = max(0, (write.size_bytes or 0) - self._committed)
        self._promised = await rooms.floor.promise(missing, missing)
        passed(Step.ADMIT_BEFORE)
        admission = await self._with_room(lambda rows: uploads.admit(rows, write, writer_epoch, rooms.moment()))
        self._reserved = admission.reserved
        passed(Step.ADMIT_AFTER)
        return admission.writer_epoch

    def covers(self, size: int) -> bool:
        """Whether an artifact of this size fits what is reserved."""
        return size <= self._reserved

    async def cover(self, size: int, so_far: int) -> None:
        """Reserves enough for `size` bytes.

        Takes as much again as came `so_far`, up to a step, or what is left if that will do: small artifacts of unknown
        size do not starve each other, large ones seldom have to ask.
        """
        rooms, name = self._rooms, self._write.upload_id
        needed = size - self._reserved
        wanted = max(needed, min(rooms.settings.reserve_step_bytes, so_far))
        promised = await rooms.floor.promise(needed, wanted)
        self._promised += promised
        owner, limits = self._write.owner, rooms.moment().limits
        granted = await self._with_room(lambda rows: partials.grow(rows, name, owner, limits, needed, promised))
        self._reserved += granted
        self.wrote(promised - granted)
        passed(Step.GROW_AFTER)

    def wrote(self, size: int) -> None:
        """So many promised bytes are on the disk now, or never will be."""
        self._promised -= size
        self._rooms.floor.kept(size)

    def end(self) -> None:
        """Gives back what was promised and is not needed any more. Safe to repeat."""
        self.wrote(self._promised)

    async def _with_room(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Makes a write that reserves; if the quota is full, what has expired gives up its room first."""
        try:
            return await self._rooms.ledger.write(work)
        except ExhaustedError as error:
            if error.reason != "QUOTA_EXCEEDED":
                raise
        await self._rooms.janitor.make_room()
        return await self._rooms.ledger.write(work)
