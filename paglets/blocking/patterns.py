"""The faces of the clients of what paglets answer by patterns: operations, tasks and events."""

from __future__ import annotations

import math
from collections.abc import Generator
from functools import partial
from typing import Generic, TypeVar

import typing_extensions
from google.protobuf.message import Message

from paglets.blocking.client import PagletProxy
from paglets.blocking.faces import Face, waiting
from paglets.client import events, operations, tasks
from paglets.client.events import EventDeclaration, EventPage
from paglets.client.task_snapshot import TaskSnapshot
from paglets.client.tasks import TaskDeclaration

__all__ = ["EventClient", "OperationClient", "TaskClient"]

RequestT = TypeVar("RequestT", bound=Message)
ResultT = TypeVar("ResultT", bound=Message)
ProgressT = typing_extensions.TypeVar("ProgressT", bound=Message, default=Message)
ThisRequestT = TypeVar("ThisRequestT", bound=Message)
ThisResultT = TypeVar("ThisResultT", bound=Message)
ThisProgressT = TypeVar("ThisProgressT", bound=Message)
EventT = TypeVar("EventT", bound=Message)
ThisEventT = TypeVar("ThisEventT", bound=Message)


class OperationClient(Face[operations.OperationClient]):
    """The operations of one paglet, wherever it is: `OperationClient(proxy).call(ADD, request, AddResponse)`."""

    def __init__(self, proxy: PagletProxy) -> None:
        super().__init__(operations.OperationClient(proxy.inner), proxy.loop)

    call = waiting(operations.OperationClient.call)
    call_any = waiting(operations.OperationClient.call_any)
    post = waiting(operations.OperationClient.post)
    post_any = waiting(operations.OperationClient.post_any)


class TaskClient(Face[tasks.TaskClient[RequestT, ResultT, ProgressT]], Generic[RequestT, ResultT, ProgressT]):
    """The task of one paglet, wherever that is; its methods are those of `paglets.client.tasks.TaskClient`."""

    def __init__(
        self,
        proxy: PagletProxy,
        request_type: type[RequestT],
        result_type: type[ResultT],
        progress_type: type[ProgressT] = Message,
    ) -> None:
        super().__init__(tasks.TaskClient(proxy.inner, request_type, result_type, progress_type), proxy.loop)

    @staticmethod
    def for_paglet(
        proxy: PagletProxy, paglet_class: type[TaskDeclaration[ThisRequestT, ThisResultT, ThisProgressT]]
    ) -> TaskClient[ThisRequestT, ThisResultT, ThisProgressT]:
        """A client for a task of this class."""
        return TaskClient(
            proxy, paglet_class.request_class(), paglet_class.result_class(), paglet_class.progress_class()
        )

    def start(self, request: RequestT, *, request_id: str = "") -> TaskSnapshot[ResultT, ProgressT]:
        """Begins the task; it is RUNNING, durably, on return."""
        return self.loop.wait(partial(self.inner.start, request, request_id=request_id))

    def get(self) -> TaskSnapshot[ResultT, ProgressT]:
        """Tells how the task stands."""
        return self.loop.wait(self.inner.get)

    def wait(self, timeout_s: float = 0.5) -> TaskSnapshot[ResultT, ProgressT]:
        """Waits until the task has ended, or the time is over, and tells how it stands then."""
        return self.loop.wait(partial(self.inner.wait, timeout_s))

    def watch(self, after_revision: int = 0) -> Generator[TaskSnapshot[ResultT, ProgressT]]:
        """How the task stands now, and then after each change, to its end, which comes last."""
        return self.loop.iterate(partial(self.inner.watch, after_revision))

    def cancel(self, *, request_id: str = "") -> TaskSnapshot[ResultT, ProgressT]:
        """Ends a task that is under way."""
        return self.loop.wait(partial(self.inner.cancel, request_id=request_id))

    def start_and_wait(self, request: RequestT, timeout_s: float = math.inf) -> TaskSnapshot[ResultT, ProgressT]:
        """Begins the task and waits as `wait` does."""
        return self.loop.wait(partial(self.inner.start_and_wait, request, timeout_s))


class EventClient(Face[events.EventClient[EventT]], Generic[EventT]):
    """The events of one paglet; its methods are those of `paglets.client.events.EventClient`."""

    def __init__(self, proxy: PagletProxy, event_type: type[EventT]) -> None:
        super().__init__(events.EventClient(proxy.inner, event_type), proxy.loop)

    @staticmethod
    def for_paglet(proxy: PagletProxy, paglet_class: type[EventDeclaration[ThisEventT]]) -> EventClient[ThisEventT]:
        """A client for the events of a paglet of this class."""
        return EventClient(proxy, paglet_class.event_class())

    def drain(self, after: int = 0, limit: int = 100, wait_s: float = 0.0) -> EventPage[EventT]:
        """Gives at most `limit` events after a cursor; waits if there is none."""
        return self.loop.wait(partial(self.inner.drain, after, limit, wait_s))

    def watch(self, after: int | None = None) -> Generator[tuple[int, EventT]]:
        """Gives the events after a cursor, by default those from now on, and each that comes, with its cursor."""
        return self.loop.iterate(partial(self.inner.watch, after))
