"""A task, as those see it who have it done: start it, ask how it stands, wait for its end."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message

from paglet.v1 import task_pb2
from paglet.v1.task_pb2_grpc import TaskServiceStub
from paglets.client.proxy import PagletProxy
from paglets.client.unpack import unpack
from paglets.values import TaskPhase
from paglets.wire.tasks import task_phase_from_message
from paglets.wire.times import duration_to_message, time_from_message

__all__ = ["TaskClient", "TaskDeclaration", "TaskSnapshot"]

RequestT = TypeVar("RequestT", bound=Message)
ResultT = TypeVar("ResultT", bound=Message)
ThisRequestT = TypeVar("ThisRequestT", bound=Message)
ThisResultT = TypeVar("ThisResultT", bound=Message)
RequestT_co = TypeVar("RequestT_co", bound=Message, covariant=True)
ResultT_co = TypeVar("ResultT_co", bound=Message, covariant=True)

_LONGEST_WAIT_S = 20.0
"""One call waits no longer than this: whoever stands between the two ends may not bear long calls."""

_GRACE_S = 30.0
"""How much longer than its wait a call may take, for a host that is started again or a paglet on its way."""


class TaskDeclaration(Protocol[RequestT_co, ResultT_co]):
    """A class that says what its task takes and what comes of it; every TaskPaglet does."""

    @classmethod
    def request_class(cls) -> type[RequestT_co]:
        """The message class of the request."""
        ...

    @classmethod
    def result_class(cls) -> type[ResultT_co]:
        """The message class of the result."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSnapshot(Generic[ResultT]):
    """How a task stood when it was asked; `host` answered. Times are seconds since the epoch, 0.0 for not yet.

    `error_code` and `error_reason` are those of the PagletError that the task failed with, 0 and empty without one.
    """

    phase: TaskPhase
    done: bool
    result: ResultT | None
    error: str
    started_at: float
    completed_at: float
    paglet_id: str
    host: str
    error_code: int = 0
    error_reason: str = ""


@dataclass(frozen=True, slots=True)
class TaskClient(Generic[RequestT, ResultT]):
    """The task of one paglet, wherever that is. All methods raise PagletErrors, as the proxy's stubs do."""

    proxy: PagletProxy
    request_type: type[RequestT]
    result_type: type[ResultT]

    @staticmethod
    def for_paglet(
        proxy: PagletProxy, paglet_class: type[TaskDeclaration[ThisRequestT, ThisResultT]]
    ) -> TaskClient[ThisRequestT, ThisResultT]:
        """A client for a task of this class."""
        return TaskClient(proxy, paglet_class.request_class(), paglet_class.result_class())

    async def start(self, request: RequestT) -> TaskSnapshot[ResultT]:
        """Begins the task; it is RUNNING, durably, on return. Raises MALFORMED_REQUEST, TASK_RUNNING."""
        packed = AnyMessage()
        packed.Pack(request)
        reply = await self.proxy.stub(TaskServiceStub).Start(task_pb2.TaskServiceStartRequest(request=packed))
        return self._snapshot(reply.task)

    async def get(self) -> TaskSnapshot[ResultT]:
        """Tells how the task stands. Safe to repeat."""
        reply = await self.proxy.stub(TaskServiceStub).Get(task_pb2.TaskServiceGetRequest())
        return self._snapshot(reply.task)

    async def wait(self, timeout_s: float = 0.5) -> TaskSnapshot[ResultT]:
        """Waits until the task has ended, or the time is over, and tells how it stands then.

        Follows the task to other hosts; `math.inf` waits for ever. Safe to repeat.
        """
        end = time.monotonic() + max(0.0, timeout_s)
        while True:
            left_s = max(0.0, end - time.monotonic())
            snapshot = await self._wait_once(min(left_s, _LONGEST_WAIT_S))
            if snapshot.done or left_s <= _LONGEST_WAIT_S:
                return snapshot

    async def start_and_wait(self, request: RequestT, timeout_s: float = math.inf) -> TaskSnapshot[ResultT]:
        """Begins the task and waits as `wait` does. Raises as `start` does."""
        snapshot = await self.start(request)
        return snapshot if snapshot.done else await self.wait(timeout_s)

    async def _wait_once(self, timeout_s: float) -> TaskSnapshot[ResultT]:
        request = task_pb2.TaskServiceWaitRequest(timeout=duration_to_message(timeout_s))
        reply = await self.proxy.stub(TaskServiceStub).Wait(request, timeout=timeout_s + _GRACE_S)
        return self._snapshot(reply.task)

    def _snapshot(self, status: task_pb2.TaskStatus) -> TaskSnapshot[ResultT]:
        return TaskSnapshot(
            phase=task_phase_from_message(status.phase),
            done=status.done,
            result=self._result(status),
            error=status.error,
            started_at=time_from_message(status.start_time),
            completed_at=time_from_message(status.complete_time),
            paglet_id=status.paglet_id,
            host=status.host,
            error_code=status.error_code,
            error_reason=status.error_reason,
        )

    def _result(self, status: task_pb2.TaskStatus) -> ResultT | None:
        return unpack(status.result, self.result_type, "the task's result") if status.HasField("result") else None
