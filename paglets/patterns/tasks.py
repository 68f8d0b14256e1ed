"""The paglet that works in the background: started by one call, watched by others, ended by its outcome or a cancel.

The work never runs in a turn, so a task answers at any time; what it says is always durable.
"""

from __future__ import annotations

import time
from functools import partial
from typing import ClassVar, Generic, TypeVar

import typing_extensions
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message

from paglet.v1 import task_pb2
from paglets.core.context import Context
from paglets.core.events import ActivationEvent, CloneEvent, MobilityEvent
from paglets.core.paglet import Paglet
from paglets.core.turn import StateCell
from paglets.errors import PagletError, PreconditionError, Resource
from paglets.patterns.declared import declare_messages
from paglets.patterns.task_bodies import TaskBodies, has_a_say
from paglets.patterns.task_messages import PackedMessage, error_text, require_message, unpack_request
from paglets.patterns.task_progress import ReportedProgress
from paglets.patterns.task_service import TaskOperations
from paglets.patterns.task_state import TaskState, status_to_message
from paglets.values import PagletProxyRef, TaskPhase, TransferTicket

__all__ = ["TaskPaglet"]

RequestT = TypeVar("RequestT", bound=Message)
ResultT = TypeVar("ResultT", bound=Message)
TaskStateT = typing_extensions.TypeVar("TaskStateT", bound=TaskState, default=TaskState)
ProgressT = typing_extensions.TypeVar("ProgressT", bound=Message, default=Message)


class TaskPaglet(Paglet[TaskStateT], Generic[RequestT, ResultT, TaskStateT, ProgressT]):
    """A paglet that works on one request at a time: `class Sum(TaskPaglet[SumRequest, SumResult])` defines `run_task`.

    Request and result are protobuf messages; a third argument is a state class derived from `TaskState`, a fourth the
    message of which `report_progress` takes details, else any message will do. The class attributes `Request`, `Result`
    and `Progress` say the same, and a class without the first two is refused when it is defined.

    A body that was cut short, because its host was restarted or its paglet was moved while it ran, leaves a task that
    FAILED, unless `rerun_after_cut` says that it may begin anew with the same request. Hooks that a task overrides call
    those of `super()` first.
    """

    State = TaskState
    Patterns = (TaskOperations,)
    rerun_after_cut: ClassVar[bool] = False

    Request: type[RequestT]
    Result: type[ResultT]
    Progress: type[ProgressT]

    def __init_subclass__(cls, **options: object) -> None:
        super().__init_subclass__(**options)
        declare_messages(cls, TaskPaglet, ("Request", "Result"), {"Progress": 3})
        if not issubclass(cls.State, TaskState):
            raise TypeError(f"{cls.__qualname__} keeps {cls.State.__qualname__}, which does not derive from TaskState")

    def __init__(self, context: Context, cell: StateCell[TaskStateT]) -> None:
        super().__init__(context, cell)
        self._bodies = TaskBodies()
        self._bound_for = ""

    @classmethod
    def request_class(cls) -> type[RequestT]:
        """The message class of what the task is asked to do."""
        return cls.Request

    @classmethod
    def result_class(cls) -> type[ResultT]:
        """The message class of what comes of it."""
        return cls.Result

    @classmethod
    def progress_class(cls) -> type[ProgressT]:
        """The message class of the details of its progress; `Message` itself for a class that did not say."""
        return cls.Progress

    # What an author writes, and calls.

    async def run_task(self, request: RequestT) -> ResultT | PagletProxyRef | None:
        """The work, in the background; it changes the state in `async with self.turn()` only.

        A result ends the task well, an exception ends it FAILED and takes back the moves it asked for. What
        `self.dispatch()` gave leaves the task WAITING_FOR_ARRIVAL and moves it; it goes on in `on_arrival`. None leaves
        it as it is, for a later call or hook to end.

        It is cancelled when the task is: by then the task has FAILED with the reason TASK_CANCELLED, and what the body
        says of it from there on changes nothing. A thread that it waits for is not stopped, and may look at
        `self.state.done`.
        """
        raise NotImplementedError(f"{type(self).__qualname__} does not define run_task")

    async def complete_task(self, result: ResultT) -> None:
        """Ends the task well: within the running turn, or in a turn of its own. TypeError for a foreign message."""
        packed = self._pack(result)
        async with self.turn() as state:
            if has_a_say(state):
                state.complete(packed, time.time())

    async def fail_task(self, error: str | BaseException) -> None:
        """Ends the task FAILED: within the running turn, or in a turn of its own.

        Those who wait are told the text, and of a PagletError its code and reason too.
        """
        async with self.turn() as state:
            if has_a_say(state):
                state.fail(error_text(error), time.time(), error)

    async def set_task_phase(self, phase: TaskPhase) -> None:
        """Says how far the task is: within the running turn, or in a turn of its own. TypeError for a text."""
        async with self.turn() as state:
            if has_a_say(state):
                state.enter(phase, time.time())

    async def report_progress(
        self, done: int, total: int | None = None, message: str = "", detail: ProgressT | None = None
    ) -> None:
        """Tells those who watch that `done` of `total`, None for unknown, is done: within the running turn, or its own.

        It is durable on return, and costs as much as any turn: tell it a few times a second, not for every step. A task
        that is not under way takes none, and keeps the last. ValueError for counts below 0 or above 2**63 - 1,
        TypeError for a foreign detail.
        """
        packed = None if detail is None else self._pack_detail(detail)
        told = ReportedProgress.of(done, total, message, packed, time.time())
        async with self.turn() as state:
            if state.under_way and has_a_say(state):
                state.report(told)

    def dispatch(self, target: str, *, ticket: TransferTicket | None = None) -> PagletProxyRef:
        """As `Paglet.dispatch`; `run_task` returns what it gives."""
        ref = super().dispatch(target, ticket=ticket)
        self._bound_for = target
        return ref

    # What TaskService asks.

    def task_status(self, state: TaskState | None = None) -> task_pb2.TaskStatus:
        """How the task stands by `state`; without one in a turn as it leaves it, elsewhere as it is durable."""
        return status_to_message(state or self.state, self.paglet_id, self.context.host)

    def begin_task(self, packed: AnyMessage) -> None:
        """Sets RUNNING in the running turn; the body begins when that is durable.

        Raises MALFORMED_REQUEST for anything but the task's own request message, TASK_RUNNING until the task has ended.
        """
        request = unpack_request(packed, self.Request, type(self).__qualname__)
        if self.state.under_way:
            raise PreconditionError(
                "TASK_RUNNING",
                f"the task of paglet {self.paglet_id} is {self.state.phase}; it takes another start when it has ended",
                resource=Resource("paglet", self.paglet_id),
            )
        self.state.start(PackedMessage.of(request), time.time())
        self._begin_body(request)

    def cancel_task(self) -> None:
        """Ends a task that is under way, FAILED with TASK_CANCELLED, in the running turn; its body is told thereafter.

        Raises TASK_ON_ITS_WAY while it waits for a move that has not arrived: nobody can stop that.
        """
        state = self.state
        if state.phase is TaskPhase.WAITING_FOR_ARRIVAL and state.target not in {"", self.context.host}:
            raise PreconditionError(
                "TASK_ON_ITS_WAY",
                f"the task of paglet {self.paglet_id} goes on at host {state.target}; cancel it when it is there",
                resource=Resource("paglet", self.paglet_id),
                metadata={"target": state.target},
            )
        if state.under_way:
            state.cancel(time.time())
            self.start_background(partial(self._cancel_body, state.run))

    # Hooks: what becomes of a task whose body is gone.

    async def on_activation(self, event: ActivationEvent) -> None:
        """The body did not survive the host, and a move that the task waited for was never begun."""
        waiting = self.state.phase is TaskPhase.WAITING_FOR_ARRIVAL
        self._mend(f"host {event.host} was restarted", cut=waiting or self._lost_body())

    async def on_clone(self, event: CloneEvent) -> None:
        """Neither a body nor a move is cloned: the original's are its own."""
        waiting = self.state.phase is TaskPhase.WAITING_FOR_ARRIVAL
        self._mend(f"this is a clone of {event.original}, made", cut=waiting or self._lost_body())

    async def on_arrival(self, event: MobilityEvent) -> None:
        """A body does not travel. A task that asked for the move waits for what the author's `on_arrival` does."""
        self._mend(f"the paglet was moved from {event.source} to {event.target}", cut=self._lost_body())

    async def on_dispatch_aborted(self, error: PagletError) -> None:
        """A task that asked for the move has FAILED; the body of any other was ended for it."""
        if self.state.phase is TaskPhase.WAITING_FOR_ARRIVAL:
            self._fail_transfer(self.state.target, error)
        else:
            self._mend(f"a move was tried and given up: {error.message}", cut=self._lost_body())

    async def on_arrival_failed(self, error: PagletError) -> None:
        """A task that had not ended cannot go on in a paglet that failed to arrive."""
        if self.state.under_way:
            self._fail_transfer(self.context.host, error)

    def _fail_transfer(self, target: str, error: PagletError) -> None:
        self.state.fail(error_text(f"Transfer to {target} failed: {error.message}"), time.time(), error)

    def _lost_body(self) -> bool:
        """Whether the body should be at work and is not."""
        return self.state.has_body and self.state.run not in self._bodies

    def _mend(self, reason: str, *, cut: bool) -> None:
        """Applies the class's rule to a body that was cut short."""
        if not cut:
            return
        if self.rerun_after_cut and self.state.request is not None:
            self.state.restart()
            self._begin_body(self.Request.FromString(self.state.request.value))
        else:
            self.state.fail(error_text(f"the task was cut short: {reason} before it had ended"), time.time())

    # The body.

    def _begin_body(self, request: RequestT) -> None:
        self.context.start_background(partial(self._work, self.state.run, request))

    async def _work(self, run: int, request: RequestT) -> None:
        """One run of the task. A failure is raised on, so that the host takes back what the body asked for."""
        self._bound_for = ""
        with self._bodies.at_work(run):
            try:
                await self._settle(run, await self.run_task(request))
            except Exception as error:
                await self._settle_failure(run, error)
                raise

    async def _cancel_body(self, run: int) -> None:
        self._bodies.cancel(run)

    async def _settle(self, run: int, outcome: ResultT | PagletProxyRef | None) -> None:
        """Records how the body ended; a task that has ended already, or was started again, stays as it is.

        What a body asked for that was cancelled, or is not the task's any more, is taken back.
        """
        async with self.turn() as state:
            if state.run != run or state.cancelled:
                self._bodies.stop(run)
            if state.done:
                return
            state.has_body = False
            if isinstance(outcome, PagletProxyRef):
                state.wait_for_arrival(self._destination(outcome))
            elif outcome is not None:
                state.complete(self._pack(outcome), time.time())

    async def _settle_failure(self, run: int, error: Exception) -> None:
        async with self.turn() as state:
            if state.run == run and not state.done:
                state.fail(error_text(error), time.time(), error)

    def _destination(self, ref: PagletProxyRef) -> str:
        if ref != self.ref or not self._bound_for:
            raise TypeError(f"{type(self).__qualname__}.run_task returned {ref}, which self.dispatch() did not give")
        return self._bound_for

    # Messages.

    def _pack(self, result: object) -> PackedMessage:
        return require_message(result, self.Result, f"the result of {type(self).__qualname__}")

    def _pack_detail(self, detail: Message) -> PackedMessage:
        return require_message(detail, self.Progress, f"the detail of the progress of {type(self).__qualname__}")
