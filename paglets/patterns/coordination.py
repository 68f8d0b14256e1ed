"""The paglet that is read by others: it says what happens in its turns, and readers come for it with their cursors."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Generic, TypeVar

import typing_extensions
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from paglet.v1 import event_pb2
from paglets.core.cursor_events import CursorEvent
from paglets.core.paglet import Paglet, PatternService
from paglets.patterns.declared import declare_message
from paglets.wire.times import duration_from_message

__all__ = ["CursorDrainMixin", "EventOperations"]

StateT = TypeVar("StateT")
EventT = typing_extensions.TypeVar("EventT", bound=Message, default=Message)

_PAGE = 100


class EventOperations(PatternService["CursorDrainMixin[object, Message]"]):
    """`paglet.v1.EventService`, answered beside the turns: no reader holds up the paglet."""

    Service = event_pb2.DESCRIPTOR.services_by_name["EventService"]

    async def drain(self, request: event_pb2.EventServiceDrainRequest) -> event_pb2.EventServiceDrainResponse:
        """Gives the events after a cursor."""
        after, limit = request.after_cursor, max(1, request.limit)
        found = await self.paglet.cursor_drain_events(after, limit)
        if not found[0] and request.HasField("wait"):
            await self.paglet.context.wait_events(after, max(0.0, duration_from_message(request.wait)))
            found = await self.paglet.cursor_drain_events(after, limit)
        events, cursor, more = found
        return event_pb2.EventServiceDrainResponse(
            events=[_event_to_message(event) for event in events], cursor=cursor, more=more
        )

    async def watch(
        self, request: event_pb2.EventServiceWatchRequest
    ) -> AsyncIterator[event_pb2.EventServiceWatchResponse]:
        """Gives the events after a cursor, and each that comes."""
        context = self.paglet.context
        after = request.after_cursor if request.HasField("after_cursor") else context.last_event
        events, _, _ = await self.paglet.cursor_drain_events(after, _PAGE)  # refuses a cursor that has expired
        yield event_pb2.EventServiceWatchResponse(cursor=after)
        while True:
            for event in events:
                yield event_pb2.EventServiceWatchResponse(cursor=event.cursor, event=_event_to_message(event))
                after = event.cursor
            await context.wait_events(after, None)
            events, _, _ = await self.paglet.cursor_drain_events(after, _PAGE)


class CursorDrainMixin(Paglet[StateT], Generic[StateT, EventT]):
    """A paglet that appends events for others to read: `class Feed(CursorDrainMixin[FeedState, FeedEvent])`.

    An event is a protobuf message, of any type unless the second argument, or the class attribute `Event`, names one.
    Events are numbered from 1 without a gap, kept with the turn that appends them, and told when that is durable. They
    are no part of the state: the host keeps the last of them, and they move along, but a clone begins with none.
    Readers come by `paglet.v1.EventService`, of which `EventClient` knows how to go on, as often as they like.

    With the durability "lifecycle" a turn that appends is a save: what was told is never forgotten, or told otherwise.
    """

    Patterns = (EventOperations,)

    Event: type[EventT]

    def __init_subclass__(cls, **options: object) -> None:
        super().__init_subclass__(**options)
        declare_message(cls, CursorDrainMixin, 1, "Event")

    @classmethod
    def event_class(cls) -> type[EventT]:
        """The message class of the events; `Message` for any."""
        return cls.Event

    def cursor_append_events(self, *messages: EventT) -> int:
        """Appends events in the running turn, in this order; gives the cursor of the last event, of whichever turn.

        They are told when the turn is durable, and were never there if it is rolled back. One has 64 KiB at most.
        Raises NOT_IN_TURN, MALFORMED_REQUEST, TypeError for a message of another type than the class declares.
        """
        wanted = self.event_class()
        for message in messages:
            if not isinstance(message, wanted):
                raise TypeError(f"an event of {type(self).__qualname__} must be {wanted.__qualname__}, got {message!r}")
        return self.context.append_events(messages)

    async def cursor_drain_events(self, after: int = 0, limit: int = 100) -> tuple[Sequence[CursorEvent], int, bool]:
        """Reads durable events after a cursor: them, where to go on, and whether there are more. It deletes nothing.

        At most `limit`, which is at least 1; fewer if they are large. Without an event the cursor is the one given.
        Safe to repeat. Raises CURSOR_EXPIRED (metadata `oldest`), MALFORMED_REQUEST for a negative cursor.
        """
        events = await self.context.read_events(after, max(1, limit))
        cursor = events[-1].cursor if events else after
        return events, cursor, self.context.last_event > cursor


def _event_to_message(event: CursorEvent) -> event_pb2.CursorEvent:
    return event_pb2.CursorEvent(
        cursor=event.cursor,
        event=AnyMessage(type_url=event.type_url, value=event.value),
        create_time=Timestamp(seconds=event.create_ms // 1000, nanos=event.create_ms % 1000 * 1_000_000),
    )
