"""A host: joins its parts, takes its place in the mesh, and finds its paglets."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from paglets.core.paglet import Paglet
from paglets.core.turn import OwnRequest
from paglets.directory.contract import PagletRow
from paglets.errors import (
    PagletError,
    PreconditionError,
    Resource,
    UnavailableError,
)
from paglets.host.arrival import ARRIVAL_POINTS, Arrivals
from paglets.host.births import BIRTH_POINTS, Births, CreateRequest
from paglets.host.clones import Clones
from paglets.host.cloning import CLONE_POINTS
from paglets.host.comeback import COMEBACK_POINTS, Comeback
from paglets.host.dead_letters import DEAD_LETTER_POINTS, DeadLetters
from paglets.host.deliveries import DELIVERY_POINTS
from paglets.host.departure import Departures
from paglets.host.desk import Desks
from paglets.host.dormant import WAKING_POINTS, Dormant
from paglets.host.ending import DISPOSAL_POINTS, Endings
from paglets.host.gate import not_found, shutting_down
from paglets.host.journey import Journey
from paglets.host.membership import Membership
from paglets.host.move import DEPARTURE_POINTS
from paglets.host.outbox import OUTBOX_POINTS
from paglets.host.parts import HostParts
from paglets.host.posting import POSTING_POINTS, Posting
from paglets.host.pulls import Pulls
from paglets.host.rebuild import Rebuild
from paglets.host.recovery import Recovery
from paglets.host.requests import Finder, Requests
from paglets.host.residency import Residency
from paglets.host.resident import Resident
from paglets.host.residents import Residents, load_state
from paglets.host.rest import REST_POINTS, Rests
from paglets.host.runner import attempt
from paglets.host.salvage import Salvage
from paglets.host.settle import backoff, until_reached
from paglets.host.state_text import PagletStateText, state_text
from paglets.host.tasks import Tasks
from paglets.values import JourneyInfo, PagletState

__all__ = ["HOST_POINTS", "Host"]

_log = logging.getLogger(__name__)
_WATCHED = "watched_revision"

HOST_POINTS = (
    *BIRTH_POINTS,
    *DEPARTURE_POINTS,
    *CLONE_POINTS,
    *ARRIVAL_POINTS,
    *REST_POINTS,
    *WAKING_POINTS,
    *COMEBACK_POINTS,
    *DISPOSAL_POINTS,
    *POSTING_POINTS,
    *DELIVERY_POINTS,
    *DEAD_LETTER_POINTS,
    *OUTBOX_POINTS,
)
"""Every named point between two durable steps of paglets; pulls and the store have their own."""


class Host:
    """One host. `open` before it serves, `recover` once it can be reached, `close` at its end."""

    def __init__(self, parts: HostParts, uid: str, version: str) -> None:
        self.parts = parts
        self.residents = Residents(parts, self._fulfil)
        self.departures = Departures(parts, self.residents)
        self.clones = Clones(parts, self.residents)
        self.births = Births(parts, self.residents)
        self.pulls = Pulls(parts)
        self.discovery = parts.discovery
        self._ready = asyncio.Event()
        self._closing = False
        self._tasks = Tasks("a request of a paglet")
        self.dormant = Dormant(parts, self.residents, self._tasks)
        self.arrivals = Arrivals(parts, self.residents, self.dormant)
        self.rests = Rests(parts, self.residents, self.dormant, self._tasks)
        self.endings = Endings(parts, self.residents, self.dormant, self._tasks, self.resident, self._journey)
        desks = Desks(parts, self.residents, self.dormant, self.resident)
        self.residency = Residency(
            parts, self.residents, self.rests, self._tasks, create=self.create, activate=self.activated
        )
        self._membership = Membership(parts, self.residents, uid=uid, version=version, services=self.residency.records)
        self.posting = Posting(parts, self.dormant, desks, self._started)
        self.dead_letters = DeadLetters(parts, desks, self.dormant.wake_for_posts)
        self.comeback = Comeback(parts, self.residents, self.dormant, self._tasks)
        self.requests = Requests(
            parts,
            self.residents,
            Finder(self.resident, self.activated, self.row),
            arrivals=self.arrivals,
            departures=self.departures,
            clones=self.clones,
            dormant=self.dormant,
            rests=self.rests,
            endings=self.endings,
        )
        self.rebuild = Rebuild(parts)
        self.salvage = Salvage(
            parts,
            self.residents,
            departures=self.departures,
            clones=self.clones,
            arrivals=self.arrivals,
            comeback=self.comeback,
            dormant=self.dormant,
            tasks=self._tasks,
        )
        self._loops = Tasks("the host's upkeep")

    @property
    def name(self) -> str:
        """The host's name."""
        return self.parts.name

    # The host's own life.

    async def recover(self) -> None:
        """Takes the host's name in the mesh, brings back its paglets and begins to answer for them.

        Waits for the directory as long as it takes. Raises HOST_NAME_TAKEN.
        """
        await self.residency.declare()
        await until_reached(self._membership.register)
        self._loops.start(self._membership.keep())
        self._loops.start(self.discovery.follow())
        await Recovery(
            self.parts,
            self.residents,
            departures=self.departures,
            clones=self.clones,
            arrivals=self.arrivals,
            comeback=self.comeback,
            dormant=self.dormant,
            tasks=self._tasks,
        ).run()
        self._loops.start(self._watch_rows())
        self._loops.start(self._bring_back())
        self._ready.set()
        await self.pulls.resume()
        self._loops.start(self.residents.outboxes.recover())
        self._loops.start(self.residency.start_eager())
        self._loops.start(self.residency.keep_time())

    async def close(self) -> None:
        """Sends waiting calls away, lets journeys and turns end within the drain time, and leaves the mesh."""
        self._closing = True
        drain_s = self.parts.settings.drain_s
        busy = (self.departures, self.clones, self.arrivals, self._tasks)
        await asyncio.gather(*(found.close(drain_s) for found in busy))
        await asyncio.gather(*(resident.save_last() for resident in self.residents))  # before what any may do to all
        await asyncio.gather(self.pulls.close(), *(resident.stop(drain_s) for resident in self.residents))
        await self.residents.outboxes.close()
        await self._loops.close()
        await self.discovery.close()
        if self._ready.is_set():
            await self._membership.leave()

    async def _bring_back(self) -> None:
        """Brings back what a start does, one batch after another, then whatever has its time."""
        await self.comeback.run()
        await self.dormant.keep_time()

    async def _watch_rows(self) -> None:
        """Follows the directory for as long as the host lives; what fails is taken up again where it was."""
        failures = 0
        while True:
            try:
                await attempt(self._follow_rows(), "following the directory")
            except PagletError as error:
                _log.warning("following the directory failed, beginning again: %s", error)
            await asyncio.sleep(backoff(failures))
            failures += 1

    async def watched_revision(self) -> int:
        """The last revision of a directory up to which this host has deleted what went with others' paglets."""
        return int(await self.parts.journal.meta(_WATCHED) or "0")

    async def _follow_rows(self) -> None:
        """Decides transfers, and deletes what goes with owners that are gone."""
        async for row in self.parts.directory.watch(await self.watched_revision()):
            self.arrivals.row_changed(row)
            self.clones.row_changed(row)
            await self._doubt(row)
            if row.state is PagletState.DISPOSED and not row.is_unborn:
                await self.endings.delete_with_owner(row.paglet_id)
                await self.parts.journal.set_meta(_WATCHED, str(row.revision))

    async def _doubt(self, row: PagletRow) -> None:
        """Drops what is kept of one that rests here as far as this host knows, and has ended: a kill cut its end."""
        if row.owner != self.name or row.state is PagletState.DISPOSED:
            self.dormant.doubt(row.paglet_id)
        await self.dormant.holds(row.paglet_id)

    async def create(self, request: CreateRequest) -> PagletRow:
        """Creates a paglet here, to the end whatever becomes of the caller, who may ask again."""
        await self.dormant.holds(request.paglet_id)  # nothing of an earlier life of the id may be left
        return await self._tasks.shielded(self.births.create(request))

    # Finding paglets.

    async def wait_ready(self, timeout_s: float) -> None:
        """Waits until the host has read what it owns. Raises SHUTTING_DOWN when that takes too long, or at the end."""
        if self._closing:
            raise shutting_down()
        if not self._ready.is_set():
            try:
                async with asyncio.timeout(timeout_s):
                    await self._ready.wait()
            except TimeoutError as error:
                raise shutting_down() from error

    async def resident(self, paglet_id: str) -> Resident | None:
        """The paglet if it is this host's and awake.

        One that a restart has not brought back yet is brought now; a transfer that may bring it here is waited for.
        """
        found = self.residents.get(paglet_id) or await self.comeback.resident(paglet_id)
        if found is not None:
            return found
        incoming = self.arrivals.of_paglet(paglet_id)
        if incoming is None:
            return None
        await self.arrivals.look(incoming)
        if incoming.arriving and self.residents.get(paglet_id) is None:
            await asyncio.wait([incoming.ended])
        return self.residents.get(paglet_id)

    async def called(self, paglet_id: str, *, awake_only: bool) -> Resident | None:
        """The paglet if it is this host's, brought back for a call unless `awake_only`. Raises as waking does.

        A resident service of this host that nobody has started is started. Raises as a creation does.
        """
        if await self.dormant.holds(paglet_id):
            return await self.dormant.wake_for_message(paglet_id, awake_only=awake_only)
        return await self.resident(paglet_id) or await self.residency.started(paglet_id, awake_only=awake_only)

    async def _started(self, paglet_id: str) -> Resident | None:
        """The paglet if it is awake here, or a resident service that is started now."""
        return await self.resident(paglet_id) or await self.residency.started(paglet_id)

    async def place(self, paglet_id: str) -> str:
        """The host that a paglet is on; for a resident service that was not started, one that does it.

        Raises PAGLET_NOT_FOUND.
        """
        row = await self.parts.directory.get(paglet_id)
        if row is not None and row.state is not PagletState.DISPOSED:
            return row.owner
        starter = await self.discovery.starter(paglet_id)
        if starter is None:
            raise not_found(paglet_id)
        return starter

    async def activated(self, paglet_id: str) -> Resident | None:
        """The paglet if it is this host's, brought back whatever its policy says. Raises as waking does."""
        if await self.dormant.holds(paglet_id):
            return await self.dormant.wake(paglet_id, "activate")
        return await self.resident(paglet_id)

    async def row(self, paglet_id: str) -> PagletRow:
        """The row of a living paglet. Raises PAGLET_NOT_FOUND."""
        row = await self.parts.directory.get(paglet_id)
        if row is None or row.state is PagletState.DISPOSED:
            raise not_found(paglet_id)
        return row

    async def require_here(self, row: PagletRow) -> Resident:
        """The resident of a row that is this host's. Raises what keeps it from being served."""
        found = await self.resident(row.paglet_id)
        if found is not None:
            return found
        if row.state is PagletState.INACTIVE:
            self.dormant.add(row.paglet_id)
        if row.state is PagletState.QUARANTINED:
            raise PreconditionError(
                "STATE_UNREADABLE",
                f"the state of paglet {row.paglet_id} cannot be read here; its bytes are kept: {row.error}",
                resource=Resource("paglet", row.paglet_id),
            )
        raise UnavailableError(
            "PAGLET_MOVED",
            f"paglet {row.paglet_id} is on its way; call again",
            resource=Resource("paglet", row.paglet_id),
            retry_after_s=0.05,
        )

    def journey(self, paglet_id: str) -> JourneyInfo | None:
        """The journey of a paglet that leaves this host, or of a clone that is made here."""
        found = self._journey(paglet_id)
        return found.info() if found is not None else None

    def _journey(self, paglet_id: str) -> Journey | None:
        return self.departures.journey(paglet_id) or self.clones.journey(paglet_id)

    async def state(self, paglet_id: str) -> PagletStateText | None:
        """The durable state of a paglet of this host; an inactive one stays inactive. None for one that is elsewhere.

        Raises TYPE_NOT_ALLOWED, STATE_VERSION_UNSUPPORTED, STATE_UNREADABLE.
        """
        if await self.dormant.holds(paglet_id):
            stored = await self.parts.journal.required(paglet_id)
            paglet_type = self.parts.registry.get(stored.type)
            state = await load_state(paglet_type, stored.state, stored.state_version)
            return state_text(paglet_id, paglet_type.codec, state, stored.epoch)
        resident = await self.resident(paglet_id)
        if resident is None:
            return None
        cell = resident.runner.cell
        return state_text(paglet_id, cell.codec, cell.view, resident.row.epoch)

    async def paglet_type(self, paglet_id: str) -> type[Paglet[Any]] | None:
        """The class of a paglet of this host; an inactive one stays inactive. None for one that is elsewhere.

        Nor is a resident service of this host started for that. Raises TYPE_NOT_ALLOWED.
        """
        if await self.dormant.holds(paglet_id):
            return self.parts.registry.get((await self.parts.journal.required(paglet_id)).type)
        resident = await self.resident(paglet_id)
        return self.residency.paglet_type(paglet_id) if resident is None else type(resident.paglet)

    def _fulfil(self, resident: Resident, wanted: OwnRequest) -> None:
        """Begins what a paglet asked to be done with itself."""
        self._tasks.start(self.requests.fulfil(resident, wanted))
