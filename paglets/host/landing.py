"""The last step of a journey at its target: what was sealed becomes a living paglet."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from paglet.v1 import transfer_pb2
from paglets.core.cursor_events import CursorEvent
from paglets.core.events import CloneEvent, MobilityEvent
from paglets.core.lifecycle import LifecycleEvent, next_state
from paglets.core.paglet import Paglet
from paglets.core.turn import Turn
from paglets.directory.contract import Guard, JourneyRecord, PagletRow
from paglets.errors import (
    PagletError,
    PreconditionError,
    Resource,
)
from paglets.faults import point
from paglets.host.activities import hook_limits
from paglets.host.dormant import Dormant
from paglets.host.event_snapshot import events_of
from paglets.host.files import RegisteredFile
from paglets.host.journey import Outcome
from paglets.host.offer import (
    Incoming,
    snapshot_artifact,
)
from paglets.host.parts import HostParts
from paglets.host.post_snapshot import outgoing_of, posts_of
from paglets.host.records import ArrivalPhase, Settled, StoredPaglet
from paglets.host.replies import ReplyBook
from paglets.host.resident import Resident
from paglets.host.residents import Residents, load_state
from paglets.host.settle import settle_write, until_reached
from paglets.host.snapshot import delivered_file, own_request_of, replies_of
from paglets.values import ArrivalMode, DeactivationPolicy, PagletState
from paglets.wire.status import from_status, from_status_bytes, to_status

__all__ = ["Landing"]

_log = logging.getLogger(__name__)
_NOWHERE = str(Path())


class Landing:
    """Lands paglets on one host, once the directory says that they are its own."""

    def __init__(self, parts: HostParts, residents: Residents, dormant: Dormant) -> None:
        self._parts = parts
        self._residents = residents
        self._dormant = dormant

    async def land(self, incoming: Incoming, row: PagletRow) -> None:
        """Step 7: the first turn here, kept with its outcome, told to the directory; then the gate opens."""
        await self._dormant.holds(row.paglet_id)  # nothing of an earlier life of the id may be left
        if incoming.kept.phase == ArrivalPhase.ARRIVED:
            await self._land_again(incoming, row)
            return
        if incoming.ticket.arrival is ArrivalMode.INACTIVE:
            await self._lay_down(incoming, row)
            return
        if incoming.kept.attempt:  # durable before it runs again, so that the hook can tell
            await self._parts.journal.put_arrival(incoming.kept)
        try:
            resident = await self._unpack(incoming, row)
        except PagletError as error:
            await self._keep_unread(incoming, row, error)
            return
        async with resident.life:
            self._residents.add(resident)
            try:
                error, first = await self._live(incoming, resident)
            except BaseException:
                self._residents.remove(resident)
                resident.leave()
                await resident.let_go(self._parts.settings.quiesce_s)
                raise
            resident.open(first)
        await self._finish(incoming, error)

    async def _live(self, incoming: Incoming, resident: Resident) -> tuple[PagletError | None, Turn[Any] | None]:
        """The first turn, durable here and known to the directory; its error, and the turn that counts."""
        point("arrival.turn.before")
        error, first = await self._first_turn(incoming, resident)
        if first is not None:
            resident.own_request = first.request or resident.own_request
            resident.outbox.add(first.posts)
        point("arrival.turn.after")
        await self._settle(incoming, resident, error, () if first is None else first.events)
        point("arrival.settle.after")
        await self._record(incoming, resident, error)
        return error, first

    async def _unpack(self, incoming: Incoming, row: PagletRow) -> Resident:
        snapshot = transfer_pb2.Snapshot.FromString(incoming.kept.snapshot)
        paglet_type = self._parts.registry.get(row.type)
        state = await load_state(paglet_type, snapshot.state, snapshot.state_version)
        files = await self._files(incoming)
        resident = self._residents.build(
            row,
            paglet_type,
            state,
            replies_of(snapshot),
            files,
            posts_of(snapshot),
            outgoing_of(snapshot),
            last_event=max((event.cursor for event in snapshot.events), default=0),
        )
        resident.own_request = own_request_of(snapshot)
        return resident

    async def _lay_down(self, incoming: Incoming, row: PagletRow) -> None:
        """Keeps what was sealed as it came, to rest here: no hook is run, `on_activation` will be its first turn."""
        async with self._dormant.lock(row.paglet_id):  # its time may have come, but not before the directory knows
            await self._keep_as_it_came(incoming, row, policy=_policy(incoming))
            point("arrival.settle.after")
            await self._record_rest(incoming, row)
        await self._finish(incoming, None)

    async def _record_rest(self, incoming: Incoming, row: PagletRow) -> None:
        """Tells the directory that the paglet rests here."""
        state = next_state(row.paglet_id, row.state, LifecycleEvent.DEACTIVATE)
        record = self._outcome_record(incoming, state, b"")
        wanted = replace(row, state=state, error="")
        await settle_write(
            self._parts.directory, Guard.on(row), wanted, cause=LifecycleEvent.DEACTIVATE, journeys=(record,)
        )
        self._dormant.add(row.paglet_id)
        self._dormant.wake_for_posts(row.paglet_id)
        await self._send_on(row.paglet_id)
        point("arrival.record.after")

    async def _send_on(self, paglet_id: str) -> None:
        """Sends what a paglet that is not awake has posted, and brought along."""
        (await self._residents.outboxes.load(paglet_id)).begin()

    async def _keep_unread(self, incoming: Incoming, row: PagletRow, error: PagletError) -> None:
        """What was sealed cannot be read after all: its bytes are kept as they came, for when they can be."""
        failed = self._failure(incoming, error)
        await self._keep_as_it_came(incoming, row, status=to_status(failed).SerializeToString())
        await self._quarantine(incoming, row, error)
        await self._finish(incoming, failed)

    async def _keep_as_it_came(
        self, incoming: Incoming, row: PagletRow, *, status: bytes = b"", policy: DeactivationPolicy | None = None
    ) -> None:
        """Keeps what was sealed, unread, in one step: with what went wrong, or with what is to bring it back."""
        snapshot = transfer_pb2.Snapshot.FromString(incoming.kept.snapshot)
        paglet = StoredPaglet(
            paglet_id=row.paglet_id,
            type=row.type,
            epoch=row.epoch,
            state=snapshot.state,
            state_version=snapshot.state_version,
        )
        files = await self._files_that_are_there(incoming)
        kept = replace(incoming.kept, phase=ArrivalPhase.ARRIVED, snapshot=b"", status=status)
        book = self._residents.book(row.paglet_id, replies_of(snapshot))
        self._keep_outcome(incoming, book, status)
        settled = Settled(
            arrival=kept,
            paglet=paglet,
            replies=book.all(),
            files=files,
            own_request=own_request_of(snapshot),
            posts=posts_of(snapshot),
            policy=policy,
            outgoing=self._residents.outboxes.open(row.paglet_id, outgoing_of(snapshot)).all(),
            events=events_of(snapshot),
        )
        await self._parts.journal.settle_arrival(settled)
        incoming.kept = kept

    def _keep_outcome(self, incoming: Incoming, book: ReplyBook, status: bytes) -> None:
        """The move's request has run, if it has an id: how it ended is kept where the paglet is."""
        manifest = incoming.manifest
        if manifest.request_id:
            key = (manifest.principal, manifest.request_id)
            book.add(book.make(key, manifest.fingerprint, status=status))

    async def _quarantine(self, incoming: Incoming, row: PagletRow, error: PagletError) -> None:
        """Tells the directory that the paglet is here and answers nothing."""
        _log.error("paglet %s arrived and cannot be read: %s", row.paglet_id, error)
        state = next_state(row.paglet_id, row.state, LifecycleEvent.QUARANTINE)
        status = to_status(self._failure(incoming, error)).SerializeToString()
        record = self._outcome_record(incoming, PagletState.FAILED, status)
        wanted = replace(row, state=state, error=to_status(error).message)
        await settle_write(
            self._parts.directory, Guard.on(row), wanted, cause=LifecycleEvent.QUARANTINE, journeys=(record,)
        )
        await self._send_on(row.paglet_id)

    async def _files(self, incoming: Incoming) -> list[RegisteredFile]:
        """The registrations of what came. Raises ARTIFACT_NOT_FOUND if somebody deleted a file's bytes meanwhile."""
        files = await self._files_that_are_there(incoming)
        for file in files:
            if file.path == _NOWHERE:
                await self._parts.store.blob_path(file.artifact_id)
        return files

    async def _files_that_are_there(self, incoming: Incoming) -> list[RegisteredFile]:
        """The registrations of what came, also of files whose bytes somebody deleted meanwhile."""
        blobs = incoming.blobs()
        here = await self._parts.store.stored_files([artifact_id for artifact_id, _ in blobs])
        return [delivered_file(file, each, here[each][1] or Path() if each in here else Path()) for each, file in blobs]

    async def _first_turn(self, incoming: Incoming, resident: Resident) -> tuple[PagletError | None, Turn[Any] | None]:
        """Runs on_arrival, or on_clone; when that fails, rolls it back and tells the paglet.

        The error that is returned is as it can be told: every host has to take it, whatever an author put into it.
        """
        manifest, paglet = incoming.manifest, resident.paglet
        hook, event = _arrival_hook(incoming, paglet)
        name = "on_clone" if manifest.clone_of else "on_arrival"
        try:
            return None, await resident.in_haste(lambda: resident.activities.first_hook(hook, event), name)
        except PagletError as failed:
            error = failed
        told = from_status(to_status(error))
        try:
            async with hook_limits("on_arrival_failed", self._parts.settings.quiesce_s):
                return told, await resident.activities.first_hook(paglet.on_arrival_failed, error)
        except PagletError as failed:
            _log.error("on_arrival_failed of paglet %s failed: %s", manifest.paglet_id, failed)
            return told, None

    async def _settle(
        self, incoming: Incoming, resident: Resident, error: PagletError | None, said: Sequence[CursorEvent]
    ) -> None:
        """Keeps the paglet, what moved with it, how its first turn ended and what it said there, in one step."""
        brought = events_of(transfer_pb2.Snapshot.FromString(incoming.kept.snapshot))
        status = to_status(self._failure(incoming, error)).SerializeToString() if error is not None else b""
        self._keep_outcome(incoming, resident.book, status)
        kept = replace(incoming.kept, phase=ArrivalPhase.ARRIVED, snapshot=b"", status=status)
        files = tuple(resident.files.values())
        settled = Settled(
            arrival=kept,
            paglet=resident.stored(),
            replies=resident.book.all(),
            files=files,
            own_request=resident.own_request,
            posts=resident.box.all(),
            outgoing=resident.outbox.all(),
            events=(*brought, *said),
        )
        await self._parts.journal.settle_arrival(settled)
        incoming.kept = kept

    def _failure(self, incoming: Incoming, error: PagletError) -> PreconditionError:
        manifest = incoming.manifest
        return PreconditionError(
            "ARRIVAL_FAILED",
            f"paglet {manifest.paglet_id} reached {manifest.target}, but its arrival failed: {error.message}",
            resource=Resource("paglet", manifest.paglet_id),
            metadata={**error.metadata, "host": manifest.target, "cause": error.reason},
        )

    async def _record(self, incoming: Incoming, resident: Resident, error: PagletError | None) -> None:
        """Tells the directory how the arrival ended."""
        row = resident.row
        cause = LifecycleEvent.FAIL if error else LifecycleEvent.ARRIVE
        state = next_state(row.paglet_id, row.state, cause)
        record = self._outcome_record(incoming, state, incoming.kept.status)
        wanted = replace(row, state=state, error="" if error is None else error.message)
        resident.row = await settle_write(self._parts.directory, Guard.on(row), wanted, cause=cause, journeys=(record,))
        point("arrival.record.after")

    def _outcome_record(self, incoming: Incoming, state: PagletState, status: bytes) -> JourneyRecord:
        manifest = incoming.manifest
        return JourneyRecord(
            transfer_id=manifest.transfer_id,
            paglet_id=manifest.paglet_id,
            source=manifest.source,
            target=manifest.target,
            state=state,
            status=status,
        )

    async def _land_again(self, incoming: Incoming, row: PagletRow) -> None:
        """A restart cut the last steps of an arrival: takes them up again. Told to the directory, they are done.

        What the first turn began beside the turns was cut too, as by any restart, and the paglet is told so.
        """
        error = from_status_bytes(incoming.kept.status) if incoming.kept.status else None
        record = await until_reached(partial(self._parts.directory.journey, incoming.transfer_id))
        is_this_one = record is not None and record.state is PagletState.ARRIVING
        is_unsaid = row.state is PagletState.ARRIVING and row.owner == self._parts.name and is_this_one
        if is_unsaid and error is None and incoming.ticket.arrival is ArrivalMode.INACTIVE:
            async with self._dormant.lock(row.paglet_id):
                await self._record_rest(incoming, row)
        elif is_unsaid:
            try:
                resident = await self._residents.load(row)
            except PagletError as unread:
                await self._quarantine(incoming, row, unread)
                await self._finish(incoming, unread)
                return
            async with resident.life:
                self._residents.add(resident)
                await self._record(incoming, resident, error)
                await resident.activate(self._parts.settings.quiesce_s)
                resident.open()
        elif row.state is PagletState.INACTIVE and row.owner == self._parts.name:
            self._dormant.add(row.paglet_id)  # that it rests here was told by the life before
        await self._finish(incoming, error)

    async def _finish(self, incoming: Incoming, error: PagletError | None) -> None:
        if error is not None and error.reason != "ARRIVAL_FAILED":
            error = self._failure(incoming, error)
        arrived = PagletState(incoming.ticket.arrival.value)
        outcome = Outcome(arrived if error is None else PagletState.FAILED, error)
        if not incoming.ended.done():
            incoming.ended.set_result(outcome)
        if not incoming.was_inline:
            await self._parts.store.delete(snapshot_artifact(incoming.manifest))
        await self._parts.journal.drop_arrival(incoming.transfer_id)


def _policy(incoming: Incoming) -> DeactivationPolicy:
    """What is to bring a paglet back that arrives at rest."""
    return incoming.ticket.policy or DeactivationPolicy()


def _arrival_hook(incoming: Incoming, paglet: Paglet[Any]) -> tuple[Callable[..., Awaitable[None]], object]:
    """The hook that is the first turn here, and what it is told."""
    manifest, attempt = incoming.manifest, incoming.kept.attempt + 1
    source, target = manifest.source, manifest.target
    if manifest.clone_of:
        parameters = manifest.clone_parameters if manifest.HasField("clone_parameters") else None
        return paglet.on_clone, CloneEvent(manifest.clone_of, manifest.paglet_id, source, target, attempt, parameters)
    reason = "retract" if manifest.retracted else "dispatch"
    return paglet.on_arrival, MobilityEvent(source, target, incoming.transfer_id, attempt, reason)
