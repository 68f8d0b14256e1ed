"""The end of a paglet: its last turn, the tombstone in the directory, which is the commit, and what goes with it."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

from paglets.core.events import DisposalEvent
from paglets.core.lifecycle import LifecycleEvent, next_state
from paglets.directory.contract import Guard, PagletRow
from paglets.errors import ConflictError, PagletError
from paglets.faults import point
from paglets.host.dormant import Dormant
from paglets.host.gate import moved, not_found
from paglets.host.parts import HostParts
from paglets.host.resident import Resident
from paglets.host.residents import Residents
from paglets.host.settle import settle_write
from paglets.host.tasks import Tasks
from paglets.values import PagletState

__all__ = ["DISPOSAL_POINTS", "Endings"]

_log = logging.getLogger(__name__)

DISPOSAL_POINTS = ("dispose.directory.before", "dispose.directory.after", "dispose.journal.after")
"""The named points of a disposal."""


class Endings:
    """Ends the paglets of one host. `find` looks for one that is awake here; `tasks` owns what outlives its caller."""

    def __init__(
        self,
        parts: HostParts,
        residents: Residents,
        dormant: Dormant,
        tasks: Tasks,
        find: Callable[[str], Awaitable[Resident | None]],
    ) -> None:
        self._parts = parts
        self._residents = residents
        self._dormant = dormant
        self._tasks = tasks
        self._find = find

    async def end(self, row: PagletRow, request_id: str, fingerprint: bytes) -> None:
        """Ends a paglet of this host, whatever it is doing and whatever becomes of the caller.

        The tombstone in the directory is the commit; what goes with the paglet is deleted on every host thereafter.
        Raises PAGLET_MOVED when it has just left.
        """
        await self._tasks.shielded(self._end(row, request_id, fingerprint))

    async def _end(self, row: PagletRow, request_id: str, fingerprint: bytes) -> None:
        resident = await self._find(row.paglet_id)
        if resident is None:
            async with self._dormant.lock(row.paglet_id):
                resident = self._residents.get(row.paglet_id)  # it may have been woken meanwhile
                if resident is None:
                    row = await self._end_sleeping(row.paglet_id, request_id, fingerprint)
        if resident is not None:
            row = await self._end_resident(resident, request_id, fingerprint)
        point("dispose.directory.after")
        await self._parts.journal.forget_paglet(row.paglet_id, row.epoch, tombstone_epoch=row.epoch)
        point("dispose.journal.after")
        await self.delete_with_owner(row.paglet_id)

    async def _end_sleeping(self, paglet_id: str, request_id: str, fingerprint: bytes) -> PagletRow:
        """Ends a paglet that cannot be told: an inactive one, or one that cannot be read."""
        row = await self._parts.directory.get(paglet_id)
        if row is None or row.state is PagletState.DISPOSED:
            raise not_found(paglet_id)
        await self._entomb(row, request_id, fingerprint)
        self._dormant.remove(paglet_id)
        return row

    async def _end_resident(self, resident: Resident, request_id: str, fingerprint: bytes) -> PagletRow:
        resident.hasten(self._parts.settings.quiesce_s)
        async with resident.life:
            if self._residents.get(resident.paglet_id) is not resident:
                raise moved(resident.paglet_id)
            await self._last_turn(resident)
            resident.runner.fence(closed=True)
            try:
                await self._entomb(resident.row, request_id, fingerprint)
            except ConflictError:  # its end had no answer, and the id was used since
                self._residents.remove(resident)
                resident.leave(not_found(resident.paglet_id))
                raise
            except BaseException:
                resident.runner.fence(closed=False)
                resident.open()
                raise
            self._residents.remove(resident)
            resident.leave(not_found(resident.paglet_id))
            return resident.row

    async def _entomb(self, row: PagletRow, request_id: str, fingerprint: bytes) -> None:
        if row.owner != self._parts.name or row.intent is not None:
            raise moved(row.paglet_id)
        state = next_state(row.paglet_id, row.state, LifecycleEvent.DISPOSE)
        wanted = replace(
            row,
            state=state,
            request_id=request_id,
            earlier_request_id=row.request_id,
            fingerprint=fingerprint,
            error="",
        )
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
