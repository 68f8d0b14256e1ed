# ruff: noqa: N802 - a servicer's methods are named by the protos
"""A task as its client sees it, over a real channel, with a real task behind it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.wrappers_pb2 import Int64Value, StringValue

from paglet.v1 import task_pb2, task_pb2_grpc
from paglets.client.client import Client
from paglets.client.tasks import TaskClient
from paglets.errors import InternalError, InvalidArgumentError, PagletError, PreconditionError, UnavailableError
from paglets.services.guard import GuardedServices, ServerContext
from paglets.values import TaskPhase
from paglets.wire.channel_options import SERVER_OPTIONS
from tests.fake_home import FakeHome
from tests.patterns.task_support import PATIENCE_S, SERVICE, Told, told


class Door(task_pb2_grpc.TaskServiceServicer):
    """Lets calls in to the task of a home, and remembers them."""

    def __init__(self, home: FakeHome) -> None:
        self.home = home
        self.metadata: list[dict[str, str | bytes]] = []
        self.waits: list[task_pb2.TaskServiceWaitRequest] = []
        self.watches: list[int] = []
        self.breaks: list[PagletError] = []
        self.waiting = asyncio.Event()

    async def Start(
        self, request: task_pb2.TaskServiceStartRequest, context: ServerContext
    ) -> task_pb2.TaskServiceStartResponse:
        """Starts."""
        self.metadata.append(dict(context.invocation_metadata() or ()))
        return await self.home.answer(f"{SERVICE}/Start", request)

    async def Get(
        self, request: task_pb2.TaskServiceGetRequest, context: ServerContext
    ) -> task_pb2.TaskServiceGetResponse:
        """Tells."""
        return await self.home.answer(f"{SERVICE}/Get", request)

    async def Wait(
        self, request: task_pb2.TaskServiceWaitRequest, context: ServerContext
    ) -> task_pb2.TaskServiceWaitResponse:
        """Waits; the first wait comes back at once, as if its time were over."""
        self.waits.append(request)
        if len(self.waits) == 1:
            request = task_pb2.TaskServiceWaitRequest(timeout=Duration())
        else:
            self.waiting.set()
        return await self.home.answer(f"{SERVICE}/Wait", request)

    async def Watch(
        self, request: task_pb2.TaskServiceWatchRequest, context: ServerContext
    ) -> AsyncGenerator[task_pb2.TaskServiceWatchResponse]:
        """Watches; while there are breaks, each stream ends with one after its first message, or at once."""
        self.watches.append(request.after_revision)
        async with aclosing(self.home.answers(f"{SERVICE}/Watch", request)) as replies:
            if self.breaks and request.after_revision:
                raise self.breaks.pop()
            async for reply in replies:
                yield reply
                if self.breaks:
                    raise self.breaks.pop()

    async def Cancel(
        self, request: task_pb2.TaskServiceCancelRequest, context: ServerContext
    ) -> task_pb2.TaskServiceCancelResponse:
        """Cancels."""
        return await self.home.answer(f"{SERVICE}/Cancel", request)


@asynccontextmanager
async def served(
    home: FakeHome, timeout_s: float = 30.0
) -> AsyncGenerator[tuple[TaskClient[StringValue, Int64Value], Door]]:
    """A client for the task of a home, and the door between them."""
    door, services = Door(home), GuardedServices()
    services.add(task_pb2_grpc.add_TaskServiceServicer_to_server, door)
    server = grpc.aio.server(options=SERVER_OPTIONS, handlers=(services,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with Client(f"127.0.0.1:{port}", timeout_s=timeout_s) as client:
            yield TaskClient.for_paglet(client.proxy("p-1"), Told), door
    finally:
        await server.stop(None)


async def test_task_10_start_and_wait() -> None:
    """A task is started and waited for in one go; the result is a message of its class."""
    home = FakeHome(Told)
    told(home).released.set()
    async with served(home) as (client, door), asyncio.timeout(PATIENCE_S):
        done = await client.start_and_wait(StringValue(value="four"))
    assert (done.phase, done.done, done.result, done.error) == (TaskPhase.COMPLETED, True, Int64Value(value=4), "")
    assert (done.paglet_id, done.host) == ("p-1", "alpha")
    assert 0.0 < done.started_at <= done.completed_at
    assert door.metadata[0]["paglet-id"] == "p-1"
    assert door.metadata[0]["paglet-request-id"]


async def test_task_10_get_before_and_while() -> None:
    """Before the first start everything is empty; while it runs there is no result, and no other start."""
    home = FakeHome(Told)
    async with served(home) as (client, _), asyncio.timeout(PATIENCE_S):
        new = await client.get()
        assert (new.phase, new.done, new.result, new.started_at, new.completed_at) == (TaskPhase.NEW, False, None, 0, 0)
        started = await client.start(StringValue(value="four"))
        assert (started.phase, started.done, started.result) == (TaskPhase.RUNNING, False, None)
        with pytest.raises(PreconditionError) as refused:
            await client.start(StringValue())
        assert refused.value.reason == "TASK_RUNNING"
        assert (await client.get()).phase is TaskPhase.RUNNING
    await home.quiesce()


async def test_task_10_failure_is_no_error_of_the_call() -> None:
    """A task that fails is a snapshot with a text; only a bad start raises."""
    home = FakeHome(Told)

    async def fails(_request: StringValue) -> Int64Value:
        raise ValueError("no luck")

    async def refuses(_request: StringValue) -> Int64Value:
        raise PreconditionError("TASK_RUNNING", "stop first")

    told(home).work = fails
    told(home).released.set()
    async with served(home) as (client, _), asyncio.timeout(PATIENCE_S):
        done = await client.start_and_wait(StringValue())
        assert (done.phase, done.done, done.result, done.error) == (TaskPhase.FAILED, True, None, "no luck")
        assert (done.error_code, done.error_reason) == (0, "")
        told(home).work = refuses
        done = await client.start_and_wait(StringValue())
        assert (done.error, done.error_code, done.error_reason) == ("stop first", 9, "TASK_RUNNING")
        muddled = TaskClient(client.proxy, Int64Value, Int64Value)
        with pytest.raises(InvalidArgumentError) as refused:
            await muddled.start(Int64Value())
    assert refused.value.reason == "MALFORMED_REQUEST"


@pytest.mark.parametrize(("timeout_s", "first_s"), [(math.inf, 20), (60.0, 20)])
async def test_task_10_long_wait_is_made_of_short_calls(timeout_s: float, first_s: int) -> None:
    """A wait longer than a call should be goes on until the task has ended."""
    home = FakeHome(Told)
    async with served(home) as (client, door), asyncio.timeout(PATIENCE_S):
        await client.start(StringValue(value="four"))
        waiting = asyncio.create_task(client.wait(timeout_s))
        await door.waiting.wait()
        told(home).released.set()
        assert (await waiting).result == Int64Value(value=4)
    assert door.waits[0].timeout == Duration(seconds=first_s)
    assert len(door.waits) == 2


@pytest.mark.parametrize("timeout_s", [0.0, -1.0])
async def test_task_10_wait_for_nothing(timeout_s: float) -> None:
    """A wait without time asks once and tells how the task stands."""
    async with served(FakeHome(Told)) as (client, door), asyncio.timeout(PATIENCE_S):
        assert (await client.wait(timeout_s)).phase is TaskPhase.NEW
    assert [wait.timeout for wait in door.waits] == [Duration()]


async def test_task_10_wait_has_half_a_second() -> None:
    """Unless it is given more, or less."""
    async with served(FakeHome(Told)) as (client, door), asyncio.timeout(PATIENCE_S):
        assert (await client.wait()).phase is TaskPhase.NEW
    (wait,) = door.waits
    assert 0 < wait.timeout.ToNanoseconds() <= 500_000_000


async def test_task_10_result_of_another_class() -> None:
    """A result that is not what the client was made for is an error of its own."""
    home = FakeHome(Told)
    told(home).released.set()
    async with served(home) as (client, _), asyncio.timeout(PATIENCE_S):
        await client.start_and_wait(StringValue())
        muddled = TaskClient(client.proxy, StringValue, StringValue)
        with pytest.raises(InternalError, match=r"Int64Value, not google\.protobuf\.StringValue") as refused:
            await muddled.get()
    assert refused.value.reason == "REPLY_INVALID"


async def test_task_10_watch_goes_on_after_a_break() -> None:
    """A stream that was cut is opened again with the last revision that came, as often as it is; then the end comes."""
    home = FakeHome(Told)
    async with served(home) as (client, door), asyncio.timeout(PATIENCE_S):
        await client.start(StringValue(value="four"))
        door.breaks = [UnavailableError("PAGLET_MOVED", "cut", metadata={"begun": "true"}) for _ in range(3)]
        async with aclosing(client.watch()) as watched:
            assert (await anext(watched)).phase is TaskPhase.RUNNING
            told(home).released.set()
            assert (await anext(watched)).result == Int64Value(value=4)
            assert [snapshot async for snapshot in watched] == []
    assert door.watches == [0, 2, 2, 2]


async def test_task_10_watch_gives_up() -> None:
    """A host that cannot be reached for longer than a call would go on is told; so is any error that is no break."""
    async with served(FakeHome(Told), timeout_s=0.5) as (client, door), asyncio.timeout(PATIENCE_S):
        door.breaks = [PreconditionError("PAGLET_INACTIVE", "it rests")]
        async with aclosing(client.watch()) as watched:
            assert (await anext(watched)).revision == 1
            with pytest.raises(PreconditionError, match="it rests"):
                await anext(watched)
        door.breaks = [UnavailableError("SHUTTING_DOWN", "it ends") for _ in range(1000)]
        with pytest.raises(UnavailableError, match="it ends"):
            await anext(client.watch(1))
    assert len(door.watches) > 4
