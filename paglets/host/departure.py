"""Journeys as their source sees them: quiesce, intent, prepare, push, seal, commit, arrive, forget.

The one commit point is the change of owner in the directory. Before it a journey can be given up, which raises the
epoch; after it the paglet belongs to the target, whatever happens. No outcome is guessed: an unknown one is read.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from dataclasses import dataclass, replace

from paglet.v1 import transfer_pb2
from paglets.core.events import MobilityEvent
from paglets.core.lifecycle import LifecycleEvent, next_state
from paglets.core.turn import OwnRequest
from paglets.directory.contract import Guard, Intent, JourneyRecord
from paglets.errors import (
    ConflictError,
    DeadlineError,
    InternalError,
    PagletError,
    PreconditionError,
    Resource,
    UnavailableError,
)
from paglets.faults import point
from paglets.host.farewell import await_outcome, forget_departed
from paglets.host.files import require_unchanged
from paglets.host.journey import Journey
from paglets.host.parts import HostParts
from paglets.host.push import push_paglet
from paglets.host.records import Departure
from paglets.host.replies import require_same
from paglets.host.resident import Resident
from paglets.host.residents import Residents
from paglets.host.runner import attempt
from paglets.host.settle import settle_write, until_reached
from paglets.host.tasks import Tasks
from paglets.values import JourneyPhase, PagletState
from paglets.wire.status import to_status

__all__ = ["DEPARTURE_POINTS", "Departures", "MoveRequest", "cut_journey"]

_log = logging.getLogger(__name__)
_PEER_S = 5.0

DEPARTURE_POINTS = (
    "journey.quiesce.before",
    "journey.quiesce.after",
    "journey.intent.before",
    "journey.intent.after",
    "journey.prepare.after",
    "journey.push.after",
    "journey.seal.after",
    "journey.commit.before",
    "journey.commit.after",
    "journey.forget.before",
    "journey.forget.sources",
    "journey.forget.directory",
    "journey.forget.after",
    "journey.abort.before",
    "journey.abort.directory",
    "journey.abort.after",
)
"""The named points of a journey's source, in the order of its steps; those of `abort` lie on the way back."""


@dataclass(frozen=True, slots=True)
class MoveRequest:
    """Who asks for a move: principal, request id (empty for none) and its fingerprint; or the paglet by its `own`."""

    target: str
    principal: str = ""
    request_id: str = ""
    fingerprint: bytes = b""
    own: OwnRequest | None = None

    @property
    def key(self) -> tuple[str, str]:
        """What the outcome is kept under."""
        return self.principal, self.request_id


class Departures:
    """The journeys of which this host is the source."""

    def __init__(self, parts: HostParts, residents: Residents) -> None:
        self._parts = parts
        self._residents = residents
        self._journeys: dict[str, Journey] = {}
        self._tasks = Tasks("a journey")

    def journey(self, paglet_id: str) -> Journey | None:
        """The journey of a paglet that is leaving, if there is one."""
        return self._journeys.get(paglet_id)

    async def close(self, timeout_s: float) -> None:
        """Gives the journeys time to end; what does not is taken up again when the host is started."""
        await self._tasks.close(timeout_s)

    def start(self, resident: Resident, request: MoveRequest) -> Journey:
        """Begins a journey, or joins the one that the same request began.

        Raises ILLEGAL_TRANSITION when the paglet is on another journey. The journey itself ends by HOST_NOT_FOUND or
        HOST_UNREACHABLE before anything is touched.
        """
        running = self._journeys.get(resident.paglet_id)
        if running is not None and running.committed.is_set():
            running = None  # it brought the paglet elsewhere and is about to be forgotten; the paglet is back already
        if running is not None and request.request_id and running.departure.request_id == request.request_id:
            require_same(running.departure.fingerprint, request.fingerprint, request.key, resident.paglet_id)
            return running
        state = PagletState.DEPARTING if running is not None else resident.row.state
        next_state(resident.paglet_id, state, LifecycleEvent.DEPART)
        departure = Departure(
            transfer_id=uuid.uuid4().hex,
            paglet_id=resident.paglet_id,
            target=request.target,
            epoch=resident.row.epoch,
            started_at=time.time(),
            principal=request.principal,
            request_id=request.request_id,
            fingerprint=request.fingerprint,
        )
        journey = self._enter(departure)
        journey.own_request = request.own
        self._tasks.start(self._travel(journey, resident))
        return journey

    def _enter(self, departure: Departure) -> Journey:
        journey = Journey(departure, self._parts.name)
        journey.ended.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        self._journeys[departure.paglet_id] = journey
        return journey

    async def _travel(self, journey: Journey, resident: Resident) -> None:
        """The whole journey. It ends `journey.ended` whatever happens, unless the host itself ends."""
        try:
            await attempt(self._parts.peers.online(journey.departure.target), "a look at the target")
        except PagletError as error:
            self._end(journey, error)
            if journey.own_request is not None:
                await self.refuse(resident, journey.own_request, error)
            else:
                resident.take_up()
            return
        async with resident.life:
            left = await self._leave(journey, resident)
        if left:
            await self._follow(journey)

    async def _leave(self, journey: Journey, resident: Resident) -> bool:
        """Steps 1 to 6; False when the journey was given up on the way."""
        try:
            next_state(resident.paglet_id, resident.row.state, LifecycleEvent.DEPART)
            point("journey.quiesce.before")
            await resident.quiet(self._parts.settings.quiesce_s)
        except PagletError as error:
            await self._keep_outcome(journey, resident, error)
            self._end(journey, error)
            self._tasks.start(self.refuse(resident, journey.own_request, error))
            return False
        try:
            await self._freeze(journey, resident)
        except PagletError as error:
            await self._give_up(journey, resident, error)
            return False
        try:
            await attempt(self._bring(journey, resident), f"the journey to {journey.departure.target}")
        except PagletError as error:
            await self._abort(journey, resident, self._parts.peers.explain(journey.departure.target, error))
            return False
        return await self._commit(journey, resident)

    async def _bring(self, journey: Journey, resident: Resident) -> None:
        """All that can be given up: the intent, and the paglet's way to its target."""
        await self._intend(journey, resident)
        await push_paglet(self._parts, journey, resident)

    # 1 and 2: from here the paglet is frozen.

    async def _freeze(self, journey: Journey, resident: Resident) -> None:
        """The last turn, and the record by which a restart knows of the journey."""
        event = MobilityEvent(self._parts.name, journey.departure.target, journey.departure.transfer_id)
        try:
            async with asyncio.timeout(self._parts.settings.quiesce_s):
                await resident.activities.hook(resident.paglet.on_dispatching, event)
        except TimeoutError as error:
            raise DeadlineError("QUIESCE_TIMEOUT", "on_dispatching did not end within the quiesce timeout") from error
        except InternalError as error:
            raise PreconditionError(
                "HOOK_FAILED",
                f"on_dispatching failed: {error.message}",
                metadata={**error.metadata, "hook": "on_dispatching"},
            ) from error
        files = tuple(file for _, file in sorted(resident.files.items()))
        for file in files:
            await asyncio.to_thread(require_unchanged, file)
        journey.departure = replace(journey.departure, files=files)
        await self._parts.journal.put_departure(journey.departure, journey.own_request)
        if resident.own_request == journey.own_request:
            resident.own_request = None
        point("journey.quiesce.after")

    async def _intend(self, journey: Journey, resident: Resident) -> None:
        row = resident.row
        intent = Intent(journey.departure.transfer_id, journey.departure.target)
        state = next_state(row.paglet_id, row.state, LifecycleEvent.DEPART)
        point("journey.intent.before")
        wanted = replace(row, state=state, intent=intent)
        resident.row = await settle_write(self._parts.directory, Guard.on(row), wanted)
        point("journey.intent.after")

    # 6 to 8: the way forward.

    async def _commit(self, journey: Journey, resident: Resident) -> bool:
        """Step 6; False when somebody else has changed the row meanwhile."""
        row, departure = resident.row, journey.departure
        journey.phase = JourneyPhase.COMMIT
        state = next_state(row.paglet_id, row.state, LifecycleEvent.COMMIT)
        wanted = replace(row, owner=departure.target, state=state, intent=None, epoch=row.epoch + 1)
        record = JourneyRecord(
            transfer_id=departure.transfer_id,
            paglet_id=row.paglet_id,
            source=self._parts.name,
            target=departure.target,
            state=PagletState.ARRIVING,
        )
        point("journey.commit.before")
        try:
            await settle_write(self._parts.directory, Guard.on(row), wanted, journeys=(record,))
        except ConflictError as fenced:
            # The reply of a commit may be lost, and the row be changed by the target before it is asked for again.
            if await until_reached(lambda: self._parts.directory.journey(departure.transfer_id)) is None:
                await self._lose(journey, resident, fenced)
                return False
        point("journey.commit.after")
        self._residents.remove(resident)
        journey.committed.set()
        resident.leave()
        return True

    async def _follow(self, journey: Journey) -> None:
        """After the commit: waits for the outcome of the arrival, then forgets the paglet."""
        journey.phase = JourneyPhase.ARRIVE
        journey.committed.set()
        outcome = await await_outcome(self._parts, journey.departure)
        if self._journeys.get(journey.departure.paglet_id) is journey:
            del self._journeys[journey.departure.paglet_id]
        if not journey.ended.done():
            journey.ended.set_result(outcome)
        await forget_departed(self._parts, journey.departure, outcome)

    # The way back.

    async def _give_up(self, journey: Journey, resident: Resident, error: PagletError) -> None:
        """The journey ends: the paglet is told and goes on where it is, and whoever asked has the error."""
        await self._keep_outcome(journey, resident, error)
        await self._drop_request(resident, journey.own_request)
        await self.resume(resident, error)
        self._end(journey, error)

    async def _abort(self, journey: Journey, resident: Resident, error: PagletError) -> None:
        """Takes the intent back, raising the epoch, and lets the paglet go on where it is."""
        row, departure = resident.row, journey.departure
        point("journey.abort.before")
        state = next_state(row.paglet_id, PagletState.DEPARTING, LifecycleEvent.ABORT)
        wanted = replace(row, state=state, intent=None, epoch=row.epoch + 1)
        try:
            resident.row = await settle_write(self._parts.directory, Guard.on(row), wanted)
        except ConflictError as fenced:
            await self._lose(journey, resident, fenced)
            return
        point("journey.abort.directory")
        await self._parts.journal.end_departure(departure, left=False, epoch=resident.row.epoch)
        point("journey.abort.after")
        self._tasks.start(self._tell_aborted(departure))
        await self._give_up(journey, resident, error)

    async def _lose(self, journey: Journey, resident: Resident, fenced: ConflictError) -> None:
        """Somebody changed the row: goes on if the paglet is this host's still, as after a late abort, else lets go."""
        departure, directory = journey.departure, self._parts.directory
        row = await until_reached(lambda: directory.get(departure.paglet_id))
        if row is not None and row.owner == self._parts.name and row.state is PagletState.ACTIVE:
            resident.row = row
            await self._parts.journal.end_departure(departure, left=False, epoch=row.epoch)
            await self._give_up(journey, resident, fenced)
            return
        _log.error("paglet %s was taken from this host during a journey: %s", resident.paglet_id, fenced)
        self._residents.remove(resident)
        resident.leave()
        await self._parts.journal.end_departure(departure, left=True)
        self._end(journey, fenced)

    async def refuse(self, resident: Resident, own: OwnRequest | None, error: PagletError) -> None:
        """A move was refused before it began: the paglet is told, and is not moved by the same request again.

        Of a host that ends it is not told: the request is taken up when the host is started again.
        """
        if error.reason == "SHUTTING_DOWN":
            return
        await self._drop_request(resident, own)
        await resident.activities.queued_hook(resident.paglet.on_dispatch_aborted, error)
        resident.take_up()

    async def _drop_request(self, resident: Resident, own: OwnRequest | None) -> None:
        if own is None:
            return
        if resident.own_request == own:
            resident.own_request = None
        await self._parts.journal.drop_own_request(resident.paglet_id, own)

    async def resume(self, resident: Resident, error: PagletError) -> None:
        """Lets a paglet whose journey was given up go on; it is told first."""
        try:
            await resident.activities.hook(resident.paglet.on_dispatch_aborted, error)
        except PagletError as failed:
            _log.error("on_dispatch_aborted of paglet %s failed: %s", resident.paglet_id, failed)
        resident.open()

    async def _keep_outcome(self, journey: Journey, resident: Resident, error: PagletError) -> None:
        """The move's request has run; who asks again gets the same error, while there is a paglet to ask.

        Unless that is UNAVAILABLE, which tells him to ask again: the paglet is where it was, and is moved anew then.
        """
        departure = journey.departure
        if not departure.request_id or isinstance(error, UnavailableError):
            return
        key = (departure.principal, departure.request_id)
        made = resident.book.make(key, departure.fingerprint, status=to_status(error).SerializeToString())
        try:
            await resident.runner.store(made, resident.book.add(made))
        except ConflictError:
            _log.info("paglet %s is gone, and with it what its requests did", resident.paglet_id)

    def _end(self, journey: Journey, error: PagletError) -> None:
        if self._journeys.get(journey.departure.paglet_id) is journey:
            del self._journeys[journey.departure.paglet_id]
        if not journey.ended.done():
            journey.ended.set_exception(error)

    async def _tell_aborted(self, departure: Departure) -> None:
        """Tells the target, so that it frees what it keeps at once; it would find out by itself."""
        try:
            peer = await self._parts.peers.transfer(departure.target)
            await peer.abort(departure.transfer_id, _PEER_S)
        except PagletError as error:
            _log.info("host %s was not told of the aborted transfer: %s", departure.target, error)

    # After a restart.

    def recover(self, departure: Departure, resident: Resident | None) -> None:
        """Takes up a journey that a restart cut: committed, or, with the frozen `resident`, still to be decided."""
        journey = self._enter(departure)
        if resident is None:
            self._tasks.start(self._follow(journey))
        else:
            self._tasks.start(self._decide(journey, resident))

    async def _decide(self, journey: Journey, resident: Resident) -> None:
        """The intent stands: goes on if the target has everything, else gives up."""
        async with resident.life:
            left = await self._decide_frozen(journey, resident)
        if left:
            await self._follow(journey)

    async def _decide_frozen(self, journey: Journey, resident: Resident) -> bool:
        departure = journey.departure
        try:
            peer = await self._parts.peers.transfer(departure.target)
            sealed = await peer.phase(departure.transfer_id, _PEER_S) == transfer_pb2.TRANSFER_PHASE_SEALED
        except PagletError as error:
            _log.info("the target of transfer %s does not answer: %s", departure.transfer_id, error)
            sealed = False
        if sealed:
            return await self._commit(journey, resident)
        await self._abort(journey, resident, cut_journey(departure))
        return False


def cut_journey(departure: Departure) -> ConflictError:
    """Why a journey ended at a restart."""
    return ConflictError(
        "JOURNEY_ABORTED",
        f"the journey of paglet {departure.paglet_id} to {departure.target} was cut by a restart of its host",
        resource=Resource("paglet", departure.paglet_id),
        metadata={"transfer_id": departure.transfer_id},
    )
