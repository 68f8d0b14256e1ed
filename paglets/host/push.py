"""Steps 3 to 5 of a journey: offer the paglet, push what the target lacks, have it sealed."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator

from paglet.v1 import transfer_pb2
from paglets.digest import Digest
from paglets.errors import InvalidArgumentError, PagletError
from paglets.faults import point
from paglets.host.journey import Journey
from paglets.host.parts import HostParts
from paglets.host.push_files import counted, push_files, staged
from paglets.host.records import Departure
from paglets.host.snapshot import file_artifact
from paglets.values import JourneyPhase
from paglets.wire.channel_options import MAX_MESSAGE_BYTES
from paglets.wire.digest import digest_to_message

__all__ = ["is_sealed", "is_unknown", "push_paglet"]

_log = logging.getLogger(__name__)
_PEER_S = 30.0
_LOOK_S = 5.0
_PIECE_BYTES = 1024 * 1024
_INLINE_BYTES = 1280 * 1024  # a state that every turn keeps has 1 MiB at most: most need no artifact


async def push_paglet(parts: HostParts, journey: Journey, manifest: transfer_pb2.Manifest, snapshot: bytes) -> None:
    """Brings a paglet to its target, up to the commit; `snapshot` is its encoded Snapshot.

    Raises what the target, or the way to it, refuses with.
    """
    departure = journey.departure
    peer = await parts.peers.transfer(departure.target)
    journey.phase = JourneyPhase.PREPARE
    request = transfer_pb2.PrepareTransferRequest(manifest=manifest)
    if len(snapshot) <= _INLINE_BYTES:
        request.inline = snapshot
    else:
        request.blob.CopyFrom(digest_to_message(Digest.of(snapshot)))
    _require_fitting(request)
    prepared = await peer.prepare(request, _PEER_S)
    point("journey.prepare.after")

    journey.phase = JourneyPhase.PUSH
    journey.bytes_done = 0
    missing = {blob.artifact_id for blob in prepared.missing}
    journey.bytes_total = sum(blob.digest.size_bytes for blob in prepared.missing)
    files = {file_artifact(departure.transfer_id, index): file for index, file in enumerate(departure.files)}
    await push_files(parts, journey, {each: file for each, file in files.items() if each in missing})
    for artifact_id in missing.difference(files):
        await _push_snapshot(parts, journey, artifact_id, snapshot)
    point("journey.push.after")

    journey.phase = JourneyPhase.SEAL
    if prepared.phase == transfer_pb2.TRANSFER_PHASE_PREPARED:
        await peer.seal(departure.transfer_id, _PEER_S)
    point("journey.seal.after")


def _require_fitting(offer: transfer_pb2.PrepareTransferRequest) -> None:
    """Raises MALFORMED_REQUEST for an offer that no host would be able to receive."""
    size, manifest = offer.ByteSize(), offer.manifest
    if size > MAX_MESSAGE_BYTES:
        raise InvalidArgumentError(
            "MALFORMED_REQUEST",
            f"an offer of paglet {manifest.paglet_id}, with what tells of its {len(manifest.files)} files, has {size}"
            f" bytes and may have {MAX_MESSAGE_BYTES}: register fewer",
            field="files",
        )


async def is_sealed(parts: HostParts, departure: Departure) -> bool:
    """Whether the target says that it has everything; a target that says nothing has not."""
    try:
        peer = await parts.peers.transfer(departure.target)
        return await peer.phase(departure.transfer_id, _LOOK_S) == transfer_pb2.TRANSFER_PHASE_SEALED
    except PagletError as error:
        _log.info("the target of transfer %s does not answer: %s", departure.transfer_id, error)
        return False


async def is_unknown(parts: HostParts, departure: Departure) -> bool:
    """Whether the target says that it has nothing of a transfer; one that says nothing may have."""
    try:
        peer = await parts.peers.transfer(departure.target)
        await peer.phase(departure.transfer_id, _LOOK_S)
    except PagletError as error:
        return error.reason == "TRANSFER_NOT_FOUND"
    return False


async def _push_snapshot(parts: HostParts, journey: Journey, artifact_id: str, snapshot: bytes) -> None:
    store = await parts.peers.store(journey.departure.target)
    write = staged(journey, artifact_id, Digest.of(snapshot), "snapshot")
    await store.create_from_chunks(write, _pieces(snapshot), progress=counted(journey))


async def _pieces(data: bytes) -> AsyncGenerator[bytes]:
    """Bytes in parts, each of which fits into a message."""
    for start in range(0, len(data), _PIECE_BYTES):
        yield data[start : start + _PIECE_BYTES]
