"""The journeys that leave this host: begun or taken up again, driven step by step, and ended.

The steps are in `move.py`; here is what follows each, and what follows its failure. No outcome is guessed: an unknown
one is read.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from functools import partial

from paglets.core.lifecycle import LifecycleEvent, next_state
from paglets.core.turn import OwnRequest
from paglets.errors import ConflictError, PagletError
from paglets.host.farewell import await_outcome, forget_departed
from paglets.host.given_up import cut_journey, forgo, give_up, keep_error, refuse
from paglets.host.journey import Journey
from paglets.host.move import Move
from paglets.host.parts import HostParts
from paglets.host.patience import require_offer
from paglets.host.records import Departure
from paglets.host.replies import require_same
from paglets.host.resident import Resident
from paglets.host.residents import Residents
from paglets.host.runner import attempt
from paglets.host.tasks import Tasks
from paglets.values import JourneyPhase, PagletState, TransferTicket

__all__ = ["Departures", "MoveRequest"]


@dataclass(frozen=True, slots=True)
class MoveRequest:
    """Who asks for a move: principal, request id (empty for none) and its fingerprint; or the paglet by its `own`.

    It is `retracted` if the target asks for it.
    """

    target: str
    principal: str = ""
    request_id: str = ""
    fingerprint: bytes = b""
    own: OwnRequest | None = None
    ticket: TransferTicket = field(default_factory=TransferTicket)
    retracted: bool = False

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

    def taking(self, resident: Resident) -> Journey | None:
        """The journey that takes a resident away, if there is one; none that has brought the paglet elsewhere, or here.

        That it has come back may be known before the answer of the directory by which it left.
        """
        found = self._journeys.get(resident.paglet_id)
        return found if found is not None and found.resident is resident and not found.committed.is_set() else None

    async def close(self, timeout_s: float) -> None:
        """Gives the journeys time to end; what does not is taken up again when the host is started."""
        await self._tasks.close(timeout_s)

    def start(self, resident: Resident, request: MoveRequest) -> Journey:
        """Begins a journey, or joins the one that the same request began.

        Raises ILLEGAL_TRANSITION when the paglet is on another journey. The journey itself ends by HOST_NOT_FOUND or
        HOST_UNREACHABLE before anything is touched.
        """
        running = self.taking(resident)
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
            ticket=request.ticket,
            retracted=request.retracted,
        )
        journey = self._enter(departure, resident)
        journey.own_request = request.own
        self._tasks.start(self._travel(self._move(resident, journey)))
        return journey

    def recover(self, departure: Departure, resident: Resident | None) -> None:
        """Takes up a journey that a restart cut: committed, or, with the frozen `resident`, still to be decided."""
        journey = self._enter(departure, resident)
        if resident is None:
            self._tasks.start(self._follow(journey))
        else:
            self._tasks.start(self._decide(self._move(resident, journey)))

    def _enter(self, departure: Departure, resident: Resident | None) -> Journey:
        journey = Journey(departure, self._parts.name, resident=resident)
        journey.ended.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        self._journeys[departure.paglet_id] = journey
        return journey

    def _move(self, resident: Resident, journey: Journey) -> Move:
        return Move(self._parts, self._residents, resident, journey)

    # The way forward.

    async def _travel(self, move: Move) -> None:
        """The whole journey. It ends `journey.ended` whatever happens, unless the host itself ends."""
        resident, journey = move.resident, move.journey
        try:
            await move.journey.patience.spend(lambda: self._look(journey), "a look at the target", lambda error: error)
        except PagletError as error:
            self._end(journey, error)
            if journey.own_request is not None:
                await refuse(self._parts, resident, journey.own_request, error)
            else:
                resident.take_up()
            return
        async with resident.life:
            left = await self._leave(move)
        if left:
            await self._follow(journey, just_committed=True)

    async def _look(self, journey: Journey) -> None:
        """Refuses a target that is not there, or not what the ticket asks for, before anything is touched."""
        require_offer(await self._parts.peers.online(journey.departure.target), journey.departure)

    async def _leave(self, move: Move) -> bool:
        """Steps 1 to 6; False when the journey was given up on the way."""
        resident, journey = move.resident, move.journey
        try:
            await move.quiesce()
        except PagletError as error:
            forgo(resident, journey.own_request, error)
            await keep_error(resident, journey.departure, error)
            self._end(journey, error)
            self._tasks.start(refuse(self._parts, resident, journey.own_request, error))
            return False
        try:
            await move.freeze()
        except PagletError as error:
            await self._give_up(move, error)
            return False
        try:
            await attempt(self._bring(move), f"the journey to {journey.departure.target}")
        except PagletError as error:
            await self._abort(move, self._parts.peers.explain(journey.departure.target, error))
            return False
        return await self._commit(move)

    async def _bring(self, move: Move) -> None:
        """All that is taken back by an abort."""
        target = move.journey.departure.target
        await move.intend()
        explain = partial(self._parts.peers.explain, target)
        await move.journey.patience.spend(move.push, f"the journey to {target}", explain)
        move.journey.patience.require_time()

    async def _commit(self, move: Move) -> bool:
        """Step 6; False when somebody else has changed the row meanwhile."""
        try:
            await move.commit()
        except ConflictError as fenced:
            await self._lose(move, fenced)
            return False
        return True

    async def _follow(self, journey: Journey, *, just_committed: bool = False) -> None:
        """After the commit: waits for the outcome of the arrival, then forgets the paglet."""
        journey.phase = JourneyPhase.ARRIVE
        journey.committed.set()
        outcome = await await_outcome(self._parts, journey.departure, just_committed=just_committed)
        if self._journeys.get(journey.departure.paglet_id) is journey:
            del self._journeys[journey.departure.paglet_id]
        if not journey.ended.done():
            journey.ended.set_result(outcome)
        await forget_departed(self._parts, journey.departure, outcome)

    # The way back.

    async def _abort(self, move: Move, error: PagletError) -> None:
        """Takes the intent back, and lets the paglet go on where it is."""
        try:
            await move.abort()
        except ConflictError as fenced:
            await self._lose(move, fenced)
            return
        self._tasks.start(move.tell_aborted())
        await self._give_up(move, error)

    async def _lose(self, move: Move, fenced: ConflictError) -> None:
        """Somebody changed the row: goes on if the paglet is this host's still."""
        if await move.reconcile(fenced):
            await self._give_up(move, fenced)
        else:
            self._end(move.journey, fenced)

    async def _give_up(self, move: Move, error: PagletError) -> None:
        await give_up(self._parts, move.resident, move.journey, error)
        self._end(move.journey, error)

    def _end(self, journey: Journey, error: PagletError) -> None:
        if self._journeys.get(journey.departure.paglet_id) is journey:
            del self._journeys[journey.departure.paglet_id]
        if not journey.ended.done():
            journey.ended.set_exception(error)

    # After a restart.

    async def _decide(self, move: Move) -> None:
        """The intent stands: goes on if the target has everything, else gives up."""
        async with move.resident.life:
            try:
                move.journey.patience.require_time()
                if not await move.is_sealed():
                    raise cut_journey(move.journey.departure)
            except PagletError as error:
                left = False
                await self._abort(move, error)
            else:
                left = await self._commit(move)
        if left:
            await self._follow(move.journey, just_committed=True)
