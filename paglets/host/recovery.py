"""What a host does with its paglets when it is started again: it reads the directory first and never guesses.

One whose row bears an intent stays frozen until its journey is decided; `comeback.py` brings back the others.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial

from paglets.core.lifecycle import LifecycleEvent
from paglets.directory.contract import Guard, PagletRow
from paglets.errors import ConflictError
from paglets.host.arrival import Arrivals
from paglets.host.clones import Clones
from paglets.host.comeback import Comeback
from paglets.host.departure import Departures
from paglets.host.dormant import Dormant
from paglets.host.given_up import cut_journey, resume
from paglets.host.parts import HostParts
from paglets.host.records import Departure, StoredPaglet
from paglets.host.remains import drop_ended, drop_kept, is_another
from paglets.host.residents import Residents
from paglets.host.settle import settle_write, until_reached
from paglets.host.tasks import Tasks
from paglets.values import PagletState

__all__ = ["Recovery"]

_log = logging.getLogger(__name__)
_PAGE = 1000


class Recovery:
    """One restart of one host. `tasks` owns the first turns, for which the host does not wait."""

    def __init__(
        self,
        parts: HostParts,
        residents: Residents,
        *,
        departures: Departures,
        clones: Clones,
        arrivals: Arrivals,
        comeback: Comeback,
        dormant: Dormant,
        tasks: Tasks,
    ) -> None:
        self._comeback = comeback
        self._dormant = dormant
        self._tasks = tasks
        self._parts = parts
        self._residents = residents
        self._departures = departures
        self._clones = clones
        self._arrivals = arrivals

    async def run(self) -> None:
        """Finds every paglet that is this host's, takes up cut journeys, and lets go of what no longer is here."""
        rows = {row.paglet_id: row for row in await self._owned()}
        journeys = await self._parts.journal.departures()
        departures = [found for found in journeys if not found.clone_of]
        await self._dormant.recover(awake=rows)
        lost = await self._lost(rows)
        await self._parts.work.recover(lambda found: found in rows or found in self._dormant or found in lost)
        settled = [row for row in rows.values() if row.intent is None and row.state is not PagletState.ARRIVING]
        cut = {found.paglet_id: found for found in departures if await self._was_cut(found)}
        for row in await self._comeback.raise_rows([row for row in settled if row.paglet_id in cut]):
            await self._go_on(row, cut[row.paglet_id])
        self._comeback.expect(row for row in settled if row.paglet_id not in cut)
        for departure in departures:
            await self._take_up(departure)
        for clone in journeys:
            if clone.clone_of:
                await self._clones.recover(clone)
        await self._let_go({*rows, *(found.paglet_id for found in departures)})
        await self._arrivals.recover()

    async def _lost(self, rows: Collection[str]) -> set[str]:
        """Paglets that the journal has and the directory has never heard of: nothing of them is dropped."""
        kept = await self._parts.journal.paglet_ids()
        others = [found for found in kept if found not in rows and found not in self._dormant]
        return {found for found in others if await self._is_lost(found)}

    async def _is_lost(self, paglet_id: str) -> bool:
        row = await until_reached(partial(self._parts.directory.get, paglet_id))
        stored = await self._parts.journal.paglet(paglet_id)
        return row is None or (stored is not None and is_another(row, stored, self._parts.name))

    async def _was_cut(self, departure: Departure) -> bool:
        """Whether a journey has brought its paglet nowhere; one that is kept with a later epoch came back from it."""
        stored = await self._parts.journal.paglet(departure.paglet_id)
        return stored is not None and stored.epoch == departure.epoch and not await self._is_committed(departure)

    async def _is_committed(self, departure: Departure) -> bool:
        """Whether a journey brought its paglet away, and was not yet forgotten."""
        return await until_reached(partial(self._parts.directory.journey, departure.transfer_id)) is not None

    async def _owned(self) -> list[PagletRow]:
        """The rows of this host, but for those of inactive paglets: they may be many, and there is nothing to do."""
        rows: list[PagletRow] = []
        while True:
            page = await until_reached(partial(self._page, rows[-1].paglet_id if rows else ""))
            rows.extend(page)
            if len(page) < _PAGE:
                return rows

    async def _page(self, after: str) -> Sequence[PagletRow]:
        return await self._parts.directory.list(after=after, owner=self._parts.name, awake=True, limit=_PAGE)

    async def _go_on(self, row: PagletRow, departure: Departure) -> None:
        """Loads a paglet whose journey ended meanwhile, and has brought it nowhere; it is told first."""
        resident = await self._comeback.load(row)
        if resident is None:
            return
        self._residents.add(resident)
        await self._parts.journal.end_departure(departure, left=False, epoch=row.epoch)
        begun = asyncio.Event()

        async def told() -> None:
            async with resident.life:
                begun.set()
                await resume(self._parts, resident, cut_journey(departure))

        self._tasks.start(told())
        await begun.wait()

    async def _take_up(self, departure: Departure) -> None:
        """A journey that the restart cut. Its row is read anew: a write of the life before may have come only now."""
        row = await until_reached(partial(self._parts.directory.get, departure.paglet_id))
        intent = row.intent if row is not None else None
        if row is not None and intent is not None and intent.transfer_id == departure.transfer_id:
            resident = await self._comeback.load(row)
            if resident is not None:
                self._residents.add(resident)
                self._departures.recover(departure, resident)
            else:
                await self._parts.journal.end_departure(departure, left=False)
        elif await self._is_committed(departure):
            self._departures.recover(departure, None)
        elif row is None:
            _log.warning("paglet %s was on a journey that the directory does not know; it is kept", departure.paglet_id)
        else:
            left = row.state is _GONE or row.owner != self._parts.name
            await self._parts.journal.end_departure(departure, left=left)

    async def _let_go(self, known: set[str]) -> None:
        """Drops what the journal keeps of paglets that the directory says are gone, or somebody else's.

        One that the directory has never heard of is dropped only if it was never confirmed: its creation was cut.
        """
        for paglet_id in await self._parts.journal.paglet_ids():
            if paglet_id not in known and paglet_id not in self._dormant:
                await self._let_one_go(paglet_id)

    async def _let_one_go(self, paglet_id: str) -> None:
        row = await until_reached(partial(self._parts.directory.get, paglet_id))
        stored = await self._parts.journal.paglet(paglet_id)
        if stored is None:
            return
        if row is not None and row.owner == self._parts.name and row.state is not _GONE:
            self._comeback.expect([row])  # a write of the life before has come only now
        elif row is None and stored.epoch > 0:
            _log.warning("paglet %s is in the journal, but the directory does not know it; it is kept", paglet_id)
        elif row is not None and stored.epoch > 0:
            await drop_ended(self._parts, row)
        elif (row is not None and row.state is not _GONE) or await self._is_buried(stored, row):
            await drop_kept(self._parts, paglet_id, stored.epoch)
        else:
            await self._let_one_go(paglet_id)

    async def _is_buried(self, newborn: StoredPaglet, row: PagletRow | None) -> bool:
        """Sees to it that a creation that was cut never comes true; False when it just has.

        Its insert may be under way still, and would bring a paglet to life of which nothing is kept.
        """
        gone = PagletRow(paglet_id=newborn.paglet_id, type=newborn.type, owner=self._parts.name, state=_GONE)
        tombstone = gone if row is None else replace(row, epoch=0)
        try:
            guard = Guard.after(newborn.paglet_id, row)
            await settle_write(self._parts.directory, guard, tombstone, cause=LifecycleEvent.DISPOSE)
        except ConflictError:
            return False
        return True


_GONE = PagletState.DISPOSED
