"""What is done with a paglet as a whole by request: it is moved, cloned, laid down, or what it asks to be done itself.

Journeys, clones, rests and ends go on to their end without whoever asked for them; a request that comes again joins.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from paglets.core.turn import OwnAction, OwnRequest
from paglets.directory.contract import PagletRow
from paglets.errors import DeadlineError, PagletError, UnavailableError
from paglets.host.arrival import Arrivals
from paglets.host.clones import CloneRequest, Clones
from paglets.host.departure import Departures, MoveRequest
from paglets.host.disposal import Disposal
from paglets.host.dormant import Dormant
from paglets.host.ending import Endings
from paglets.host.gate import moved
from paglets.host.given_up import drop_request, refuse
from paglets.host.journey import Journey
from paglets.host.parts import HostParts
from paglets.host.replies import ReplyBook
from paglets.host.resident import Resident
from paglets.host.residents import Residents
from paglets.host.rest import RestRequest, Rests
from paglets.values import TransferTicket
from paglets.wire.status import from_status_bytes

__all__ = ["Finder", "Requests"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Finder:
    """How a host finds its paglets: awake ones, ones to be brought back, and rows of living ones."""

    resident: Callable[[str], Awaitable[Resident | None]]
    activated: Callable[[str], Awaitable[Resident | None]]
    row: Callable[[str], Awaitable[PagletRow]]


class Requests:
    """The requests about paglets of one host. Each answers None for a paglet that is elsewhere."""

    def __init__(
        self,
        parts: HostParts,
        residents: Residents,
        find: Finder,
        *,
        arrivals: Arrivals,
        departures: Departures,
        clones: Clones,
        dormant: Dormant,
        rests: Rests,
        endings: Endings,
    ) -> None:
        self._parts = parts
        self._residents = residents
        self._find = find
        self._arrivals = arrivals
        self._departures = departures
        self._clones = clones
        self._dormant = dormant
        self._rests = rests
        self._endings = endings

    async def deactivate(self, paglet_id: str, request: RestRequest) -> PagletRow | None:
        """Lays a paglet of this host down; None for one that is elsewhere. Raises as `Rests` does."""
        if await self._dormant.holds(paglet_id):
            return await self._rests.rearrange(await self._find.row(paglet_id), request)
        resident = await self._find.resident(paglet_id)
        return None if resident is None else await self._rests.rest(resident, request)

    async def activate(self, paglet_id: str) -> PagletRow | None:
        """Brings a paglet of this host back, or tries a FAILED one again; None for one that is elsewhere."""
        resident = await self._find.activated(paglet_id)
        return None if resident is None else await self._dormant.retry(resident)

    async def dispatch(self, paglet_id: str, request: MoveRequest, timeout_s: float) -> PagletRow | None:
        """Moves a paglet of this host; returns its row when the arrival turn has ended, or at the deadline.

        The row may be DISPOSED: a paglet can end where it has arrived. None for one that is elsewhere; an inactive one
        is brought back first. The journey goes on regardless of the caller. Raises why it was given up, or
        ARRIVAL_FAILED.
        """
        if await self._dormant.holds(paglet_id):  # perhaps by this very move
            book = self._residents.book(paglet_id, await self._parts.journal.replies(paglet_id))
            if _was_made(book, request):
                return await self._find.row(paglet_id)
        resident = await self._find.activated(paglet_id)
        if resident is None:
            return None
        resident = await self._landed(resident)
        if _was_made(resident.book, request):
            return await self._find.row(paglet_id)
        await self._arrived(self._departures.start(resident, request), timeout_s)
        return await self._come_to(paglet_id)

    async def _arrived(self, journey: Journey, timeout_s: float | None) -> None:
        """Waits for the end of a journey; until the deadline for its commit only. Raises why there is none."""
        try:
            async with asyncio.timeout(timeout_s):
                outcome = await asyncio.shield(journey.ended)
        except TimeoutError as error:
            if journey.committed.is_set():
                return
            raise DeadlineError(
                "DEADLINE_EXCEEDED", "the deadline passed; the journey goes on, ask again with the same request id"
            ) from error
        if outcome.error is not None:
            raise outcome.error

    async def retract(self, paglet_id: str, request: MoveRequest, timeout_s: float) -> PagletRow | None:
        """As `dispatch`; of a paglet that is here, and is to be here, it changes nothing.

        One that is leaving is awaited first: it stays, or is fetched back from where it has come to.
        """
        if request.target != self._parts.name:
            return await self.dispatch(paglet_id, request, timeout_s)
        if await self._dormant.holds(paglet_id):
            return await self._find.row(paglet_id)
        resident = await self._find.resident(paglet_id)
        if resident is None:
            return None
        resident = await self._landed(resident)
        if not _was_made(resident.book, request) and (leaving := self._departures.journey(paglet_id)) is not None:
            await asyncio.wait([leaving.ended], timeout=timeout_s)
            if not leaving.ended.done():
                raise DeadlineError("DEADLINE_EXCEEDED", "the deadline passed; the paglet is leaving, ask again")
            resident = await self._find.resident(paglet_id)
        return None if resident is None else await self._find.row(paglet_id)

    async def clone(self, paglet_id: str, request: CloneRequest, timeout_s: float) -> PagletRow | None:
        """Makes a clone of a paglet of this host; the clone's row when its first turn has ended, or at the deadline.

        None for a paglet that is elsewhere; an inactive one is brought back first. The clone comes to be regardless of
        the caller. Raises as `Clones.start`, and why there is no clone.
        """
        resident = await self._find.activated(paglet_id)
        if resident is None:
            return None
        resident = await self._landed(resident)
        _was_made(resident.book, request)
        started = await self._clones.start(resident, request)
        if isinstance(started, PagletRow):
            return started
        await self._arrived(started, timeout_s)
        return await self._come_to(started.departure.paglet_id)

    async def _come_to(self, paglet_id: str) -> PagletRow:
        """The row after a journey that was made; DISPOSED for a paglet that has ended since, which is no failure."""
        return await self._parts.directory.get(paglet_id) or await self._find.row(paglet_id)

    async def _landed(self, resident: Resident) -> Resident:
        """The resident once its arrival has ended: the request of the very move that brings it here may come again."""
        incoming = self._arrivals.of_paglet(resident.paglet_id)
        if incoming is None or not incoming.arriving:
            return resident
        await asyncio.wait([incoming.ended])
        found = self._residents.get(resident.paglet_id)
        if found is None:
            raise moved(resident.paglet_id)
        return found

    async def fulfil(self, resident: Resident, wanted: OwnRequest) -> None:
        """Does what a paglet asked to be done with itself.

        A journey that is under way comes first: it takes the request along, or the paglet asks again at its end. What
        was refused meanwhile, or asked for otherwise since, is not done; clones do not exclude each other.
        """
        if self._departures.taking(resident) is not None:
            return
        if wanted != resident.own_request and wanted.action is not OwnAction.CLONE:
            return
        try:
            match wanted.action:
                case OwnAction.DISPATCH:
                    ticket = wanted.ticket or TransferTicket()
                    self._departures.start(resident, MoveRequest(wanted.target, own=wanted, ticket=ticket))
                case OwnAction.CLONE:
                    await self._clone_itself(resident, wanted)
                case OwnAction.DEACTIVATE:
                    await self._rests.rest(resident, RestRequest(wanted.policy, own=wanted))
                case OwnAction.DISPOSE:
                    await self._endings.end(resident.row, Disposal())
        except UnavailableError as error:
            _log.info("what paglet %s asked for is done elsewhere, or later: %s", resident.paglet_id, error)
        except PagletError as error:
            await refuse(self._parts, resident, wanted, error)

    async def _clone_itself(self, resident: Resident, wanted: OwnRequest) -> None:
        """Makes the clone that a paglet asked for. The request is kept until then: done twice, it makes one clone."""
        ticket = wanted.ticket or TransferTicket()
        request = CloneRequest(wanted.target, request_id=wanted.request_id, ticket=ticket)
        started = await self._clones.start(resident, request)
        if isinstance(started, Journey):
            try:
                await self._arrived(started, None)
            except PagletError as error:
                await refuse(self._parts, resident, wanted, error)
                return
        await drop_request(self._parts, resident, wanted)


def _was_made(book: ReplyBook, request: MoveRequest | CloneRequest) -> bool:
    """Whether the very request was done already. Raises REQUEST_ID_REUSED, or what it had failed with."""
    found = book.find(request.key, request.fingerprint) if request.request_id else None
    if found is not None and found.status:
        raise from_status_bytes(found.status)
    return found is not None
