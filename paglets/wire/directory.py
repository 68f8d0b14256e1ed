"""The directory's values as messages and back, in pairs; what cannot be a value is refused as MALFORMED_REQUEST.

Ids and bounds are not looked at here: the directory itself keeps its rules, whichever door a value came through.
"""

from __future__ import annotations

from paglet.v1 import directory_pb2
from paglets.directory.contract import (
    Guard,
    HostRegistration,
    Intent,
    JourneyRecord,
    PagletRow,
    RowEvent,
    RowNotice,
    RowWrite,
)
from paglets.values import HostRef
from paglets.wire.services import record_from_message, record_to_message
from paglets.wire.states import state_from_message, state_to_message
from paglets.wire.times import time_from_message, time_to_message

__all__ = [
    "event_from_message",
    "event_to_message",
    "guard_from_message",
    "guard_to_message",
    "host_from_row_message",
    "host_to_row_message",
    "journey_from_message",
    "journey_to_message",
    "notice_from_message",
    "notice_to_message",
    "registration_from_message",
    "registration_to_message",
    "row_from_message",
    "row_to_message",
    "row_write_from_message",
    "row_write_to_message",
]


def row_to_message(row: PagletRow) -> directory_pb2.PagletRow:
    """A row as a message."""
    return directory_pb2.PagletRow(
        paglet_id=row.paglet_id,
        type=row.type,
        owner=row.owner,
        epoch=row.epoch,
        state=state_to_message(row.state),
        intent=directory_pb2.Intent(transfer_id=row.intent.transfer_id, target=row.intent.target)
        if row.intent
        else None,
        revision=row.revision,
        request_id=row.request_id,
        fingerprint=row.fingerprint,
        create_time=time_to_message(row.created_at),
        error=row.error,
        earlier_request_id=row.earlier_request_id,
    )


def row_from_message(message: directory_pb2.PagletRow) -> PagletRow:
    """A message as a row."""
    return PagletRow(
        paglet_id=message.paglet_id,
        type=message.type,
        owner=message.owner,
        epoch=message.epoch,
        state=state_from_message(message.state, "row.state"),
        intent=Intent(message.intent.transfer_id, message.intent.target) if message.HasField("intent") else None,
        revision=message.revision,
        request_id=message.request_id,
        fingerprint=message.fingerprint,
        created_at=time_from_message(message.create_time),
        error=message.error,
        earlier_request_id=message.earlier_request_id,
    )


def guard_to_message(guard: Guard) -> directory_pb2.Guard:
    """A guard as a message."""
    return directory_pb2.Guard(
        paglet_id=guard.paglet_id,
        absent=guard.absent,
        owner=guard.owner,
        epoch=guard.epoch,
        transfer_id=guard.transfer_id,
    )


def guard_from_message(message: directory_pb2.Guard) -> Guard:
    """A message as a guard."""
    return Guard(message.paglet_id, message.owner, message.epoch, message.transfer_id, absent=message.absent)


def row_write_to_message(write: RowWrite) -> directory_pb2.RowWrite:
    """A guarded write as a message."""
    return directory_pb2.RowWrite(guard=guard_to_message(write.guard), row=row_to_message(write.row), cause=write.cause)


def row_write_from_message(message: directory_pb2.RowWrite) -> RowWrite:
    """A message as a guarded write."""
    return RowWrite(guard_from_message(message.guard), row_from_message(message.row), message.cause)


def event_to_message(event: RowEvent) -> directory_pb2.RowEvent:
    """An event as a message."""
    return directory_pb2.RowEvent(
        revision=event.revision,
        paglet_id=event.paglet_id,
        type=event.type,
        owner=event.owner,
        former_owner=event.former_owner,
        state=state_to_message(event.state),
        epoch=event.epoch,
        cause=event.cause,
        transfer_id=event.transfer_id,
        target=event.target,
        error=event.error,
        event_time=time_to_message(event.happened_at),
    )


def event_from_message(message: directory_pb2.RowEvent) -> RowEvent:
    """A message as an event."""
    return RowEvent(
        revision=message.revision,
        paglet_id=message.paglet_id,
        type=message.type,
        owner=message.owner,
        former_owner=message.former_owner,
        state=state_from_message(message.state, "event.state"),
        epoch=message.epoch,
        cause=message.cause,
        transfer_id=message.transfer_id,
        target=message.target,
        error=message.error,
        happened_at=time_from_message(message.event_time),
    )


def notice_to_message(notice: RowNotice) -> directory_pb2.WatchEventsResponse:
    """A notice as a message."""
    event = event_to_message(notice.event) if notice.event is not None else None
    return directory_pb2.WatchEventsResponse(cursor=notice.cursor, revision=notice.revision, event=event)


def notice_from_message(message: directory_pb2.WatchEventsResponse) -> RowNotice:
    """A message as a notice."""
    event = event_from_message(message.event) if message.HasField("event") else None
    return RowNotice(message.cursor, message.revision, event)


def journey_to_message(record: JourneyRecord) -> directory_pb2.JourneyRecord:
    """The record of a journey as a message."""
    return directory_pb2.JourneyRecord(
        transfer_id=record.transfer_id,
        paglet_id=record.paglet_id,
        source=record.source,
        target=record.target,
        state=state_to_message(record.state),
        status=record.status,
    )


def journey_from_message(message: directory_pb2.JourneyRecord) -> JourneyRecord:
    """A message as the record of a journey."""
    return JourneyRecord(
        transfer_id=message.transfer_id,
        paglet_id=message.paglet_id,
        source=message.source,
        target=message.target,
        state=state_from_message(message.state, "journey.state"),
        status=message.status,
    )


def registration_to_message(host: HostRegistration) -> directory_pb2.HostRow:
    """What a host says of itself as a message."""
    return directory_pb2.HostRow(
        name=host.name,
        uid=host.uid,
        address=host.address,
        version=host.version,
        types=host.types,
        tags=host.tags,
        properties=host.properties,
        services=map(record_to_message, host.services),
    )


def registration_from_message(message: directory_pb2.HostRow) -> HostRegistration:
    """A message as what a host says of itself; the fields that the directory sets are left aside."""
    return HostRegistration(
        name=message.name,
        uid=message.uid,
        address=message.address,
        version=message.version,
        types=tuple(message.types),
        tags=tuple(message.tags),
        properties=dict(message.properties),
        services=tuple(map(record_from_message, message.services)),
    )


def host_to_row_message(host: HostRef) -> directory_pb2.HostRow:
    """What the directory knows of a host as a message."""
    return directory_pb2.HostRow(
        name=host.name,
        uid=host.uid,
        address=host.address,
        version=host.version,
        types=host.types,
        online=host.online,
        seen_time=time_to_message(host.seen_at),
        paglet_count=host.paglet_count,
        has_left=host.has_left,
        tags=host.tags,
        properties=host.properties,
        load=host.load,
    )


def host_from_row_message(message: directory_pb2.HostRow) -> HostRef:
    """A message as what the directory knows of a host."""
    return HostRef(
        name=message.name,
        address=message.address,
        online=message.online,
        version=message.version,
        types=tuple(message.types),
        seen_at=time_from_message(message.seen_time),
        paglet_count=message.paglet_count,
        uid=message.uid,
        has_left=message.has_left,
        tags=tuple(message.tags),
        properties=dict(message.properties),
        load=message.load,
    )
