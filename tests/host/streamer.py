"""A paglet of streams: `--allow tests.host.streamer`. Its rpcs are made of well-known messages.

It stops where the stage of its process holds it, and notes there what happened to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from google.protobuf import descriptor_pb2, descriptor_pool, wrappers_pb2
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions
from google.protobuf.wrappers_pb2 import StringValue

from paglets.core.events import MobilityEvent
from paglets.errors import NotFoundError
from paglets.patterns.operations import OperationPaglet
from tests.host.stage import STAGE

__all__ = ["SERVICE", "STREAMER_MODULE", "STREAMER_TYPE", "Streamer", "StreamerState"]

STREAMER_MODULE = "tests.host.streamer"
STREAMER_TYPE = f"{STREAMER_MODULE}.Streamer"
SERVICE = "paglets.tests.streamer.v1.StreamerService"
_TEXT = wrappers_pb2.StringValue.DESCRIPTOR.full_name


def _describe() -> ServiceDescriptor:
    package = SERVICE.rpartition(".")[0]
    file = descriptor_pb2.FileDescriptorProto(
        name="paglets/tests/streamer/v1/streamer.proto",
        package=package,
        syntax="proto3",
        dependency=[wrappers_pb2.DESCRIPTOR.name],
    )
    service = file.service.add(name="StreamerService")
    for name, takes, gives in (
        ("Follow", False, True),
        ("Write", False, True),
        ("Leave", False, True),
        ("Stubborn", False, True),
        ("Farewell", False, True),
        ("Fail", False, True),
        ("Quit", False, True),
        ("Wrong", False, True),
        ("Look", False, True),
        ("Flood", False, True),
        ("Collect", True, False),
        ("Early", True, False),
        ("Chat", True, True),
        ("Hold", False, False),
    ):
        method = service.method.add(
            name=name, input_type=f".{_TEXT}", output_type=f".{_TEXT}", client_streaming=takes, server_streaming=gives
        )
        if name in {"Follow", "Flood"}:
            method.options.idempotency_level = MethodOptions.NO_SIDE_EFFECTS
    pool = descriptor_pool.Default()
    pool.Add(file)
    return pool.FindServiceByName(SERVICE)


@dataclass
class StreamerState:
    """What a streamer keeps. `refuse_at` is a host where it fails to arrive."""

    lines: list[str] = field(default_factory=list[str])
    refuse_at: str = ""


class Streamer(OperationPaglet[StreamerState]):
    """Every stream is one thing that an author may do in one."""

    Services = (_describe(),)

    async def on_arrival(self, event: MobilityEvent) -> None:
        """Fails where it is to."""
        if event.target == self.state.refuse_at:
            raise RuntimeError("it was told to")

    async def hold(self, request: StringValue) -> StringValue:
        """A turn that stays at the spot named."""
        self.state.lines.append(request.value)
        await STAGE.at(request.value)
        return StringValue(value=request.value)

    async def follow(self, request: StringValue) -> AsyncIterator[StringValue]:
        """All lines after the number given, as they become durable; never ends."""
        seen = int(request.value or 0)
        try:
            while True:
                lines = self.state.lines
                for line in lines[seen:]:
                    yield StringValue(value=f"{self.context.host}:{line}")
                seen = len(lines)
                await self.wait_state(lambda state, seen=seen: len(state.lines) > seen)
        finally:
            STAGE.note(f"follow ended on {self.context.host}")

    async def write(self, request: StringValue) -> AsyncIterator[StringValue]:
        """Adds as many lines as the number given, each in a turn of its own, and tells of each when it is durable."""
        for number in range(int(request.value)):
            async with self.turn() as state:
                state.lines.append(str(number))
            yield StringValue(value=str(number))

    async def leave(self, request: StringValue) -> AsyncIterator[StringValue]:
        """Asks for a move to the host named, and stays at the spot `leave` before it ends."""
        self.dispatch(request.value)
        yield StringValue(value="asked")
        await STAGE.at("leave")

    async def stubborn(self, request: StringValue) -> AsyncIterator[StringValue]:
        """Does not end when it is cancelled, until the spot named is free."""
        yield StringValue(value="begun")
        while True:
            try:
                await STAGE.at(request.value)
            except asyncio.CancelledError:
                STAGE.note("cancelled")
                continue
            return

    async def farewell(self, request: StringValue) -> AsyncIterator[StringValue]:
        """Adds a line when it ends, however that is."""
        try:
            yield StringValue(value="begun")
            await STAGE.at(request.value)
        finally:
            async with self.turn() as state:
                state.lines.append(request.value)

    async def fail(self, request: StringValue) -> AsyncIterator[StringValue]:
        """Ends with an error that has a detail of its own."""
        yield StringValue(value="first")
        detail = AnyMessage()
        detail.Pack(StringValue(value="detail"))
        self.context.call.set_trailing_metadata([("x-told", "at the end")])
        raise NotFoundError("HANDLER_FAILED", request.value, details=[detail])

    async def quit(self, request: StringValue) -> AsyncIterator[StringValue]:
        """Would end the process."""
        yield request
        raise SystemExit(3)

    async def wrong(self, request: StringValue) -> AsyncIterator[StringValue]:
        """Answers with what is no message of the operation."""
        yield request
        yield AnyMessage()  # pyright: ignore[reportReturnType] - what authors do

    async def look(self, request: StringValue) -> AsyncIterator[StringValue]:
        """What it sees of its call."""
        call = self.context.call
        call.set_initial_metadata([("x-heard", ",".join(key for key, _ in call.metadata))])
        remaining = call.time_remaining_s()
        yield StringValue(value=call.operation)
        yield StringValue(value="" if remaining is None else str(remaining))

    async def flood(self, request: StringValue) -> AsyncIterator[StringValue]:
        """Messages of 64 KiB without end."""
        count = 0
        try:
            while True:
                count += 1
                yield StringValue(value="x" * 65536)
        finally:
            STAGE.note(f"flood {count}")

    async def collect(self, requests: AsyncIterator[StringValue]) -> StringValue:
        """Adds all lines in one turn, at the end."""
        lines = [request.value async for request in requests]
        async with self.turn() as state:
            state.lines.extend(lines)
        return StringValue(value=f"{self.context.host}:{len(lines)}")

    async def early(self, requests: AsyncIterator[StringValue]) -> StringValue:
        """Takes the first request, and answers."""
        self.context.call.set_trailing_metadata([("x-told", "early")])
        return await anext(requests)

    async def chat(self, requests: AsyncIterator[StringValue]) -> AsyncIterator[StringValue]:
        """Echoes."""
        async for request in requests:
            yield StringValue(value=f"{self.context.host}:{request.value}")
