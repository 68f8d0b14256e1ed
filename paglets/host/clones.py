"""The clones that are made of paglets of this host: begun or taken up again, driven step by step, and ended.

The steps are in `cloning.py`. A clone is a journey of its own: it has an id, a row and a place among the journeys, and
the original may depart, rest or end meanwhile.
"""

from __future__ import annotations

import logging
import time
import uuid
from dataclasses import dataclass, field
from functools import partial

from google.protobuf.any_pb2 import Any as AnyMessage

from paglets.core.events import CloneEvent
from paglets.core.lifecycle import LifecycleEvent, next_state
from paglets.directory.contract import PagletRow
from paglets.errors import ConflictError, PagletError, PreconditionError, Resource
from paglets.faults import point
from paglets.host.cloning import Cloning, commit_clone, withdraw_clone
from paglets.host.farewell import await_outcome
from paglets.host.gate import moved
from paglets.host.given_up import cut_journey, keep_error
from paglets.host.journey import Journey
from paglets.host.parts import HostParts
from paglets.host.patience import require_offer
from paglets.host.push import is_sealed, is_unknown
from paglets.host.records import Departure
from paglets.host.replies import require_same
from paglets.host.resident import Resident
from paglets.host.residents import Residents
from paglets.host.runner import attempt
from paglets.host.settle import until_reached
from paglets.host.tasks import Tasks
from paglets.values import JourneyPhase, PagletState, TransferTicket, clone_id, new_id

__all__ = ["CloneRequest", "Clones"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CloneRequest:
    """Who asks for a clone: principal, request id (empty for none) and its fingerprint.

    The clone is to be on the host `target`, or the original's if that is empty, and is told `parameters`.
    """

    target: str
    principal: str = ""
    request_id: str = ""
    fingerprint: bytes = b""
    ticket: TransferTicket = field(default_factory=TransferTicket)
    parameters: AnyMessage | None = None

    @property
    def key(self) -> tuple[str, str]:
        """What its failure is kept under."""
        return self.principal, self.request_id


class Clones:
    """The clones on their way from one host, by their own ids."""

    def __init__(self, parts: HostParts, residents: Residents) -> None:
        self._parts = parts
        self._residents = residents
        self._journeys: dict[str, Journey] = {}
        self._tasks = Tasks("a clone")

    def journey(self, paglet_id: str) -> Journey | None:
        """The journey of a clone that is being made here, if there is one."""
        return self._journeys.get(paglet_id)

    async def close(self, timeout_s: float) -> None:
        """Gives the clones time to come to be; what does not is taken up again when the host is started."""
        await self._tasks.close(timeout_s)

    async def start(self, original: Resident, request: CloneRequest) -> Journey | PagletRow:
        """Begins a clone, or joins the one that the same request began; the row of one that it has made already.

        Raises ILLEGAL_TRANSITION, also for a request whose clone was disposed of, ARRIVAL_FAILED for one whose clone is
        FAILED, REQUEST_ID_REUSED, and PAGLET_MOVED while another host makes it.
        """
        paglet_id = clone_id(original.paglet_id, request.request_id or new_id())
        found = await self._parts.directory.get(paglet_id)
        running = self._journeys.get(paglet_id)
        if running is not None:
            require_same(running.departure.fingerprint, request.fingerprint, request.key, original.paglet_id)
            return running
        if found is not None and _was_made(found, request):
            return found
        next_state(original.paglet_id, original.row.state, LifecycleEvent.CLONE)
        departure = Departure(
            transfer_id=uuid.uuid4().hex,
            paglet_id=paglet_id,
            target=request.target or self._parts.name,
            epoch=0,
            started_at=time.time(),
            principal=request.principal,
            request_id=request.request_id,
            fingerprint=request.fingerprint,
            ticket=request.ticket,
            clone_of=original.paglet_id,
        )
        row = PagletRow(
            paglet_id=paglet_id,
            type=original.row.type,
            owner=self._parts.name,
            state=PagletState.CLONING,
            request_id=request.request_id or new_id(),
            fingerprint=request.fingerprint,
        )
        journey = self._enter(departure)
        cloning = Cloning(self._parts, journey, row, found, request.parameters)
        self._tasks.start(self._make(original, cloning))
        return journey

    def _enter(self, departure: Departure) -> Journey:
        journey = Journey(departure, self._parts.name)
        journey.ended.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        self._journeys[departure.paglet_id] = journey
        return journey

    # The way forward.

    async def _make(self, original: Resident, cloning: Cloning) -> None:
        """The whole of it. It ends `journey.ended` whatever happens, unless the host itself ends."""
        journey = cloning.journey
        try:
            await journey.patience.spend(lambda: self._look(journey), "a look at the target", lambda error: error)
            async with original.life:
                if self._residents.get(original.paglet_id) is not original:
                    raise moved(original.paglet_id)
                await attempt(cloning.copy(original), f"copying paglet {original.paglet_id}")
        except PagletError as error:
            await self._refuse(original, journey, error)
            return
        try:
            await cloning.intend()
        except PagletError as error:
            await self._parts.journal.end_departure(journey.departure, left=False)
            await self._refuse(original, journey, error)
            return
        try:
            await attempt(self._bring(cloning), f"the clone's journey to {journey.departure.target}")
        except PagletError as error:
            failure = self._parts.peers.explain(journey.departure.target, error)
            await self._withdraw(journey, cloning.row)
            await self._refuse(original, journey, failure)
            return
        await self._commit(journey, cloning.row)
        if await self._follow(journey, just_committed=True):
            await self._tell(original, journey.departure)

    async def _look(self, journey: Journey) -> None:
        """Refuses a target that is not there, or not what the ticket asks for, before anything is touched."""
        require_offer(await self._parts.peers.online(journey.departure.target), journey.departure)

    async def _bring(self, cloning: Cloning) -> None:
        """All that is taken back by an abort."""
        target = cloning.journey.departure.target
        explain = partial(self._parts.peers.explain, target)
        await cloning.journey.patience.spend(cloning.push, f"the clone's journey to {target}", explain)
        cloning.journey.patience.require_time()

    async def _commit(self, journey: Journey, row: PagletRow) -> None:
        try:
            await commit_clone(self._parts, journey, row)
        except ConflictError as fenced:
            await self._parts.journal.end_departure(journey.departure, left=False)
            self._end(journey, fenced)

    async def _follow(self, journey: Journey, *, just_committed: bool = False) -> bool:
        """After the commit: waits for the outcome of the first turn, then forgets; whether there is a clone now."""
        if journey.ended.done():
            return False
        journey.phase = JourneyPhase.ARRIVE
        journey.committed.set()
        departure = journey.departure
        outcome = await await_outcome(self._parts, departure, just_committed=just_committed)
        self._journeys.pop(departure.paglet_id, None)
        if not journey.ended.done():
            journey.ended.set_result(outcome)
        point("clone.forget.before")
        await until_reached(lambda: self._parts.directory.apply((), forget=(departure.transfer_id,)))
        await self._parts.journal.end_departure(departure, left=False)
        point("clone.forget.after")
        return outcome.state is not PagletState.FAILED

    async def _tell(self, original: Resident, departure: Departure) -> None:
        """Tells the original that its clone is there, if it is still here."""
        if self._residents.get(original.paglet_id) is not original:
            return
        event = CloneEvent(original.paglet_id, departure.paglet_id, self._parts.name, departure.target)
        try:
            await original.activities.queued_hook(original.paglet.on_cloned, event)
        except PagletError as error:
            _log.error("on_cloned of paglet %s failed: %s", original.paglet_id, error)

    # The way back.

    async def _withdraw(self, journey: Journey, row: PagletRow) -> None:
        try:
            await withdraw_clone(self._parts, row, journey.disposal)
        except ConflictError as fenced:
            _log.error("clone %s was taken from this host on its way: %s", row.paglet_id, fenced)
        await self._parts.journal.end_departure(journey.departure, left=False)
        point("clone.abort.after")

    async def _refuse(self, original: Resident, journey: Journey, error: PagletError) -> None:
        """There is no clone; who asks again with the same request id gets the same error."""
        await keep_error(original, journey.departure, error)
        self._end(journey, error)

    def _end(self, journey: Journey, error: PagletError) -> None:
        self._journeys.pop(journey.departure.paglet_id, None)
        if not journey.ended.done():
            journey.ended.set_exception(error)

    # After a restart.

    async def recover(self, departure: Departure) -> None:
        """Takes up a clone that a restart cut: still to be decided, committed, or never begun. Safe to repeat."""
        if departure.paglet_id in self._journeys:
            return
        row = await until_reached(partial(self._parts.directory.get, departure.paglet_id))
        if row is not None and row.intent is not None and row.intent.transfer_id == departure.transfer_id:
            self._tasks.start(self._decide(self._enter(departure), row))
        elif await until_reached(partial(self._parts.directory.journey, departure.transfer_id)) is not None:
            self._tasks.start(self._follow(self._enter(departure)))
        elif row is None:
            self._tasks.start(self._look_for(departure))
        else:
            await self._parts.journal.end_departure(departure, left=False)

    async def _look_for(self, departure: Departure) -> None:
        """The directory has never heard of the clone: it was never begun, or the rows were lost.

        Then what its target has may be all that there is of a clone that somebody was told of; a rebuild decides.
        """
        if await is_unknown(self._parts, departure):
            await self._parts.journal.end_departure(departure, left=False)
        else:
            _log.warning("clone %s was on its way and the directory does not know it; it is kept", departure.paglet_id)

    async def _decide(self, journey: Journey, row: PagletRow) -> None:
        """The intent stands: goes on if the target has everything, else gives up."""
        try:
            journey.patience.require_time()
            if not await is_sealed(self._parts, journey.departure):
                raise cut_journey(journey.departure)
        except PagletError as error:
            await self._withdraw(journey, row)
            self._end(journey, error)
            return
        await self._commit(journey, row)
        await self._follow(journey, just_committed=True)

    def row_changed(self, row: PagletRow) -> None:
        """A clone of this host that nobody makes here: its row was written by a life of this host that is over."""
        if row.state is PagletState.CLONING and row.owner == self._parts.name and row.paglet_id not in self._journeys:
            self._tasks.start(self._disown(row))

    async def _disown(self, row: PagletRow) -> None:
        try:
            await withdraw_clone(self._parts, row)
        except ConflictError as fenced:
            _log.info("clone %s is somebody's after all: %s", row.paglet_id, fenced)


def _was_made(found: PagletRow, request: CloneRequest) -> bool:
    """Whether the row that has the clone's id is this request's clone; False for one that was given up."""
    if found.state is PagletState.DISPOSED:
        if found.earlier_request_id != request.request_id:
            return False
        raise PreconditionError(
            "ILLEGAL_TRANSITION",
            f"the clone of request {request.request_id} was disposed of; make another with a new request id",
            resource=Resource("paglet", found.paglet_id),
            metadata={"state": PagletState.DISPOSED.value, "event": LifecycleEvent.CLONE.value},
        )
    require_same(found.fingerprint, request.fingerprint, request.key, found.paglet_id)
    if found.state is PagletState.CLONING:
        raise moved(found.paglet_id)
    if found.state is PagletState.FAILED:
        raise PreconditionError(
            "ARRIVAL_FAILED",
            f"clone {found.paglet_id} is on host {found.owner}, but its first turn failed: {found.error}",
            resource=Resource("paglet", found.paglet_id),
            metadata={"host": found.owner},
        )
    return True
