"""A task that does what a test tells it, when the test lets it, and TaskService called on a fake home."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import TypeAlias

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import Int64Value, StringValue

from paglet.v1 import task_pb2
from paglets.core.context import Context
from paglets.core.turn import StateCell
from paglets.patterns.task_state import TaskState
from paglets.patterns.tasks import TaskPaglet
from paglets.values import PagletProxyRef
from tests.fake_home import FakeHome

PATIENCE_S = 10.0
SERVICE = "/paglet.v1.TaskService"

Outcome: TypeAlias = Int64Value | PagletProxyRef | None


class Told(TaskPaglet[StringValue, Int64Value]):
    """Runs `work` once `released`; without more words it counts letters."""

    def __init__(self, context: Context, cell: StateCell[TaskState]) -> None:
        super().__init__(context, cell)
        self.entered = asyncio.Event()
        self.released = asyncio.Event()
        self.work: Callable[[StringValue], Awaitable[Outcome]] = count_letters

    async def run_task(self, request: StringValue) -> Outcome:
        """Waits for the test, then does as it says."""
        self.entered.set()
        await self.released.wait()
        return await self.work(request)


class ToldAgain(Told):
    """May begin anew."""

    rerun_after_cut = True


async def count_letters(request: StringValue) -> Int64Value:
    """The work."""
    return Int64Value(value=len(request.value))


def told(home: FakeHome) -> Told:
    """The paglet of a home."""
    assert isinstance(home.paglet, Told)
    return home.paglet


def packed(message: Message) -> AnyMessage:
    """A message in an Any."""
    found = AnyMessage()
    found.Pack(message)
    return found


async def start(home: FakeHome, request: Message | None = None) -> task_pb2.TaskStatus:
    """Starts the task."""
    asked = task_pb2.TaskServiceStartRequest(request=packed(request or StringValue(value="abc")))
    reply: task_pb2.TaskServiceStartResponse = await home.answer(f"{SERVICE}/Start", asked)
    return reply.task


async def get(home: FakeHome) -> task_pb2.TaskStatus:
    """Asks how the task stands."""
    reply: task_pb2.TaskServiceGetResponse = await home.answer(f"{SERVICE}/Get", task_pb2.TaskServiceGetRequest())
    return reply.task


async def wait(home: FakeHome, timeout: Duration | None = None) -> task_pb2.TaskStatus:
    """Waits for the task's end."""
    asked = task_pb2.TaskServiceWaitRequest(timeout=timeout)
    reply: task_pb2.TaskServiceWaitResponse = await home.answer(f"{SERVICE}/Wait", asked)
    return reply.task


async def cancel(home: FakeHome) -> task_pb2.TaskStatus:
    """Cancels the task."""
    reply: task_pb2.TaskServiceCancelResponse = await home.answer(
        f"{SERVICE}/Cancel", task_pb2.TaskServiceCancelRequest()
    )
    return reply.task


async def watch(home: FakeHome, after_revision: int = 0) -> AsyncGenerator[task_pb2.TaskStatus]:
    """Watches the task."""
    asked = task_pb2.TaskServiceWatchRequest(after_revision=after_revision)
    async with aclosing(home.answers(f"{SERVICE}/Watch", asked)) as replies:
        async for reply in replies:
            yield reply.task


async def finished(home: FakeHome, work: Callable[[StringValue], Awaitable[Outcome]]) -> task_pb2.TaskStatus:
    """Starts the task, lets it do `work`, and tells how it stands when its body has ended."""
    told(home).work = work
    told(home).released.set()
    await start(home)
    await home.bodies_ended()
    return await get(home)


def number(status: task_pb2.TaskStatus) -> int:
    """The result of the task."""
    found = Int64Value()
    assert status.result.Unpack(found)
    return found.value
