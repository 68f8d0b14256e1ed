"""The events of a paglet, as those see them who read: from a cursor on, each once, wherever the paglet is."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import grpc
from google.protobuf.message import Message

from paglet.v1 import event_pb2, event_pb2_grpc
from paglets.client.follow import followed
from paglets.client.proxy import PagletProxy
from paglets.client.unpack import unpack
from paglets.errors import DeadlineError, UnavailableError
from paglets.wire.times import duration_to_message

__all__ = ["EventClient", "EventDeclaration", "EventPage"]

EventT = TypeVar("EventT", bound=Message)
ThisEventT = TypeVar("ThisEventT", bound=Message)
EventT_co = TypeVar("EventT_co", bound=Message, covariant=True)

_SLACK_S = 1.0
"""How much longer than its wait a call may take."""

_log = logging.getLogger(__name__)


class EventDeclaration(Protocol[EventT_co]):
    """A class that says what its events are; every CursorDrainMixin does."""

    @classmethod
    def event_class(cls) -> type[EventT_co]:
        """The message class of the events."""
        ...


@dataclass(frozen=True, slots=True)
class EventPage(Generic[EventT]):
    """Some events with their cursors, in order. Go on from `cursor`; with `more` there are others already."""

    events: Sequence[tuple[int, EventT]]
    cursor: int
    more: bool


@dataclass(frozen=True, slots=True)
class EventClient(Generic[EventT]):
    """The events of one paglet, as messages of `event_type`; `Message` stands for any, and gives each as an `Any`.

    All methods raise PagletErrors, as the proxy's stubs do, and CURSOR_EXPIRED, whose metadata `oldest` is the cursor
    after which events are kept, when the next event is not; REPLY_INVALID for an event of another type.
    """

    proxy: PagletProxy
    event_type: type[EventT]

    @staticmethod
    def for_paglet(proxy: PagletProxy, paglet_class: type[EventDeclaration[ThisEventT]]) -> EventClient[ThisEventT]:
        """A client for the events of a paglet of this class."""
        return EventClient(proxy, paglet_class.event_class())

    async def drain(self, after: int = 0, limit: int = 100, wait_s: float = 0.0) -> EventPage[EventT]:
        """Gives at most `limit` events after a cursor; waits if there is none. Safe to repeat.

        `wait_s` is in seconds, and no time without end: who wants that drains again, or watches.
        """
        request = event_pb2.EventServiceDrainRequest(after_cursor=after, limit=limit)
        reply = await self._drain(request, wait_s)
        return EventPage([(event.cursor, self._message(event)) for event in reply.events], reply.cursor, reply.more)

    async def watch(self, after: int | None = None) -> AsyncGenerator[tuple[int, EventT]]:
        """Gives the events after a cursor, by default those from now on, and each that comes, with its cursor.

        Each comes once and in order, over moves, rests and restarts of hosts: a watch that is cut goes on after the
        last event that came. Like any call it brings a paglet back that rests, if calls may: else it raises
        PAGLET_INACTIVE. It ends when it is closed, and raises when the paglet has ended, or cannot be reached for as
        long as the client's calls go on.
        """
        stub: event_pb2_grpc.EventServiceAsyncStub = self.proxy.stub(event_pb2_grpc.EventServiceStub)

        def open_call(
            place: int | None,
        ) -> grpc.aio.UnaryStreamCall[event_pb2.EventServiceWatchRequest, event_pb2.EventServiceWatchResponse]:
            return stub.Watch(event_pb2.EventServiceWatchRequest(after_cursor=place))

        begun = False
        async with aclosing(followed(after, open_call, _cursor_of, self.proxy.client.policy)) as messages:
            async for message in messages:
                if message.HasField("event"):
                    yield message.cursor, self._message(message.event)
                elif begun:
                    _log.info("the watch of %s goes on after event %d", self.proxy.paglet_id, message.cursor)
                begun = True

    async def _drain(
        self, request: event_pb2.EventServiceDrainRequest, wait_s: float
    ) -> event_pb2.EventServiceDrainResponse:
        stub: event_pb2_grpc.EventServiceAsyncStub = self.proxy.stub(event_pb2_grpc.EventServiceStub)
        if wait_s > 0.0:
            request.wait.CopyFrom(duration_to_message(wait_s, "wait"))
            try:
                return await stub.Drain(request, timeout=wait_s + _SLACK_S)
            except (DeadlineError, UnavailableError):  # e.g. a host begins the wait anew for a paglet that has come
                request.ClearField("wait")
        return await stub.Drain(request)

    def _message(self, event: event_pb2.CursorEvent) -> EventT:
        as_it_is = _if_of(event.event, self.event_type)
        if as_it_is is not None:
            return as_it_is
        return unpack(event.event, self.event_type, f"event {event.cursor} of paglet {self.proxy.paglet_id}")


def _cursor_of(message: event_pb2.EventServiceWatchResponse) -> int | None:
    return message.cursor


def _if_of(message: Message, wanted: type[EventT]) -> EventT | None:
    """The message, if it is of the class wanted, e.g. of `Message` itself."""
    return message if isinstance(message, wanted) else None
