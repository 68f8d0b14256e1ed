"""The events of one paglet in memory: how far they go, how far they are durable, and who waits for the next.

The events themselves are in the journal, and in memory only those that have just come while somebody waits for them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message

from paglets.core.cursor_events import CursorEvent
from paglets.core.waits import Waits
from paglets.errors import InvalidArgumentError, OutOfRangeError
from paglets.host.journal.events import EventRows

__all__ = ["MAX_EVENT_BYTES", "EventLog"]

_MOST_OF_PAGE = 1000
_MOST_LATEST = 16

MAX_EVENT_BYTES = 64 * 1024
"""How many bytes one event may have."""


class EventLog:
    """The events of one paglet, of which `last` is the last that is durable. Numbers are given turn by turn."""

    def __init__(self, paglet_id: str, rows: EventRows, last: int = 0) -> None:
        self._paglet_id = paglet_id
        self._rows = rows
        self._taken = last
        self._waits = Waits()
        self._latest: tuple[CursorEvent, ...] = ()
        self.last = last

    def append(self, made: list[CursorEvent], messages: Sequence[Message]) -> int:
        """Adds events to those that a running turn has made; the cursor of the last one, of whichever turn.

        Raises MALFORMED_REQUEST, and adds none, if one is too large.
        """
        packed = [_packed(message) for message in messages]
        for event in packed:
            if len(event.value) > MAX_EVENT_BYTES:
                raise InvalidArgumentError(
                    "MALFORMED_REQUEST",
                    f"an event has at most {MAX_EVENT_BYTES} bytes, not {len(event.value)}; send more as an artifact",
                    field="event",
                )
        first, now_ms = self._taken + len(made) + 1, time.time_ns() // 1_000_000
        made += [
            CursorEvent(cursor=cursor, type_url=event.type_url, value=event.value, create_ms=now_ms)
            for cursor, event in enumerate(packed, first)
        ]
        return self._taken + len(made)

    def take(self, made: Sequence[CursorEvent]) -> None:
        """The events of a turn that has ended well count: the next turn's come after them. Not durable yet."""
        if made:
            self._taken = max(self._taken, made[-1].cursor)

    def show(self, made: Sequence[CursorEvent]) -> None:
        """The events of a turn are durable: whoever waits is woken. Safe to repeat."""
        if not made:
            return
        self.take(made)
        if not self._waits or made[0].cursor != self.last + 1:
            self._latest = ()
        if self._waits:  # each of them would read the same from the journal
            new = (event for event in made if event.cursor > self.last)
            self._latest = (*self._latest, *new)[-_MOST_LATEST:]
        self.last = max(self.last, made[-1].cursor)
        self._waits.wake()

    async def until_after(self, cursor: int, timeout_s: float | None) -> bool:
        """Waits until an event after a cursor is durable; False at the timeout (seconds, None for ever)."""
        return await self._waits.until(lambda: self.last > cursor, timeout_s)

    async def page(self, after: int, limit: int) -> Sequence[CursorEvent]:
        """The oldest durable events after a cursor, `limit` at most; fewer if they are large, but none only at the end.

        Raises CURSOR_EXPIRED when the one that follows is not kept, MALFORMED_REQUEST for a negative cursor.
        """
        if after < 0:
            raise InvalidArgumentError("MALFORMED_REQUEST", "a cursor is 0 or more", field="after_cursor")
        if after > self.last:
            raise self._expired(after, await self._rows.oldest(self._paglet_id))
        if after == self.last:
            return ()
        if self._latest and after >= self._latest[0].cursor - 1:
            return self._latest[after - self._latest[0].cursor + 1 :][: max(1, limit)]
        # Never more than is told to be durable: a cursor that runs ahead of that would be taken for a stranger's.
        found = await self._rows.page(self._paglet_id, after, min(max(1, limit), _MOST_OF_PAGE, self.last - after))
        if found and found[0].cursor != after + 1:
            raise self._expired(after, found[0].cursor)
        return found

    async def all(self) -> Sequence[CursorEvent]:
        """All durable events that are kept, in their order; of a paglet that has said nothing yet it reads nothing."""
        return await self._rows.all(self._paglet_id) if self.last else ()

    def _expired(self, after: int, oldest: int) -> OutOfRangeError:
        """Events that a reader needs are no longer kept, or its cursor is of an earlier paglet of this id."""
        cursor = max(0, oldest - 1)
        return OutOfRangeError(
            "CURSOR_EXPIRED",
            f"the events of paglet {self._paglet_id} after {after} are not kept here; the oldest follow {cursor}",
            metadata={"oldest": str(cursor)},
        )


def _packed(message: Message) -> AnyMessage:
    if isinstance(message, AnyMessage):
        return message
    packed = AnyMessage()
    packed.Pack(message)
    return packed
