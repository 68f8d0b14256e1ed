"""The steps of a move at its source: quiesce, freeze, intend, push, commit, and abort, which is the way back.

Each is durable before the next begins. The one commit point is the change of owner in the directory. Before it a move
can be given up, which raises the epoch; after it the paglet belongs to the target, whatever happens. What follows a
step, or its failure, is for `departure.py` to say.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from paglets.core.events import MobilityEvent
from paglets.core.lifecycle import LifecycleEvent, next_state
from paglets.directory.contract import Guard, Intent, JourneyRecord
from paglets.errors import ConflictError, PagletError
from paglets.faults import point
from paglets.host.activities import hook_limits
from paglets.host.files import require_all_unchanged
from paglets.host.journey import Journey
from paglets.host.parts import HostParts
from paglets.host.push import is_sealed, push_paglet
from paglets.host.resident import Resident
from paglets.host.residents import Residents
from paglets.host.settle import settle_write, until_reached
from paglets.host.snapshot import manifest_of, snapshot_of
from paglets.offloop import off_loop
from paglets.values import JourneyPhase, PagletState

__all__ = ["DEPARTURE_POINTS", "Move"]

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


class Move:
    """One move of a resident. Whoever takes a step holds the resident's `life`, from the first step to the last.

    Steps raise PagletError. Those that write to the directory repeat the write until its outcome is known, and raise
    ConflictError when somebody else changed the row; `reconcile` then finds out whose the paglet is.
    """

    def __init__(self, parts: HostParts, residents: Residents, resident: Resident, journey: Journey) -> None:
        self.resident = resident
        self.journey = journey
        self._parts = parts
        self._residents = residents

    async def quiesce(self) -> None:
        """Step 1, what can be undone by doing nothing: ends all activity. If it raises, everything goes on."""
        resident = self.resident
        next_state(resident.paglet_id, resident.row.state, LifecycleEvent.DEPART)
        point("journey.quiesce.before")
        with self.journey.patience.keeping_time():
            await resident.quiet(self.journey.patience.limit(self._parts.settings.quiesce_s))

    async def freeze(self) -> None:
        """The rest of step 1: the last turn, and the record by which a restart knows of the journey."""
        resident, journey = self.resident, self.journey
        with self.journey.patience.keeping_time():
            await self._last_turn()
            self.journey.patience.require_time()
        files = tuple(file for _, file in sorted(resident.files.items()))
        await off_loop(require_all_unchanged, files)
        journey.departure = replace(journey.departure, files=files, came_from=resident.row.state)
        await self._parts.journal.put_departure(journey.departure, journey.own_request)
        if resident.own_request == journey.own_request:
            resident.own_request = None
        point("journey.quiesce.after")

    async def _last_turn(self) -> None:
        departure, resident = self.journey.departure, self.resident
        reason = "retract" if departure.retracted else "dispatch"
        event = MobilityEvent(self._parts.name, departure.target, departure.transfer_id, reason=reason)

        async def on_dispatching() -> None:
            await resident.runner.invoke(resident.paglet.on_dispatching, event)
            await resident.clean_up()

        async with hook_limits("on_dispatching", self.journey.patience.limit(self._parts.settings.quiesce_s)):
            await resident.activities.hook(on_dispatching)

    async def intend(self) -> None:
        """Step 2: from here nobody but this journey changes the owner, whatever is restarted."""
        row, departure = self.resident.row, self.journey.departure
        intent = Intent(departure.transfer_id, departure.target)
        state = next_state(row.paglet_id, row.state, LifecycleEvent.DEPART)
        point("journey.intent.before")
        wanted = replace(row, state=state, intent=intent)
        self.resident.row = await settle_write(
            self._parts.directory, Guard.on(row), wanted, cause=LifecycleEvent.DEPART
        )
        point("journey.intent.after")

    async def push(self) -> None:
        """Steps 3 to 5: brings the paglet to its target. Raises what the target, or the way to it, refuses with."""
        events = await self.resident.runner.events.all()
        snapshot = snapshot_of(self.resident, events).SerializeToString(deterministic=True)
        manifest = manifest_of(self.journey.departure, self.resident, self._parts.name)
        await push_paglet(self._parts, self.journey, manifest, snapshot)

    async def is_sealed(self) -> bool:
        """Whether the target has everything, as far as it says."""
        return await is_sealed(self._parts, self.journey.departure)

    async def commit(self) -> None:
        """Step 6, the only one that decides; then the resident is let go."""
        row, journey, departure = self.resident.row, self.journey, self.journey.departure
        journey.phase = JourneyPhase.COMMIT
        state = next_state(row.paglet_id, row.state, LifecycleEvent.COMMIT)
        wanted = replace(row, owner=departure.target, state=state, intent=None, epoch=row.epoch + 1, error="")
        record = JourneyRecord(
            transfer_id=departure.transfer_id,
            paglet_id=row.paglet_id,
            source=self._parts.name,
            target=departure.target,
            state=PagletState.ARRIVING,
        )
        point("journey.commit.before")
        async with self._parts.work.leaving(row.paglet_id):
            try:
                await settle_write(
                    self._parts.directory, Guard.on(row), wanted, cause=LifecycleEvent.COMMIT, journeys=(record,)
                )
            except ConflictError:
                # The reply of a commit may be lost, and the row be changed by the target before it is asked for again.
                if await until_reached(lambda: self._parts.directory.journey(departure.transfer_id)) is None:
                    raise
        point("journey.commit.after")
        self._residents.remove(self.resident)
        journey.resident = None
        journey.committed.set()
        self.resident.leave()
        if departure.target != self._parts.name:  # else the paglet, which may be here by now, sends by the same outbox
            self.resident.outbox.abandon()

    async def abort(self) -> None:
        """The way back from step 2 or later: takes the intent away, raising the epoch. The paglet stays frozen."""
        row = self.resident.row
        point("journey.abort.before")
        had_failed = self.journey.departure.came_from is PagletState.FAILED
        event = LifecycleEvent.FAIL if had_failed else LifecycleEvent.ABORT
        state = next_state(row.paglet_id, PagletState.DEPARTING, event)
        wanted = replace(row, state=state, intent=None, epoch=row.epoch + 1)
        self.resident.row = await settle_write(self._parts.directory, Guard.on(row), wanted, cause=LifecycleEvent.ABORT)
        point("journey.abort.directory")
        await self._parts.journal.end_departure(self.journey.departure, left=False, epoch=self.resident.row.epoch)
        point("journey.abort.after")

    async def tell_aborted(self) -> None:
        """Tells the target, so that it frees what it keeps at once; it would find out by itself."""
        departure = self.journey.departure
        try:
            peer = await self._parts.peers.transfer(departure.target)
            await peer.abort(departure.transfer_id, _PEER_S)
        except PagletError as error:
            _log.info("host %s was not told of the aborted transfer: %s", departure.target, error)

    async def reconcile(self, fenced: ConflictError) -> bool:
        """Reads the row that somebody else changed: whether the paglet is this host's still, as after a late abort.

        If it is, it stays frozen, with the row as it is now. If not, the resident is let go.
        """
        resident, departure, directory = self.resident, self.journey.departure, self._parts.directory
        row = await until_reached(lambda: directory.get(departure.paglet_id))
        if row is not None and row.owner == self._parts.name and row.state is departure.came_from:
            resident.row = row
            await self._parts.journal.end_departure(departure, left=False, epoch=row.epoch)
            return True
        _log.error("paglet %s was taken from this host during a journey: %s", resident.paglet_id, fenced)
        if row is not None:
            await self._parts.work.drop(resident.paglet_id)
        self._residents.remove(resident)
        resident.leave()
        resident.outbox.abandon()
        if row is not None:  # a directory that has lost its rows says nothing about who has the paglet
            await self._parts.journal.end_departure(departure, left=True)
        return False
