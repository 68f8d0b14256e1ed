"""A paglet at rest as messages, and back: what a journey carries beside the bytes of files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from paglet.v1 import transfer_pb2
from paglets.core.cursor_events import CursorEvent
from paglets.core.turn import OwnAction, OwnRequest
from paglets.errors import InvalidArgumentError
from paglets.host.event_snapshot import events_to_messages
from paglets.host.files import RegisteredFile
from paglets.host.post_snapshot import outgoing_to_messages, posts_to_messages
from paglets.host.records import Departure, StoredReply
from paglets.host.resident import Resident
from paglets.values import PagletFileRef
from paglets.wire.digest import digest_from_message, digest_to_message
from paglets.wire.files import file_mode_from_message, file_mode_to_message
from paglets.wire.policy import policy_from_message, policy_to_message
from paglets.wire.ticket import ticket_from_message, ticket_to_message

__all__ = [
    "delivered_file",
    "file_artifact",
    "manifest_of",
    "offered_files",
    "own_request_of",
    "replies_of",
    "snapshot_of",
]


_ACTIONS = {action: transfer_pb2.OwnAction.Value(f"OWN_ACTION_{action.name}") for action in OwnAction}
_ACTIONS_BACK = {number: action for action, number in _ACTIONS.items()}


def file_artifact(transfer_id: str, index: int) -> str:
    """The id under which file number `index` of a transfer is pushed."""
    return f"{transfer_id}-{index}"


def snapshot_of(resident: Resident, events: Sequence[CursorEvent]) -> transfer_pb2.Snapshot:
    """State, stored outcomes, unfulfilled request, posts and last events of a paglet whose gate is closed."""
    cell = resident.runner.cell
    replies = [
        transfer_pb2.KeptReply(
            principal=kept.principal,
            request_id=kept.request_id,
            fingerprint=kept.fingerprint,
            create_ms=kept.create_ms,
            reply=kept.reply,
            status=kept.status,
            dropped=kept.dropped,
        )
        for kept in resident.book.all()
    ]
    wanted = resident.own_request
    return transfer_pb2.Snapshot(
        state=cell.latest,
        state_version=cell.codec.version,
        replies=replies,
        own_request=None if wanted is None else _own_request_to_message(wanted),
        posts=posts_to_messages(resident.box.all()),
        outgoing=outgoing_to_messages(resident.outbox.all()),
        events=events_to_messages(events),
    )


def own_request_of(snapshot: transfer_pb2.Snapshot) -> OwnRequest | None:
    """What the paglet of a snapshot asked to be done with itself, and was not done yet. Raises MALFORMED_REQUEST."""
    if not snapshot.HasField("own_request"):
        return None
    wanted = snapshot.own_request
    action = _ACTIONS_BACK.get(wanted.action)
    if action is None:
        raise InvalidArgumentError("MALFORMED_REQUEST", f"unknown own request {wanted.action}", field="own_request")
    policy = policy_from_message(wanted.policy, "own_request.policy") if wanted.HasField("policy") else None
    ticket = ticket_from_message(wanted.ticket, "own_request.ticket") if wanted.HasField("ticket") else None
    return OwnRequest(action, wanted.target, policy, ticket, wanted.request_id)


def _own_request_to_message(wanted: OwnRequest) -> transfer_pb2.OwnRequest:
    policy = None if wanted.policy is None else policy_to_message(wanted.policy)
    ticket = None if wanted.ticket is None else ticket_to_message(wanted.ticket)
    return transfer_pb2.OwnRequest(
        target=wanted.target,
        action=_ACTIONS[wanted.action],
        policy=policy,
        ticket=ticket,
        request_id=wanted.request_id,
    )


def replies_of(snapshot: transfer_pb2.Snapshot) -> list[StoredReply]:
    """The stored outcomes that a snapshot carries."""
    return [
        StoredReply(
            principal=kept.principal,
            request_id=kept.request_id,
            fingerprint=kept.fingerprint,
            create_ms=kept.create_ms,
            reply=kept.reply,
            status=kept.status,
            dropped=kept.dropped,
        )
        for kept in snapshot.replies
    ]


def manifest_of(departure: Departure, resident: Resident, source: str) -> transfer_pb2.Manifest:
    """What a journey consists of."""
    return transfer_pb2.Manifest(
        transfer_id=departure.transfer_id,
        paglet_id=departure.paglet_id,
        type=resident.row.type,
        state_version=resident.runner.cell.codec.version,
        epoch=departure.epoch,
        source=source,
        target=departure.target,
        request_id="" if departure.clone_of else departure.request_id,  # its outcome is not the clone's to keep
        principal=departure.principal,
        fingerprint=departure.fingerprint,
        files=[_file_message(file) for file in departure.files],
        ticket=ticket_to_message(departure.ticket),
        retracted=departure.retracted,
        clone_of=departure.clone_of,
    )


def _file_message(file: RegisteredFile) -> transfer_pb2.TransferFile:
    return transfer_pb2.TransferFile(
        name=file.name,
        mode=file_mode_to_message(file.mode),
        digest=digest_to_message(file.content),
        origin_host=file.origin_host,
        origin_path=file.origin_path,
        modified_ns=file.modified_ns,
        created_ns=file.created_ns,
    )


def delivered_file(message: transfer_pb2.TransferFile, artifact_id: str, path: Path) -> RegisteredFile:
    """A registration at the target, its bytes being an artifact of the target's store."""
    digest = digest_from_message(message.digest)
    return RegisteredFile(
        name=message.name,
        mode=file_mode_from_message(message.mode, "manifest.files.mode"),
        path=str(path),
        digest=digest.value,
        size_bytes=digest.size_bytes,
        origin_host=message.origin_host,
        origin_path=message.origin_path,
        modified_ns=message.modified_ns,
        created_ns=message.created_ns,
        artifact_id=artifact_id,
    )


def offered_files(manifest: transfer_pb2.Manifest) -> tuple[PagletFileRef, ...]:
    """The files of an offer as the paglet sees them: nowhere yet."""
    return tuple(
        delivered_file(message, file_artifact(manifest.transfer_id, index), Path()).ref
        for index, message in enumerate(manifest.files)
    )
