"""The last events of a paglet as messages, and back: they go along when it moves."""

from __future__ import annotations

from collections.abc import Iterable

from paglet.v1 import transfer_pb2
from paglets.core.cursor_events import CursorEvent

__all__ = ["events_of", "events_to_messages"]


def events_to_messages(events: Iterable[CursorEvent]) -> list[transfer_pb2.KeptEvent]:
    """Events as a snapshot carries them."""
    return [
        transfer_pb2.KeptEvent(
            cursor=event.cursor, type_url=event.type_url, value=event.value, create_ms=event.create_ms
        )
        for event in events
    ]


def events_of(snapshot: transfer_pb2.Snapshot) -> list[CursorEvent]:
    """The events that a snapshot carries."""
    return [
        CursorEvent(cursor=event.cursor, type_url=event.type_url, value=event.value, create_ms=event.create_ms)
        for event in snapshot.events
    ]
