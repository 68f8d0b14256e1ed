"""What becomes of paglets as messages and back."""

from __future__ import annotations

from paglet.v1 import lifecycle_pb2
from paglets.values import PagletEvent, PagletNotice
from paglets.wire.lifecycle import paglet_info_from_message, paglet_info_to_message
from paglets.wire.states import state_from_message, state_to_message
from paglets.wire.times import time_from_message, time_to_message

__all__ = [
    "paglet_event_from_message",
    "paglet_event_to_message",
    "paglet_notice_from_message",
    "paglet_notice_to_message",
]


def paglet_event_to_message(event: PagletEvent) -> lifecycle_pb2.PagletEvent:
    """An event as a message."""
    return lifecycle_pb2.PagletEvent(
        paglet_id=event.paglet_id,
        type=event.type,
        host=event.host,
        former_host=event.former_host,
        state=state_to_message(event.state),
        epoch=event.epoch,
        cause=event.cause,
        transfer_id=event.transfer_id,
        target=event.target,
        error=event.error,
        event_time=time_to_message(event.happened_at),
    )


def paglet_event_from_message(message: lifecycle_pb2.PagletEvent) -> PagletEvent:
    """A message as an event."""
    return PagletEvent(
        paglet_id=message.paglet_id,
        type=message.type,
        host=message.host,
        former_host=message.former_host,
        state=state_from_message(message.state, "event.state"),
        epoch=message.epoch,
        cause=message.cause,
        transfer_id=message.transfer_id,
        target=message.target,
        error=message.error,
        happened_at=time_from_message(message.event_time),
    )


def paglet_notice_to_message(notice: PagletNotice) -> lifecycle_pb2.WatchPagletsResponse:
    """A notice as a message."""
    return lifecycle_pb2.WatchPagletsResponse(
        cursor=notice.cursor,
        paglet=paglet_info_to_message(notice.paglet) if notice.paglet is not None else None,
        event=paglet_event_to_message(notice.event) if notice.event is not None else None,
    )


def paglet_notice_from_message(message: lifecycle_pb2.WatchPagletsResponse) -> PagletNotice:
    """A message as a notice."""
    return PagletNotice(
        cursor=message.cursor,
        paglet=paglet_info_from_message(message.paglet) if message.HasField("paglet") else None,
        event=paglet_event_from_message(message.event) if message.HasField("event") else None,
    )
