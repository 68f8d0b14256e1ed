"""`paglet.v1.TaskService`, answered for a task. It must never know what the task does, or how its state changes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Protocol

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message

from paglet.v1 import task_pb2
from paglets.core.paglet import PatternService
from paglets.patterns.task_state import TaskState
from paglets.wire.times import duration_from_message

__all__ = ["AnsweredTask", "TaskOperations"]

_WAIT_S = 0.5


class AnsweredTask(Protocol):
    """What TaskService asks of a task; every TaskPaglet is one."""

    @classmethod
    def request_class(cls) -> type[Message]:
        """The message class of what the task is asked to do."""
        ...

    def begin_task(self, packed: AnyMessage) -> None:
        """Begins the task in the running turn. Raises MALFORMED_REQUEST, TASK_RUNNING."""
        ...

    def cancel_task(self) -> None:
        """Ends the task, if it is under way, in the running turn. Raises TASK_ON_ITS_WAY."""
        ...

    def task_status(self, state: TaskState | None = None) -> task_pb2.TaskStatus:
        """How the task stands by `state`; without one in a turn as it leaves it, elsewhere as it is durable."""
        ...

    async def wait_state(self, predicate: Callable[[TaskState], bool], timeout_s: float | None = None) -> bool:
        """Waits until the durable state satisfies `predicate`; at the timeout its last value."""
        ...


class TaskOperations(PatternService[AnsweredTask]):
    """The rpcs, beside the task's own services. `Wait` and `Watch` are woken by commits, and occupy no turn."""

    Service = task_pb2.DESCRIPTOR.services_by_name["TaskService"]

    async def start(self, request: task_pb2.TaskServiceStartRequest) -> task_pb2.TaskServiceStartResponse:
        """Begins the task; the body begins when this turn is durable."""
        self.paglet.begin_task(request.request)
        return task_pb2.TaskServiceStartResponse(task=self.paglet.task_status())

    async def get(self, request: task_pb2.TaskServiceGetRequest) -> task_pb2.TaskServiceGetResponse:
        """Tells how the task stands, at once."""
        request_type = self.paglet.request_class().DESCRIPTOR.full_name
        return task_pb2.TaskServiceGetResponse(task=self.paglet.task_status(), request_type=request_type)

    async def wait(self, request: task_pb2.TaskServiceWaitRequest) -> task_pb2.TaskServiceWaitResponse:
        """Tells how the task stands when it has ended, or the timeout is over."""
        timeout_s = duration_from_message(request.timeout) if request.HasField("timeout") else _WAIT_S
        return task_pb2.TaskServiceWaitResponse(task=await self._status_when(_has_ended, max(0.0, timeout_s)))

    async def watch(
        self, request: task_pb2.TaskServiceWatchRequest
    ) -> AsyncIterator[task_pb2.TaskServiceWatchResponse]:
        """Tells how the task stands whenever that has changed, until it has ended."""
        seen = request.after_revision
        while True:
            task = await self._status_when(partial(_is_news, seen))
            if task.revision != seen:
                yield task_pb2.TaskServiceWatchResponse(task=task)
            if task.done:
                return
            seen = task.revision

    async def cancel(self, request: task_pb2.TaskServiceCancelRequest) -> task_pb2.TaskServiceCancelResponse:
        """Ends the task, if it is under way; the body is told when this turn is durable."""
        self.paglet.cancel_task()
        return task_pb2.TaskServiceCancelResponse(task=self.paglet.task_status())

    async def _status_when(
        self, is_wanted: Callable[[TaskState], bool], timeout_s: float | None = None
    ) -> task_pb2.TaskStatus:
        """How the task stands when that is as wanted, or at the timeout.

        It is told from the state that is shown to all who wait: reading it once more would be a copy for each of them.
        """
        shown: TaskState | None = None

        def look(state: TaskState) -> bool:
            nonlocal shown
            shown = state
            return is_wanted(state)

        await self.paglet.wait_state(look, timeout_s)
        return self.paglet.task_status(shown)


def _has_ended(state: TaskState) -> bool:
    return state.done


def _is_news(seen: int, state: TaskState) -> bool:
    return state.done or state.revision != seen
