"""Journeys as their target sees them: an offer is kept, filled, sealed, and becomes a paglet by the directory's word.

The target acts on what it has read in the directory, never on what it was told: a nudge only says when to look. What
was staged is dropped only after a row without the transfer's intent was read.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import replace

from paglet.v1 import transfer_pb2
from paglets.directory.contract import PagletRow
from paglets.errors import (
    ConflictError,
    InvalidArgumentError,
    NotFoundError,
    PagletError,
    PreconditionError,
    Resource,
)
from paglets.faults import point
from paglets.host.dormant import Dormant
from paglets.host.journey import Outcome
from paglets.host.landing import Landing
from paglets.host.offer import (
    Incoming,
    admit,
    check_manifest,
    missing_blobs,
    pushed_snapshot,
    require_intent,
    require_later,
    snapshot_artifact,
)
from paglets.host.parts import HostParts
from paglets.host.records import Arrival, ArrivalPhase
from paglets.host.residents import Residents
from paglets.host.runner import attempt
from paglets.host.settle import until_reached
from paglets.host.tasks import Tasks

__all__ = ["ARRIVAL_POINTS", "Arrivals"]

_log = logging.getLogger(__name__)
_LAND_AGAIN_S = 1.0

ARRIVAL_POINTS = (
    "transfer.prepare.before",
    "transfer.prepare.after",
    "transfer.seal.before",
    "transfer.seal.after",
    "arrival.turn.before",
    "arrival.turn.after",
    "arrival.settle.after",
    "arrival.record.after",
    "arrival.drop.before",
    "arrival.drop.after",
)
"""The named points of a journey's target, in the order of its steps."""


class Arrivals:
    """The journeys of which this host is the target."""

    def __init__(self, parts: HostParts, residents: Residents, dormant: Dormant) -> None:
        self._parts = parts
        self._incoming: dict[str, Incoming] = {}
        self._landing = Landing(parts, residents, dormant)
        self._tasks = Tasks("an arrival")

    def of_paglet(self, paglet_id: str) -> Incoming | None:
        """The transfer that may bring a paglet here, if there is one."""
        return next((found for found in self._incoming.values() if found.manifest.paglet_id == paglet_id), None)

    def under_way(self) -> list[Incoming]:
        """The transfers whose arrival has begun and not ended."""
        return [found for found in self._incoming.values() if found.arriving]

    def clones(self) -> list[Incoming]:
        """The transfers that may bring a clone, and whose arrival has not begun."""
        return [found for found in self._incoming.values() if found.manifest.clone_of and not found.arriving]

    async def close(self, timeout_s: float) -> None:
        """Gives the arrivals time to end; what does not is taken up again when the host is started."""
        await self._tasks.close(timeout_s)

    # What the source asks for.

    async def prepare(self, request: transfer_pb2.PrepareTransferRequest) -> transfer_pb2.PrepareTransferResponse:
        """Keeps an offer durably, or refuses it leaving nothing behind. Says what is missing."""
        manifest = request.manifest
        incoming = self._incoming.get(manifest.transfer_id)
        if incoming is None:
            check_manifest(self._parts, manifest)
            await require_intent(self._parts, manifest)
            await require_later(self._parts, manifest)
            snapshot = request.inline if request.WhichOneof("snapshot") == "inline" else b""
            if snapshot:
                await admit(self._parts, manifest, snapshot)
            elif not request.HasField("blob"):
                raise InvalidArgumentError("MALFORMED_REQUEST", "an offer needs its snapshot", field="snapshot")
            incoming = await self._tasks.shielded(self._keep_offer(manifest, snapshot))
        missing = await missing_blobs(self._parts, incoming)
        if not incoming.kept.snapshot:
            missing.append(transfer_pb2.MissingBlob(digest=request.blob, artifact_id=snapshot_artifact(manifest)))
        return transfer_pb2.PrepareTransferResponse(phase=self.phase(manifest.transfer_id), missing=missing)

    async def _keep_offer(self, manifest: transfer_pb2.Manifest, snapshot: bytes) -> Incoming:
        phase = ArrivalPhase.SEALED if snapshot and not manifest.files else ArrivalPhase.PREPARED
        kept = Arrival(
            transfer_id=manifest.transfer_id,
            phase=phase,
            manifest=manifest.SerializeToString(deterministic=True),
            snapshot=snapshot,
        )
        point("transfer.prepare.before")
        await self._parts.journal.put_arrival(kept)
        point("transfer.prepare.after")
        incoming = self._enter(manifest, kept)
        incoming.was_inline = bool(snapshot)
        self._tasks.start(self.look(incoming))  # the journey may have been given up while this was written
        return incoming

    def _enter(self, manifest: transfer_pb2.Manifest, kept: Arrival) -> Incoming:
        incoming = Incoming(manifest, kept)
        incoming.ended.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        self._incoming[manifest.transfer_id] = incoming
        return incoming

    async def seal(self, transfer_id: str) -> transfer_pb2.TransferPhase.ValueType:
        """Proves that everything is here and durable."""
        incoming = self._require(transfer_id)
        async with incoming.lock:
            if incoming.kept.phase == ArrivalPhase.PREPARED:
                await self._seal(incoming)
        return self.phase(transfer_id)

    async def _seal(self, incoming: Incoming) -> None:
        missing = await missing_blobs(self._parts, incoming)
        if missing:
            names = ", ".join(blob.artifact_id for blob in missing)
            raise PreconditionError("ARRIVAL_REFUSED", f"transfer {incoming.transfer_id} lacks {names}")
        snapshot = incoming.kept.snapshot
        if not snapshot:
            snapshot = await pushed_snapshot(self._parts, incoming.manifest)
            await admit(self._parts, incoming.manifest, snapshot)
        kept = replace(incoming.kept, phase=ArrivalPhase.SEALED, snapshot=snapshot)
        point("transfer.seal.before")
        await self._parts.journal.put_arrival(kept)
        point("transfer.seal.after")
        incoming.kept = kept

    async def nudge(self, transfer_id: str) -> Outcome:
        """Looks whether the paglet is this host's now, and waits for the end of its arrival."""
        incoming = self._require(transfer_id)
        await self.look(incoming)
        if not incoming.arriving and not incoming.ended.done():
            raise ConflictError("EPOCH_FENCED", f"the directory does not know of the commit of transfer {transfer_id}")
        return await asyncio.shield(incoming.ended)

    async def abort(self, transfer_id: str) -> None:
        """Looks whether the transfer is off, and drops what was staged for it then."""
        incoming = self._incoming.get(transfer_id)
        if incoming is not None:
            await self.look(incoming)

    def phase(self, transfer_id: str) -> transfer_pb2.TransferPhase.ValueType:
        """How far a transfer has come."""
        phases = {
            ArrivalPhase.PREPARED: transfer_pb2.TRANSFER_PHASE_PREPARED,
            ArrivalPhase.SEALED: transfer_pb2.TRANSFER_PHASE_SEALED,
            ArrivalPhase.ARRIVED: transfer_pb2.TRANSFER_PHASE_ARRIVED,
        }
        return phases[self._require(transfer_id).kept.phase]

    def _require(self, transfer_id: str) -> Incoming:
        found = self._incoming.get(transfer_id)
        if found is None:
            raise NotFoundError(
                "TRANSFER_NOT_FOUND",
                f"host {self._parts.name} knows of no transfer {transfer_id}",
                resource=Resource("transfer", transfer_id),
            )
        return found

    # What the directory says.

    def row_changed(self, row: PagletRow) -> None:
        """A row changed: looks whether that decides a transfer, or one of an earlier journey of the same paglet."""
        for incoming in list(self._incoming.values()):
            if incoming.manifest.paglet_id == row.paglet_id and not incoming.arriving:
                self._tasks.start(self.look(incoming))

    async def look(self, incoming: Incoming) -> None:
        """Reads the directory: begins the arrival, drops what was staged, or leaves it undecided.

        The row is read first: once it has lost the intent, the record of a commit is there to be found.
        """
        directory = self._parts.directory
        async with incoming.lock:
            if incoming.arriving or incoming.ended.done():
                return
            row = await until_reached(lambda: directory.get(incoming.manifest.paglet_id))
            if row is not None and row.intent is not None and row.intent.transfer_id == incoming.transfer_id:
                return
            if row is None:  # a directory that has lost its rows: what was staged may be all that there is
                return
            record = await until_reached(lambda: directory.journey(incoming.transfer_id))
            arrived = incoming.kept.phase == ArrivalPhase.ARRIVED
            if record is not None or arrived:
                incoming.arriving = True
                self._tasks.start(self._arrive(incoming, row))
            else:
                await self._drop(incoming)

    async def _drop(self, incoming: Incoming) -> None:
        """The transfer is off: frees what was staged for it."""
        point("arrival.drop.before")
        staged = [*(found for found, _ in incoming.blobs()), snapshot_artifact(incoming.manifest)]
        for artifact_id in staged:
            with suppress(ConflictError):  # it is becoming an artifact
                await self._parts.store.cancel_upload(artifact_id)
        await self._parts.store.delete_all(staged)
        await self._parts.journal.drop_arrival(incoming.transfer_id)
        point("arrival.drop.after")
        self._incoming.pop(incoming.transfer_id, None)
        if not incoming.ended.done():
            incoming.ended.set_exception(
                ConflictError("JOURNEY_ABORTED", f"transfer {incoming.transfer_id} was given up by its source")
            )

    async def _arrive(self, incoming: Incoming, row: PagletRow) -> None:
        try:
            await attempt(self._landing.land(incoming, row), f"the arrival of paglet {row.paglet_id}")
        except PagletError as error:
            _log.error("paglet %s has not arrived yet: %s", row.paglet_id, error)
            await self._look_again(incoming)
            return
        self._incoming.pop(incoming.transfer_id, None)

    async def _look_again(self, incoming: Incoming) -> None:
        """An arrival failed for reasons of the host's own, e.g. a full disk: what was sealed is landed anew."""
        await asyncio.sleep(_LAND_AGAIN_S)
        if incoming.kept.phase == ArrivalPhase.SEALED:
            incoming.kept = replace(incoming.kept, attempt=incoming.kept.attempt + 1)
        incoming.arriving = False
        await self.look(incoming)

    # After a restart.

    async def recover(self) -> None:
        """Takes up every transfer that the journal knows of; each is looked at in the background."""
        for kept in await self._parts.journal.arrivals():
            manifest = transfer_pb2.Manifest.FromString(kept.manifest)
            sealed = kept.phase == ArrivalPhase.SEALED
            self._enter(manifest, replace(kept, attempt=kept.attempt + 1) if sealed else kept)
        for incoming in list(self._incoming.values()):
            self._tasks.start(self.look(incoming))
