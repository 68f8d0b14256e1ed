"""Somebody who watches a task all along, and remembers every revision that he was told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager

from google.protobuf.wrappers_pb2 import Int64Value, StringValue

from paglet.examples.counter.v1.counter_pb2 import AddRequest
from paglet.examples.counter.v1.counter_pb2_grpc import CounterServiceStub
from paglets.client.task_snapshot import TaskSnapshot
from paglets.client.tasks import TaskClient
from paglets.testing import eventually

__all__ = ["Steps", "TaskWatcher", "step", "watching"]

Steps = TaskClient[StringValue, Int64Value, StringValue]


class TaskWatcher:
    """What was told so far."""

    def __init__(self) -> None:
        self.told: list[TaskSnapshot[Int64Value, StringValue]] = []

    @property
    def revisions(self) -> list[int]:
        """The revisions, in the order in which they came."""
        return [snapshot.revision for snapshot in self.told]

    async def caught_up(self, task: Steps) -> None:
        """Waits until the newest revision was told."""
        newest = (await task.get()).revision

        async def is_told() -> bool:
            return newest in self.revisions

        await eventually(is_told, 20.0, f"revision {newest} after {self.revisions[-3:]}")

    async def watch(self, task: Steps) -> None:
        """Watches to the end."""
        async with aclosing(task.watch()) as watched:
            async for snapshot in watched:
                self.told.append(snapshot)


@asynccontextmanager
async def watching(task: Steps) -> AsyncGenerator[tuple[TaskWatcher, asyncio.Task[None]]]:
    """Somebody who watches from now on, and the work of doing so."""
    watcher = TaskWatcher()
    async with asyncio.TaskGroup() as group:
        work = group.create_task(watcher.watch(task))
        yield watcher, work
        work.cancel()


async def step(task: Steps, amount: int = 1) -> None:
    """Has the task take steps."""
    await task.proxy.stub(CounterServiceStub).Add(AddRequest(amount=amount))
