"""A task, as those see it who have it done: start it, ask how it stands, watch it, wait for its end, cancel it."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import grpc
import typing_extensions
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message

from paglet.v1 import task_pb2
from paglet.v1.task_pb2_grpc import TaskServiceStub
from paglets.client.follow import followed
from paglets.client.proxy import PagletProxy
from paglets.client.task_snapshot import TaskSnapshot, snapshot_from_message
from paglets.errors import DeadlineError, UnavailableError
from paglets.wire.metadata import REQUEST_ID_KEY
from paglets.wire.times import duration_to_message

__all__ = ["TaskClient", "TaskDeclaration"]

RequestT = TypeVar("RequestT", bound=Message)
ResultT = TypeVar("ResultT", bound=Message)
ProgressT = typing_extensions.TypeVar("ProgressT", bound=Message, default=Message)
ThisRequestT = TypeVar("ThisRequestT", bound=Message)
ThisResultT = TypeVar("ThisResultT", bound=Message)
ThisProgressT = TypeVar("ThisProgressT", bound=Message)
RequestT_co = TypeVar("RequestT_co", bound=Message, covariant=True)
ResultT_co = TypeVar("ResultT_co", bound=Message, covariant=True)
ProgressT_co = TypeVar("ProgressT_co", bound=Message, covariant=True)

_LONGEST_WAIT_S = 20.0
"""One call waits no longer than this: whoever stands between the two ends may not bear long calls."""

_SLACK_S = 1.0
"""How much longer than its wait a call may take."""


class TaskDeclaration(Protocol[RequestT_co, ResultT_co, ProgressT_co]):
    """A class that says what its task takes, what comes of it and what it tells meanwhile; every TaskPaglet does."""

    @classmethod
    def request_class(cls) -> type[RequestT_co]:
        """The message class of the request."""
        ...

    @classmethod
    def result_class(cls) -> type[ResultT_co]:
        """The message class of the result."""
        ...

    @classmethod
    def progress_class(cls) -> type[ProgressT_co]:
        """The message class of the details of its progress; `Message` itself for any."""
        ...


@dataclass(frozen=True, slots=True)
class TaskClient(Generic[RequestT, ResultT, ProgressT]):
    """The task of one paglet, wherever that is. All methods raise PagletErrors, as the proxy's stubs do.

    Details of its progress are messages of `progress_type`; where that is `Message` itself they are given as the
    `google.protobuf.Any` in which they came.
    """

    proxy: PagletProxy
    request_type: type[RequestT]
    result_type: type[ResultT]
    progress_type: type[ProgressT] = Message  # pyright: ignore[reportAssignmentType] - which is what ProgressT is then

    @staticmethod
    def for_paglet(
        proxy: PagletProxy, paglet_class: type[TaskDeclaration[ThisRequestT, ThisResultT, ThisProgressT]]
    ) -> TaskClient[ThisRequestT, ThisResultT, ThisProgressT]:
        """A client for a task of this class."""
        return TaskClient(
            proxy, paglet_class.request_class(), paglet_class.result_class(), paglet_class.progress_class()
        )

    async def start(self, request: RequestT, *, request_id: str = "") -> TaskSnapshot[ResultT, ProgressT]:
        """Begins the task; it is RUNNING, durably, on return. Raises MALFORMED_REQUEST, TASK_RUNNING.

        Safe to repeat with the same `request_id`, a UUID: the task is begun once, and what was answered first is
        answered again.
        """
        packed = AnyMessage()
        packed.Pack(request)
        asked = task_pb2.TaskServiceStartRequest(request=packed)
        reply = await self.proxy.stub(TaskServiceStub).Start(asked, metadata=_own_id(request_id))
        return self._snapshot(reply.task)

    async def get(self) -> TaskSnapshot[ResultT, ProgressT]:
        """Tells how the task stands. Safe to repeat."""
        reply = await self.proxy.stub(TaskServiceStub).Get(task_pb2.TaskServiceGetRequest())
        return self._snapshot(reply.task)

    async def wait(self, timeout_s: float = 0.5) -> TaskSnapshot[ResultT, ProgressT]:
        """Waits until the task has ended, or the time is over, and tells how it stands then.

        Follows the task to other hosts; `math.inf` waits for ever. Safe to repeat.
        """
        end = time.monotonic() + max(0.0, timeout_s)
        while True:
            left_s = max(0.0, end - time.monotonic())
            snapshot = await self._wait_once(min(left_s, _LONGEST_WAIT_S))
            if snapshot.done or left_s <= _LONGEST_WAIT_S:
                return snapshot

    async def watch(self, after_revision: int = 0) -> AsyncGenerator[TaskSnapshot[ResultT, ProgressT], None]:
        """How the task stands now, and then after each change, to its end, which comes last; no revision comes twice.

        Changes that follow each other closely may come as one: `revision` tells how many. With `after_revision`, that
        of the last snapshot seen, it begins with the next change. It goes on over moves, rests and restarts of hosts,
        and brings an inactive paglet back as a call does; while nobody can be reached it goes on as long as a call
        would. A task that was started again before its end was told is watched to the end of that run.
        """

        def open_call(
            revision: int,
        ) -> grpc.aio.UnaryStreamCall[task_pb2.TaskServiceWatchRequest, task_pb2.TaskServiceWatchResponse]:
            stub = self.proxy.stub(TaskServiceStub)
            return stub.Watch(task_pb2.TaskServiceWatchRequest(after_revision=revision))

        stream = followed(after_revision, open_call, lambda reply: reply.task.revision, self.proxy.client.policy)
        async with aclosing(stream) as replies:
            async for reply in replies:
                yield self._snapshot(reply.task)
                if reply.task.done:
                    return

    async def cancel(self, *, request_id: str = "") -> TaskSnapshot[ResultT, ProgressT]:
        """Ends a task that is under way, FAILED with the reason TASK_CANCELLED; any other stays as it is.

        Safe to repeat with the same `request_id`, a UUID. Raises TASK_ON_ITS_WAY while it moves to where it goes on.
        """
        asked = task_pb2.TaskServiceCancelRequest()
        reply = await self.proxy.stub(TaskServiceStub).Cancel(asked, metadata=_own_id(request_id))
        return self._snapshot(reply.task)

    async def start_and_wait(self, request: RequestT, timeout_s: float = math.inf) -> TaskSnapshot[ResultT, ProgressT]:
        """Begins the task and waits as `wait` does. Raises as `start` does."""
        snapshot = await self.start(request)
        return snapshot if snapshot.done else await self.wait(timeout_s)

    async def _wait_once(self, timeout_s: float) -> TaskSnapshot[ResultT, ProgressT]:
        request = task_pb2.TaskServiceWaitRequest(timeout=duration_to_message(timeout_s))
        try:
            reply = await self.proxy.stub(TaskServiceStub).Wait(request, timeout=timeout_s + _SLACK_S)
        except (DeadlineError, UnavailableError):  # e.g. a host begins the wait anew for a paglet that has come to it
            return await self.get()
        return self._snapshot(reply.task)

    def _snapshot(self, status: task_pb2.TaskStatus) -> TaskSnapshot[ResultT, ProgressT]:
        return snapshot_from_message(status, self.result_type, self.progress_type)


def _own_id(request_id: str) -> tuple[tuple[str, str], ...]:
    return ((REQUEST_ID_KEY, request_id),) if request_id else ()
