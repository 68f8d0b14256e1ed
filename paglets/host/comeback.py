"""The active paglets that a restart finds: each comes back when somebody asks for it, the rest a batch after another.

A paglet is served again only after its epoch was raised: nothing of the life before can be mistaken for its own. One
whose rest was cut is not served: the rest is finished, since what asked for it is kept as done.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace

from paglets.core.lifecycle import TRANSITIONS, LifecycleEvent, next_state
from paglets.directory.contract import Guard, PagletRow, RowWrite
from paglets.errors import ConflictError, PagletError
from paglets.faults import point
from paglets.host.dormant import Dormant
from paglets.host.parts import HostParts
from paglets.host.resident import Resident
from paglets.host.residents import Residents
from paglets.host.runner import attempt
from paglets.host.settle import until_reached
from paglets.host.tasks import Tasks
from paglets.values import PagletState
from paglets.wire.status import to_status

__all__ = ["COMEBACK_POINTS", "Comeback"]

_log = logging.getLogger(__name__)
_BATCH = 200
_ACTIVE = PagletState.ACTIVE

COMEBACK_POINTS = ("recovery.raise.before", "recovery.raise.after")
"""The named points of a restart."""


class Comeback:
    """The paglets of one host that are to come back after a restart. `tasks` owns what outlives its caller."""

    def __init__(self, parts: HostParts, residents: Residents, dormant: Dormant, tasks: Tasks) -> None:
        self._parts = parts
        self._residents = residents
        self._dormant = dormant
        self._tasks = tasks
        self._waiting: dict[str, PagletRow] = {}
        self._coming: dict[str, asyncio.Future[None]] = {}

    def expect(self, rows: Iterable[PagletRow]) -> None:
        """Paglets that are this host's alone, as the directory says, and are not loaded yet."""
        self._waiting.update((row.paglet_id, row) for row in rows)

    def knows(self, paglet_id: str) -> bool:
        """Whether the paglet is to come back, or is coming now."""
        return paglet_id in self._waiting or paglet_id in self._coming

    async def resident(self, paglet_id: str) -> Resident | None:
        """The paglet, if it comes back; who waits for it has it before the others."""
        rows = self._take([paglet_id])
        if rows:
            self._tasks.start(self._bring(rows))
        coming = self._coming.get(paglet_id)
        if coming is not None:
            await asyncio.wait([coming])
        return self._residents.get(paglet_id)

    async def run(self) -> None:
        """Brings all of them back. One that fails for reasons of the host's own waits for somebody to ask for it."""
        expected = list(self._waiting)
        for start in range(0, len(expected), _BATCH):
            await self._bring(self._take(expected[start : start + _BATCH]))

    def _take(self, paglet_ids: Iterable[str]) -> list[PagletRow]:
        """The rows of those that wait still; from now on they are coming."""
        rows = [row for row in (self._waiting.pop(found, None) for found in paglet_ids) if row is not None]
        loop = asyncio.get_running_loop()
        self._coming.update((row.paglet_id, loop.create_future()) for row in rows)
        return rows

    async def _bring(self, rows: Sequence[PagletRow]) -> None:
        try:
            for row in await self.raise_epochs(rows):
                try:
                    await attempt(self.begin(row), f"the return of paglet {row.paglet_id}")
                except PagletError as error:
                    _log.error("paglet %s has not come back yet: %s", row.paglet_id, error)
                    self._waiting[row.paglet_id] = row
                self._came(row.paglet_id)
        finally:
            for row in rows:
                self._came(row.paglet_id)

    def _came(self, paglet_id: str) -> None:
        coming = self._coming.pop(paglet_id, None)
        if coming is not None:
            coming.set_result(None)

    async def raise_epochs(self, rows: Sequence[PagletRow]) -> Sequence[PagletRow]:
        """Raises the epochs of rows, durable here and in the directory; those that are no longer here are left out.

        So are those that rest: one that was cut between journal and directory is finished here, or came true late.
        What was to end the rest of the others is forgotten only when their epochs are raised.
        """
        raised = await self.raise_rows(rows)
        if raised:
            await self._parts.journal.dormant.awake((row.paglet_id, row.epoch) for row in raised)
        return raised

    async def raise_rows(self, rows: Sequence[PagletRow]) -> list[PagletRow]:
        """As `raise_epochs`, but in the directory alone: the journal is for the caller to write.

        Together; one by one, and read anew, when one of them is no longer as it was read. Nobody but a late write of
        the life before changes them, so it ends.
        """
        if not rows:
            return []

        async def attempt() -> list[PagletRow]:
            current = [await self._parts.directory.get(row.paglet_id) for row in rows] if again else rows
            mine = [row for row in current if row is not None and self._is_mine(row)]
            again.append(True)
            awake = [row for row in mine if _comes_back(row)]
            cut = {row.paglet_id for row in awake if row.state is _ACTIVE and begun.get(row.paglet_id) == row.epoch}
            writes = [_laid_down(row) if row.paglet_id in cut else _raised(row) for row in awake]
            written = await self._parts.directory.apply(writes)
            return [*written, *(row for row in mine if row.state is PagletState.INACTIVE)]

        begun = await self._parts.journal.dormant.begun([row.paglet_id for row in rows])
        again: list[bool] = []
        point("recovery.raise.before")
        raised: list[PagletRow] | None = None
        while raised is None:
            try:
                raised = await until_reached(attempt)
            except ConflictError:
                if len(rows) > 1:
                    return [row for one in rows for row in await self.raise_rows([one])]
        point("recovery.raise.after")
        for row in raised:
            if row.state is PagletState.INACTIVE:  # its policy stays
                self._dormant.find(row.paglet_id)
        return [row for row in raised if row.state is not PagletState.INACTIVE]

    def _is_mine(self, row: PagletRow) -> bool:
        """Whether a row is this host's alone still."""
        return row.owner == self._parts.name and row.intent is None

    async def begin(self, row: PagletRow) -> None:
        """Loads a paglet and begins its first turn, for which nobody waits but who has to do with the paglet."""
        resident = await self.load(row)
        if resident is None:
            return
        self._residents.add(resident)
        begun = asyncio.Event()

        async def first_turn() -> None:
            async with resident.life:
                begun.set()
                await resident.activate(self._parts.settings.quiesce_s)
                resident.open()

        self._tasks.start(first_turn())
        await begun.wait()

    async def load(self, row: PagletRow) -> Resident | None:
        """The paglet as the journal keeps it; None when it cannot be read: it is then quarantined, its bytes kept."""
        try:
            return await self._residents.load(row)
        except PagletError as error:
            await self._quarantine(row, error)
            return None

    async def _quarantine(self, row: PagletRow, error: PagletError) -> None:
        _log.error("paglet %s cannot be read and is quarantined: %s", row.paglet_id, error)
        state = next_state(row.paglet_id, row.state, LifecycleEvent.QUARANTINE)
        epoch = row.epoch + (row.intent is not None)  # taking an intent back raises the epoch
        wanted = replace(row, state=state, intent=None, epoch=epoch, error=to_status(error).message)
        write = RowWrite(Guard.on(row), wanted, LifecycleEvent.QUARANTINE)
        await until_reached(lambda: self._parts.directory.apply([write]))


def _comes_back(row: PagletRow) -> bool:
    """Whether a paglet is to be awake; one that a late write has laid down or ended is not."""
    return (row.state, LifecycleEvent.RESUME) in TRANSITIONS


def _laid_down(row: PagletRow) -> RowWrite:
    """The write that a rest was about when it was cut."""
    state = next_state(row.paglet_id, row.state, LifecycleEvent.DEACTIVATE)
    return RowWrite(Guard.on(row), replace(row, state=state, epoch=row.epoch + 1), LifecycleEvent.DEACTIVATE)


def _raised(row: PagletRow) -> RowWrite:
    """The write that raises a row's epoch; a quarantined paglet is tried again."""
    state = next_state(row.paglet_id, row.state, LifecycleEvent.RESUME)
    error = row.error if state is PagletState.FAILED else ""
    return RowWrite(Guard.on(row), replace(row, state=state, epoch=row.epoch + 1, error=error), LifecycleEvent.RESUME)
