"""The end of a paglet: its last turn, the tombstone in the directory, which is the commit, and what goes with it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from paglets.core.events import DisposalEvent
from paglets.core.lifecycle import LifecycleEvent
from paglets.directory.contract import Guard, PagletRow
from paglets.errors import ConflictError, DeadlineError, PagletError, Resource
from paglets.faults import point
from paglets.host.cloning import withdraw_clone
from paglets.host.disposal import Disposal
from paglets.host.dormant import Dormant
from paglets.host.gate import moved, not_found
from paglets.host.journey import Journey
from paglets.host.parts import HostParts
from paglets.host.remains import drop_ended, drop_kept
from paglets.host.resident import Resident
from paglets.host.residents import Residents
from paglets.host.settle import settle_write, until_reached
from paglets.host.tasks import Tasks
from paglets.values import PagletState

__all__ = ["DISPOSAL_POINTS", "Endings"]

_log = logging.getLogger(__name__)

DISPOSAL_POINTS = ("dispose.directory.before", "dispose.directory.after", "dispose.journal.after")
"""The named points of a disposal."""


class Endings:
    """Ends the paglets of one host. `tasks` owns what outlives its caller.

    `find` looks for one that is awake here, `journey` for the journey of one that leaves, or of a clone that is made.
    """

    def __init__(
        self,
        parts: HostParts,
        residents: Residents,
        dormant: Dormant,
        tasks: Tasks,
        find: Callable[[str], Awaitable[Resident | None]],
        journey: Callable[[str], Journey | None],
    ) -> None:
        self._parts = parts
        self._residents = residents
        self._dormant = dormant
        self._tasks = tasks
        self._find = find
        self._journey = journey

    async def end(self, row: PagletRow, disposal: Disposal, timeout_s: float | None = None) -> None:
        """Ends a paglet of this host, whatever it is doing and whatever becomes of the caller, who waits `timeout_s`.

        The tombstone in the directory is the commit; what goes with the paglet is deleted on every host thereafter.
        Raises PAGLET_MOVED when it has just left, DEADLINE_EXCEEDED.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await self._tasks.shielded(self._end(row, disposal))
        except TimeoutError as error:
            raise DeadlineError(
                "DEADLINE_EXCEEDED",
                f"the deadline passed before paglet {row.paglet_id} had ended; its disposal goes on, and gives what"
                f" hangs {self._parts.settings.quiesce_s:g} s",
                resource=Resource("paglet", row.paglet_id),
            ) from error

    async def _end(self, row: PagletRow, disposal: Disposal) -> None:
        if row.state is PagletState.CLONING:
            row = await self._end_clone(row, disposal)
        else:
            row = await self._end_paglet(row.paglet_id, disposal)
        point("dispose.directory.after")
        await self.delete_with_owner(row.paglet_id)
        await drop_kept(self._parts, row.paglet_id, row.epoch, tombstone_epoch=row.epoch)
        point("dispose.journal.after")

    async def _end_clone(self, row: PagletRow, disposal: Disposal) -> PagletRow:
        """Ends a clone on its way. Its journey, if it is under way, stops first: what it brings would be left behind.

        Raises PAGLET_MOVED when it was committed all the same.
        """
        journey = self._journey(row.paglet_id)
        if journey is not None:
            journey.disposal = journey.disposal or disposal
            journey.patience.cut(self._parts.settings.quiesce_s)
            await journey.decided()
        try:
            return await withdraw_clone(self._parts, row, disposal)
        except ConflictError as fenced:
            raise moved(row.paglet_id) from fenced

    async def _end_paglet(self, paglet_id: str, disposal: Disposal) -> PagletRow:
        resident = await self._find(paglet_id)
        if resident is None:
            async with self._dormant.lock(paglet_id):
                resident = self._residents.get(paglet_id)  # it may have been woken meanwhile
                if resident is None:
                    return await self._end_sleeping(paglet_id, disposal)
        return await self._end_resident(resident, disposal)

    async def _end_sleeping(self, paglet_id: str, disposal: Disposal) -> PagletRow:
        """Ends a paglet that cannot be told: an inactive one, or one that cannot be read."""
        row = await self._parts.directory.get(paglet_id)
        if row is None or row.state is PagletState.DISPOSED:
            raise not_found(paglet_id)
        self._dormant.doubt(paglet_id)  # until it is known how this ends
        await self._entomb(row, disposal)
        self._dormant.remove(paglet_id)
        return row

    async def _end_resident(self, resident: Resident, disposal: Disposal) -> PagletRow:
        quiesce_s, journey = self._parts.settings.quiesce_s, self._journey(resident.paglet_id)
        resident.hasten(quiesce_s)
        if journey is not None:
            journey.patience.cut(quiesce_s)
        async with resident.life:
            if self._residents.get(resident.paglet_id) is not resident:
                raise moved(resident.paglet_id)
            await self._last_turn(resident)
            resident.runner.fence(closed=True)
            try:
                await self._entomb(resident.row, disposal)
            except ConflictError:  # its end had no answer, and the id was used since
                self._residents.remove(resident)
                resident.leave(not_found(resident.paglet_id))
                await self._drop_used(resident.paglet_id)
                raise
            except BaseException:
                resident.runner.fence(closed=False)
                resident.open()
                raise
            self._residents.remove(resident)
            resident.leave(not_found(resident.paglet_id))
            return resident.row

    async def _drop_used(self, paglet_id: str) -> None:
        """Drops what is kept here of a paglet whose id is another's by now."""
        row = await until_reached(lambda: self._parts.directory.get(paglet_id))
        if row is not None:  # a directory that has lost its rows says nothing
            await drop_ended(self._parts, row)

    async def _entomb(self, row: PagletRow, disposal: Disposal) -> None:
        if row.owner != self._parts.name or row.intent is not None:
            raise moved(row.paglet_id)
        wanted = disposal.tombstone(row)
        async with self._parts.work.leaving(row.paglet_id):
            point("dispose.directory.before")
            await settle_write(self._parts.directory, Guard.on(row), wanted, cause=LifecycleEvent.DISPOSE)

    async def delete_with_owner(self, paglet_id: str) -> None:
        """Deletes what goes with a paglet that is gone, and nothing of a later one of the same id.

        Whatever a later one has here was committed after its row was inserted, so after this look at the clock.
        """
        before = time.time()
        row = await self._parts.directory.get(paglet_id)
        if row is None or row.state is PagletState.DISPOSED:
            await self._parts.store.delete_owner(paglet_id, created_until=before)

    async def _last_turn(self, resident: Resident) -> None:
        """Quiets a paglet that is to end. What does not end in time is fenced: it commits nothing any more."""
        quiesce_s, event = self._parts.settings.quiesce_s, DisposalEvent(self._parts.name)
        try:
            await resident.quiet(quiesce_s)
            await self._tasks.at_most(resident.activities.hook(resident.paglet.on_disposing, event), quiesce_s)
        except (PagletError, TimeoutError) as error:
            _log.error("the last turn of paglet %s failed, it ends all the same: %s", resident.paglet_id, error)
        try:
            await self._tasks.at_most(resident.clean_up(), quiesce_s)
        except (PagletError, TimeoutError) as error:
            _log.error("paglet %s leaves something open: %r", resident.paglet_id, error)
