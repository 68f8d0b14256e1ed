"""Paglets that are read by others: `--allow tests.patterns.feed`.

Their services are made of well-known messages, so that no compiler is needed to call them.
"""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf import descriptor_pb2, descriptor_pool, wrappers_pb2
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import Int64Value, StringValue

from paglets.core.events import ActivationEvent, CreationEvent, DeactivationEvent, MobilityEvent
from paglets.patterns.coordination import CursorDrainMixin
from paglets.patterns.operations import OperationPaglet

__all__ = ["FEED_MODULE", "SERVICE", "Feed", "FeedState", "Medley", "SavedFeed"]

FEED_MODULE = "tests.patterns.feed"
SERVICE = "paglets.tests.feed.v1.FeedService"


def _describe() -> ServiceDescriptor:
    file = descriptor_pb2.FileDescriptorProto(
        name="paglets/tests/feed/v1/feed.proto",
        package=SERVICE.rpartition(".")[0],
        syntax="proto3",
        dependency=[wrappers_pb2.DESCRIPTOR.name],
    )
    text, number = (f".{message.DESCRIPTOR.full_name}" for message in (StringValue, Int64Value))
    file.service.add(name="FeedService").method.add(name="Say", input_type=text, output_type=number)
    pool = descriptor_pool.Default()
    pool.Add(file)
    return pool.FindServiceByName(SERVICE)


_SERVICE = _describe()


@dataclass
class FeedState:
    """How many calls said something; with `in_hooks` hooks say something, too."""

    calls: int = 0
    in_hooks: bool = False


class Feed(CursorDrainMixin[FeedState, StringValue], OperationPaglet[FeedState]):
    """Says each line of what it is told; fails after a line `fail`."""

    Services = (_SERVICE,)

    async def say(self, request: StringValue) -> Int64Value:
        """One event for each line; the last cursor."""
        self.state.calls += 1
        last = self.cursor_append_events()
        for line in request.value.splitlines():
            last = self.cursor_append_events(StringValue(value=line))
            if line == "fail":
                raise RuntimeError("it was told to")
        return Int64Value(value=last)

    async def on_creation(self, event: CreationEvent) -> None:
        """Says so."""
        self._tell("created")

    async def on_dispatching(self, event: MobilityEvent) -> None:
        """Says so."""
        self._tell("leaving")

    async def on_arrival(self, event: MobilityEvent) -> None:
        """Says so."""
        self._tell(f"at {event.target}")

    async def on_deactivating(self, event: DeactivationEvent) -> None:
        """Says so."""
        self._tell("rests")

    async def on_activation(self, event: ActivationEvent) -> None:
        """Says so."""
        self._tell(event.reason)

    def _tell(self, what: str) -> None:
        if self.state.in_hooks:
            self.cursor_append_events(StringValue(value=what))


class SavedFeed(Feed):
    """Is saved now and then."""

    durability = "lifecycle"


class Medley(CursorDrainMixin[FeedState], OperationPaglet[FeedState]):
    """Says a number and a text for each call: events of several types."""

    Services = (_SERVICE,)

    async def say(self, request: StringValue) -> Int64Value:
        """Two events."""
        events: tuple[Message, ...] = (Int64Value(value=len(request.value)), request)
        return Int64Value(value=self.cursor_append_events(*events))
