"""The steps of a clone at its original's host: copy, intend, push, commit, and abort, which is the way back.

Each is durable before the next begins. The clone has a row of its own from step to step, of this host until the commit,
which is the change of its owner. The original has nothing to do with it once it is copied.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from google.protobuf.any_pb2 import Any as AnyMessage

from paglet.v1 import transfer_pb2
from paglets.core.events import CloneEvent
from paglets.core.lifecycle import LifecycleEvent, next_state
from paglets.directory.contract import Guard, Intent, JourneyRecord, PagletRow
from paglets.errors import ConflictError
from paglets.faults import point
from paglets.host.activities import hook_limits
from paglets.host.disposal import Disposal
from paglets.host.journey import Journey
from paglets.host.parts import HostParts
from paglets.host.push import push_paglet
from paglets.host.resident import Resident
from paglets.host.settle import settle_write, until_reached
from paglets.host.snapshot import manifest_of
from paglets.values import FileMode, JourneyPhase, PagletState

__all__ = ["CLONE_POINTS", "Cloning", "commit_clone", "withdraw_clone"]

CLONE_POINTS = (
    "clone.journal.before",
    "clone.intent.before",
    "clone.intent.after",
    "clone.commit.before",
    "clone.commit.after",
    "clone.forget.before",
    "clone.forget.after",
    "clone.abort.before",
    "clone.abort.directory",
    "clone.abort.after",
)
"""The named points of a clone at its original's host, in the order of its steps; `abort` is the way back.

Between intent and commit lie those of a journey's steps 3 to 5.
"""


@dataclass(eq=False, slots=True)
class Cloning:
    """One clone on its way out; `row` is the clone's, as this host last wrote it.

    `tombstone` is that of a clone of the same id which was given up, `parameters` what the clone is told.
    """

    parts: HostParts
    journey: Journey
    row: PagletRow
    tombstone: PagletRow | None
    parameters: AnyMessage | None
    manifest: transfer_pb2.Manifest = field(default_factory=transfer_pb2.Manifest)
    snapshot: bytes = b""

    async def copy(self, original: Resident) -> None:
        """Step 1: a turn of the original, and what it leaves behind. The original then goes on.

        Whoever takes it holds the original's `life`. Raises HOOK_FAILED, QUIESCE_TIMEOUT, or as the hook refuses it.
        """
        departure, quiesce_s = self.journey.departure, self.parts.settings.quiesce_s
        next_state(original.paglet_id, original.row.state, LifecycleEvent.CLONE)
        event = CloneEvent(original.paglet_id, departure.paglet_id, self.parts.name, departure.target)
        with self.journey.patience.keeping_time():
            async with hook_limits("on_cloning", self.journey.patience.limit(quiesce_s)):
                ticket = await original.gate.enter(own=True)
                try:
                    await original.activities.hook(original.paglet.on_cloning, event)
                    self._take(original)
                finally:
                    original.gate.leave(ticket)

    def _take(self, original: Resident) -> None:
        cell = original.runner.cell
        files = tuple(replace(file, mode=FileMode.COPY) for _, file in sorted(original.files.items()))
        self.journey.departure = replace(self.journey.departure, files=files)
        self.snapshot = transfer_pb2.Snapshot(state=cell.latest, state_version=cell.codec.version).SerializeToString(
            deterministic=True
        )
        self.manifest = manifest_of(self.journey.departure, original, self.parts.name)
        if self.parameters is not None:
            self.manifest.clone_parameters.CopyFrom(self.parameters)

    async def intend(self) -> None:
        """Step 2: the clone's row, which bears the intent from the first. Raises EPOCH_FENCED when there is another."""
        departure = self.journey.departure
        point("clone.journal.before")
        await self.parts.journal.put_departure(departure)
        point("clone.intent.before")
        wanted = replace(self.row, intent=Intent(departure.transfer_id, departure.target))
        guard = Guard.after(self.row.paglet_id, self.tombstone)
        self.row = await settle_write(self.parts.directory, guard, wanted, cause=LifecycleEvent.CLONE)
        point("clone.intent.after")
        self.journey.departure = replace(departure, epoch=self.row.epoch)
        self.manifest.epoch = self.row.epoch

    async def push(self) -> None:
        """Steps 3 to 5: brings the copy to its target. Raises what the target, or the way to it, refuses with."""
        await push_paglet(self.parts, self.journey, self.manifest, self.snapshot)


async def commit_clone(parts: HostParts, journey: Journey, row: PagletRow) -> None:
    """Step 6, the only one that decides. Raises EPOCH_FENCED when somebody else has changed the clone's row."""
    departure = journey.departure
    journey.phase = JourneyPhase.COMMIT
    state = next_state(row.paglet_id, row.state, LifecycleEvent.COMMIT)
    wanted = replace(row, owner=departure.target, state=state, intent=None, epoch=row.epoch + 1)
    record = JourneyRecord(
        transfer_id=departure.transfer_id,
        paglet_id=row.paglet_id,
        source=parts.name,
        target=departure.target,
        state=PagletState.ARRIVING,
    )
    point("clone.commit.before")
    try:
        await settle_write(parts.directory, Guard.on(row), wanted, cause=LifecycleEvent.COMMIT, journeys=(record,))
    except ConflictError:
        # The reply of a commit may be lost, and the row be changed by the target before it is asked for again.
        if await until_reached(lambda: parts.directory.journey(departure.transfer_id)) is None:
            raise
    point("clone.commit.after")


async def withdraw_clone(parts: HostParts, row: PagletRow, disposal: Disposal | None = None) -> PagletRow:
    """The way back from step 2 or later: the clone's row becomes a tombstone, and what was staged goes with its owner.

    By a `disposal` there will never be a clone by its request. Raises EPOCH_FENCED when somebody else has changed the
    row.
    """
    point("clone.abort.before")
    if disposal is None:
        cause = LifecycleEvent.ABORT
        state = next_state(row.paglet_id, row.state, cause)
        wanted = replace(row, state=state, intent=None, epoch=row.epoch + 1)
    else:
        cause = LifecycleEvent.DISPOSE
        wanted = disposal.tombstone(row)
    tombstone = await settle_write(parts.directory, Guard.on(row), wanted, cause=cause)
    point("clone.abort.directory")
    return tombstone
