"""An offer of a paglet: what it consists of, whether it is taken, and what is missing of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

from paglet.v1 import transfer_pb2
from paglets.core.paglet import Paglet
from paglets.core.turn import StateCell
from paglets.errors import (
    ConflictError,
    DataLossError,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    PreconditionError,
    Resource,
)
from paglets.host.journey import Outcome
from paglets.host.parts import HostParts
from paglets.host.records import Arrival
from paglets.host.runner import attempt
from paglets.host.settle import until_reached
from paglets.host.snapshot import file_artifact, offered_files
from paglets.values import PagletFileRef, TransferTicket, check_id
from paglets.wire.digest import digest_from_message
from paglets.wire.ticket import ticket_from_message

__all__ = [
    "Incoming",
    "admit",
    "check_manifest",
    "missing_blobs",
    "pushed_snapshot",
    "require_intent",
    "require_later",
    "snapshot_artifact",
]


@dataclass(eq=False, slots=True)
class Incoming:
    """One transfer to this host. `ended` holds the outcome of its arrival, or why it was dropped.

    Of one whose offer `was_inline` no artifact holds the snapshot; a restart does not know that any more.
    """

    manifest: transfer_pb2.Manifest
    kept: Arrival
    was_inline: bool = False
    ended: asyncio.Future[Outcome] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    arriving: bool = False
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def transfer_id(self) -> str:
        """The transfer's id."""
        return self.manifest.transfer_id

    @property
    def ticket(self) -> TransferTicket:
        """What the move asks for."""
        return ticket_from_message(self.manifest.ticket, "manifest.ticket")

    def blobs(self) -> list[tuple[str, transfer_pb2.TransferFile]]:
        """The files, each with the id of the artifact it is pushed as."""
        return [(file_artifact(self.transfer_id, index), file) for index, file in enumerate(self.manifest.files)]


class _Target:
    """This host, as far as `check_arrival` may look at it."""

    def __init__(self, parts: HostParts, manifest: transfer_pb2.Manifest) -> None:
        self._parts = parts
        self._files = offered_files(manifest)

    @property
    def host(self) -> str:
        """The host's name."""
        return self._parts.name

    @property
    def files(self) -> tuple[PagletFileRef, ...]:
        """The files that would come along."""
        return self._files

    def resolve_destination(self, destination: str, source_name: str) -> Path:
        """A file to write, below the file roots."""
        return self._parts.roots.destination(destination, source_name)


def check_manifest(parts: HostParts, manifest: transfer_pb2.Manifest) -> None:
    """Refuses an offer that is malformed, for another host, or of a type or state version that this host lacks.

    Raises INVALID_ID, MALFORMED_REQUEST, TYPE_NOT_ALLOWED, STATE_VERSION_UNSUPPORTED, the last also for another version
    than the ticket asks for.
    """
    check_id(manifest.transfer_id, "manifest.transfer_id")
    check_id(manifest.paglet_id, "manifest.paglet_id")
    if manifest.target != parts.name:
        raise InvalidArgumentError(
            "MALFORMED_REQUEST",
            f"the offer is for host {manifest.target!r}, this is {parts.name}",
            field="manifest.target",
        )
    offered_files(manifest)
    ticket = ticket_from_message(manifest.ticket, "manifest.ticket")
    paglet_type = parts.registry.get(manifest.type)
    _require_readable(paglet_type, manifest.type, manifest.state_version)
    if ticket.state_version not in {0, paglet_type.codec.version}:
        raise PreconditionError(
            "STATE_VERSION_UNSUPPORTED",
            f"the ticket asks for version {ticket.state_version} of the state of {manifest.type}, host {parts.name} has"
            f" version {paglet_type.codec.version}",
            metadata={
                "type": manifest.type,
                "found": str(ticket.state_version),
                "supported": str(paglet_type.codec.version),
            },
        )


def _require_readable(paglet_type: type[Paglet[Any]], name: str, state_version: int) -> None:
    try:
        paglet_type.codec.require_readable(state_version)
    except PreconditionError as error:
        metadata = {**error.metadata, "type": name}
        raise PreconditionError(error.reason, error.message, resource=error.resource, metadata=metadata) from error


async def require_intent(parts: HostParts, manifest: transfer_pb2.Manifest) -> None:
    """Raises EPOCH_FENCED unless the directory backs the offer: one of a journey given up leaves nothing here.

    A directory that does not answer is asked until the source gives up: it has just heard from it.
    """
    row = await until_reached(lambda: parts.directory.get(manifest.paglet_id))
    if row is None or row.intent is None or row.intent.transfer_id != manifest.transfer_id:
        raise ConflictError(
            "EPOCH_FENCED",
            f"the directory has no intent to move paglet {manifest.paglet_id} by transfer {manifest.transfer_id}",
            resource=Resource("paglet", manifest.paglet_id),
        )


async def require_later(parts: HostParts, manifest: transfer_pb2.Manifest) -> None:
    """Refuses what would replace a paglet that is kept here with a later epoch. Raises ARRIVAL_REFUSED.

    A directory that has lost its rows lets ids be used again that hosts have paglets of.
    """
    kept = await parts.journal.paglet(manifest.paglet_id)
    if kept is not None and kept.epoch > manifest.epoch:
        raise PreconditionError(
            "ARRIVAL_REFUSED",
            f"host {parts.name} keeps paglet {kept.paglet_id} with epoch {kept.epoch}, the one that is to come has"
            f" {manifest.epoch}: the directory has lost its rows; rebuild them",
            resource=Resource("paglet", kept.paglet_id),
        )


async def admit(parts: HostParts, manifest: transfer_pb2.Manifest, data: bytes) -> None:
    """Asks type, state and the paglet's own check, in a thread for its disk. Raises what they refuse with."""
    paglet_type = parts.registry.get(manifest.type)
    try:
        snapshot = transfer_pb2.Snapshot.FromString(data)
    except DecodeError as error:
        raise InvalidArgumentError("MALFORMED_REQUEST", "the snapshot is no Snapshot", field="snapshot") from error
    _require_readable(paglet_type, manifest.type, snapshot.state_version)
    state = paglet_type.codec.load(snapshot.state, snapshot.state_version)
    cell = StateCell(paglet_type.codec, state, parts.state_limit(paglet_type))
    cell.check_size(cell.latest)

    checked = parts.pool.run(paglet_type.check_arrival, state, _Target(parts, manifest), abandon_on_cancel=True)
    try:
        await attempt(checked, f"check_arrival of {manifest.type}")
    except InternalError as error:
        raise PreconditionError("ARRIVAL_REFUSED", error.message, metadata=error.metadata) from error


async def missing_blobs(parts: HostParts, incoming: Incoming) -> list[transfer_pb2.MissingBlob]:
    """The files whose bytes are not here yet. Raises STORED_BLOB_CORRUPT for other bytes under the id of some."""
    wanted = dict(incoming.blobs())
    here = await parts.store.stored_files(list(wanted))
    for artifact_id, (ref, _) in here.items():
        if ref.digest != digest_from_message(wanted[artifact_id].digest):
            raise DataLossError(
                "STORED_BLOB_CORRUPT",
                f"artifact {artifact_id} is not the file {wanted[artifact_id].name!r} it was pushed for",
                metadata={"artifact_id": artifact_id},
            )
    return [
        transfer_pb2.MissingBlob(digest=file.digest, artifact_id=artifact_id)
        for artifact_id, file in wanted.items()
        if artifact_id not in here
    ]


def snapshot_artifact(manifest: transfer_pb2.Manifest) -> str:
    """The id under which a large snapshot is pushed."""
    return f"{manifest.transfer_id}-s"


async def pushed_snapshot(parts: HostParts, manifest: transfer_pb2.Manifest) -> bytes:
    """A snapshot that came as a blob. Raises ARRIVAL_REFUSED when it did not come."""
    try:
        async with parts.store.open_reader(snapshot_artifact(manifest)) as reader:
            return b"".join([piece async for piece in reader])
    except NotFoundError as error:
        raise PreconditionError("ARRIVAL_REFUSED", f"transfer {manifest.transfer_id} lacks its snapshot") from error
