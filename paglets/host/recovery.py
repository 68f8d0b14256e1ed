"""What a host does with its paglets when it is started again: it reads the directory first and never guesses.

A paglet is served again only after its epoch was raised: nothing of the life before can be mistaken for its own.
One whose row bears an intent stays frozen until its journey is decided.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from paglets.core.lifecycle import LifecycleEvent, next_state
from paglets.directory.contract import Guard, PagletRow, RowWrite
from paglets.errors import ConflictError, PagletError, PreconditionError
from paglets.faults import point
from paglets.host.arrival import Arrivals
from paglets.host.departure import Departures
from paglets.host.given_up import cut_journey, resume
from paglets.host.parts import HostParts
from paglets.host.records import Departure
from paglets.host.resident import Resident
from paglets.host.residents import Residents
from paglets.host.settle import until_reached
from paglets.host.tasks import Tasks
from paglets.values import PagletState

__all__ = ["RECOVERY_POINTS", "Recovery"]

_log = logging.getLogger(__name__)
_BATCH = 200
_PAGE = 1000

RECOVERY_POINTS = ("recovery.raise.before", "recovery.raise.after")
"""The named points of a restart."""


class Recovery:
    """One restart of one host. `tasks` owns the first turns, for which the host does not wait."""

    def __init__(
        self, parts: HostParts, residents: Residents, departures: Departures, arrivals: Arrivals, tasks: Tasks
    ) -> None:
        self._tasks = tasks
        self._parts = parts
        self._residents = residents
        self._departures = departures
        self._arrivals = arrivals

    async def run(self) -> None:
        """Brings back every paglet that is this host's, and lets go of what no longer is."""
        rows = {row.paglet_id: row for row in await self._owned()}
        departures = await self._parts.journal.departures()
        settled = [row for row in rows.values() if row.intent is None and row.state is not PagletState.ARRIVING]
        raised = await self._raise_epochs(settled)
        await self._parts.journal.set_epochs((row.paglet_id, row.epoch) for row in raised)
        cut = {found.paglet_id: found for found in departures if not await self._is_committed(found)}
        for row in raised:
            await self._bring_back(row, cut.get(row.paglet_id))
        for departure in departures:
            await self._take_up(departure)
        await self._let_go({*rows, *(found.paglet_id for found in departures)})
        await self._arrivals.recover()

    async def _is_committed(self, departure: Departure) -> bool:
        """Whether a journey brought its paglet away, and was not yet forgotten."""
        return await until_reached(partial(self._parts.directory.journey, departure.transfer_id)) is not None

    async def _owned(self) -> list[PagletRow]:
        """All rows of this host."""
        rows: list[PagletRow] = []
        while True:
            page = await until_reached(partial(self._page, rows[-1].paglet_id if rows else ""))
            rows.extend(page)
            if len(page) < _PAGE:
                return rows

    async def _page(self, after: str) -> Sequence[PagletRow]:
        return await self._parts.directory.list(after=after, owner=self._parts.name, limit=_PAGE)

    async def _raise_epochs(self, rows: Sequence[PagletRow]) -> list[PagletRow]:
        raised: list[PagletRow] = []
        for start in range(0, len(rows), _BATCH):
            raised.extend(await self._raise_batch(rows[start : start + _BATCH]))
        return raised

    async def _raise_batch(self, rows: Sequence[PagletRow]) -> list[PagletRow]:
        """Raises the epochs of rows together; one by one when one of them is no longer as it was read."""

        async def attempt() -> list[PagletRow]:
            current = [await self._parts.directory.get(row.paglet_id) for row in rows] if again else rows
            mine = [row for row in current if row is not None and row.owner == self._parts.name and not row.intent]
            again.append(True)
            return list(await self._parts.directory.apply([_raise(row) for row in mine]))

        again: list[bool] = []
        point("recovery.raise.before")
        try:
            raised = await until_reached(attempt)
        except ConflictError:
            if len(rows) == 1:
                return []
            raised = [row for one in rows for row in await self._raise_batch([one])]
        point("recovery.raise.after")
        return raised

    async def _bring_back(self, row: PagletRow, departure: Departure | None) -> None:
        """Loads a paglet that is this host's alone; a journey that ended meanwhile has brought it nowhere."""
        resident = await self._load(row)
        if resident is None:
            return
        self._residents.add(resident)
        if departure is not None:
            await self._parts.journal.end_departure(departure, left=False)
        begun = asyncio.Event()
        self._tasks.start(self._begin(resident, departure, begun))
        await begun.wait()

    async def _begin(self, resident: Resident, departure: Departure | None, begun: asyncio.Event) -> None:
        """The first turn after the restart; until it has ended nobody else has anything to do with the paglet."""
        async with resident.life:
            begun.set()
            if departure is not None:
                await resume(resident, cut_journey(departure))
                return
            await resident.activate(self._parts.settings.quiesce_s)
            resident.open()

    async def _load(self, row: PagletRow) -> Resident | None:
        """The paglet as the journal keeps it; None when it cannot be read: it is then quarantined, its bytes kept."""
        try:
            stored = await self._parts.journal.paglet(row.paglet_id)
            if stored is None:
                raise PreconditionError("STATE_UNREADABLE", f"the journal of {self._parts.name} has no state for it")
            return await self._residents.load(row, stored)
        except PagletError as error:
            await self._quarantine(row, error)
            return None

    async def _quarantine(self, row: PagletRow, error: PagletError) -> None:
        _log.error("paglet %s cannot be read and is quarantined: %s", row.paglet_id, error)
        state = next_state(row.paglet_id, row.state, LifecycleEvent.QUARANTINE)
        epoch = row.epoch + (row.intent is not None)  # taking an intent back raises the epoch
        write = RowWrite(Guard.on(row), replace(row, state=state, intent=None, epoch=epoch, error=error.message))
        await until_reached(lambda: self._parts.directory.apply([write]))

    async def _take_up(self, departure: Departure) -> None:
        """A journey that the restart cut. Its row is read anew: a write of the life before may have come only now."""
        row = await until_reached(partial(self._parts.directory.get, departure.paglet_id))
        intent = row.intent if row is not None else None
        if row is not None and intent is not None and intent.transfer_id == departure.transfer_id:
            resident = await self._load(row)
            if resident is not None:
                self._residents.add(resident)
                self._departures.recover(departure, resident)
            else:
                await self._parts.journal.end_departure(departure, left=False)
        elif await self._is_committed(departure):
            self._departures.recover(departure, None)
        else:
            left = row is None or row.state is _GONE or row.owner != self._parts.name
            await self._parts.journal.end_departure(departure, left=left)

    async def _let_go(self, known: set[str]) -> None:
        """Drops what the journal keeps of paglets that the directory says are gone, or somebody else's.

        One that the directory has never heard of is dropped only if it was never confirmed: its creation was cut.
        """
        for paglet_id in await self._parts.journal.paglet_ids():
            if paglet_id in known:
                continue
            row = await until_reached(partial(self._parts.directory.get, paglet_id))
            stored = await self._parts.journal.paglet(paglet_id)
            if stored is None or (row is not None and row.owner == self._parts.name and row.state is not _GONE):
                continue
            if row is not None or stored.epoch == 0:
                await self._parts.journal.forget_paglet(paglet_id, stored.epoch)
            else:
                _log.warning("paglet %s is in the journal, but the directory does not know it; it is kept", paglet_id)


_GONE = PagletState.DISPOSED


def _raise(row: PagletRow) -> RowWrite:
    """The write that raises a row's epoch; a quarantined paglet is tried again."""
    state = next_state(row.paglet_id, row.state, LifecycleEvent.RESUME)
    error = row.error if state is PagletState.FAILED else ""
    return RowWrite(Guard.on(row), replace(row, state=state, epoch=row.epoch + 1, error=error))
