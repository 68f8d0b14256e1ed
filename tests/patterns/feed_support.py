"""What the tests of events share: hosts that know feeds, and calls of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from google.protobuf.wrappers_pb2 import Int64Value, StringValue

from paglets.client.client import Client
from paglets.client.events import EventClient
from paglets.config import EventSettings, HostSettings
from paglets.testing import RunningHost, local_host
from tests.patterns.feed import FEED_MODULE, SERVICE, Feed

__all__ = ["ID", "Place", "feed_host", "reader", "say", "taken"]

ID = "feed"


@dataclass(frozen=True)
class Place:
    """A running host and a client of it."""

    running: RunningHost
    client: Client


async def feed_host(
    stack: AsyncExitStack, folder: Path, name: str, *, join: str = "", events: EventSettings | None = None
) -> Place:
    """Starts a host that knows feeds."""
    settings = HostSettings(name=name, data=folder / name, listen="127.0.0.1:0", drain_s=1.0)
    settings = replace(settings, events=events or EventSettings())
    running = await stack.enter_async_context(
        local_host(name, allow=[FEED_MODULE], join=join, data=folder / name, settings=settings)
    )
    return Place(running, await stack.enter_async_context(Client(running.address)))


async def say(client: Client, text: str, paglet_id: str = ID, request_id: str = "") -> int:
    """Has a feed say some lines; the last cursor."""
    rpc = client.channel.unary_unary(f"/{SERVICE}/Say", StringValue.SerializeToString, Int64Value.FromString)
    metadata = [("paglet-id", paglet_id), *([("paglet-request-id", request_id)] if request_id else [])]
    return (await rpc(StringValue(value=text), metadata=metadata, timeout=20.0)).value


def reader(client: Client, paglet_id: str = ID) -> EventClient[StringValue]:
    """A reader of a feed."""
    return EventClient.for_paglet(client.proxy(paglet_id), Feed)


async def taken(
    watch: AsyncIterator[tuple[int, StringValue]], count: int, then: Callable[[], Awaitable[object]] | None = None
) -> Sequence[tuple[int, str]]:
    """The next events of a watch."""
    found: list[tuple[int, str]] = []
    while len(found) < count:
        cursor, event = await anext(watch)
        found.append((cursor, event.value))
        if then is not None:
            await then()
    return found
