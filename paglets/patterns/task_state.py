"""How a task stands: the state that a task keeps, its transitions, and the status that clients are told.

Pure: the time of day is handed in, and nothing here knows of turns or hosts.
"""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message

from paglet.v1 import task_pb2
from paglets.errors import PagletError
from paglets.values import TaskPhase
from paglets.wire.tasks import task_phase_to_message
from paglets.wire.times import time_to_message

__all__ = ["PackedMessage", "TaskState", "error_text", "status_to_message"]

_MAX_ERROR_CHARS = 4096


@dataclass(frozen=True, slots=True)
class PackedMessage:
    """A protobuf message at rest: the name of its type as `google.protobuf.Any` writes it, and its bytes."""

    type_url: str
    value: bytes

    @classmethod
    def of(cls, message: Message) -> PackedMessage:
        """Packs a message; equal messages of a type give equal bytes."""
        packed = AnyMessage()
        packed.Pack(message, deterministic=True)
        return cls(packed.type_url, packed.value)

    def to_message(self) -> AnyMessage:
        """The same as an `Any`."""
        return AnyMessage(type_url=self.type_url, value=self.value)


@dataclass
class TaskState:
    """What every task keeps; derive from it to keep more.

    Times are seconds since the epoch, 0.0 for not yet. `target` is where a task WAITING_FOR_ARRIVAL is bound for. `run`
    counts the starts, and `has_body` says that the body of this run has not ended: both tell work from a leftover.
    `error_code` and `error_reason` are those of the PagletError that the task failed with, 0 and empty without one.
    """

    phase: TaskPhase = TaskPhase.NEW
    request: PackedMessage | None = None
    result: PackedMessage | None = None
    error: str = ""
    started_at: float = 0.0
    completed_at: float = 0.0
    target: str = ""
    run: int = 0
    has_body: bool = False
    error_code: int = 0
    error_reason: str = ""

    @property
    def done(self) -> bool:
        """Whether the task has ended, well or not."""
        return self.phase.ended

    @property
    def under_way(self) -> bool:
        """Whether the task was started and has not ended."""
        return self.phase in {TaskPhase.RUNNING, TaskPhase.WAITING_FOR_ARRIVAL}

    def start(self, request: PackedMessage, now: float) -> None:
        """Begins a run; nothing of an earlier one remains."""
        self.request, self.started_at = request, now
        self.restart()

    def restart(self) -> None:
        """Begins a run anew, for the same request."""
        self.run += 1
        self.phase, self.has_body, self.target = TaskPhase.RUNNING, True, ""
        self._forget_outcome()

    def wait_for_arrival(self, target: str) -> None:
        """The task goes on where its paglet arrives."""
        self.phase, self.target = TaskPhase.WAITING_FOR_ARRIVAL, target

    def complete(self, result: PackedMessage | None, now: float) -> None:
        """Ends the task well."""
        self._end(TaskPhase.COMPLETED, now)
        self.result = result

    def fail(self, error: str, now: float, cause: str | BaseException = "") -> None:
        """Ends the task with an error; a result that was there already is dropped. Code and reason are the cause's."""
        self._end(TaskPhase.FAILED, now)
        self.error = error
        if isinstance(cause, PagletError):
            self.error_code, self.error_reason = int(cause.code), _sendable(cause.reason)

    def enter(self, phase: TaskPhase, now: float) -> None:
        """Sets the phase alone; one that ends the task does so without a result, or with an error that says little."""
        if phase is TaskPhase.COMPLETED:
            self.complete(None, now)
        elif phase is TaskPhase.FAILED:
            self.fail(error_text(""), now)
        else:
            self.phase = phase
            self._forget_outcome()

    def _end(self, phase: TaskPhase, now: float) -> None:
        self.phase, self.has_body, self.target = phase, False, ""
        self._forget_outcome()
        self.completed_at = now

    def _forget_outcome(self) -> None:
        self.result, self.completed_at = None, 0.0
        self.error, self.error_code, self.error_reason = "", 0, ""


def error_text(error: str | BaseException) -> str:
    """What a task says of an error: never empty, never longer than a state can bear, always text that can be sent."""
    text = error.message if isinstance(error, PagletError) else str(error)
    if not text.strip():
        text = "failed without a reason" if isinstance(error, str) else type(error).__name__
    return _sendable(text)


def _sendable(text: str) -> str:
    if len(text) > _MAX_ERROR_CHARS:
        text = text[: _MAX_ERROR_CHARS - 3] + "..."
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def status_to_message(state: TaskState, paglet_id: str, host: str) -> task_pb2.TaskStatus:
    """How the task of a paglet stands, as `host` tells it."""
    return task_pb2.TaskStatus(
        phase=task_phase_to_message(state.phase),
        done=state.done,
        request=state.request.to_message() if state.request else None,
        result=state.result.to_message() if state.result else None,
        error=state.error,
        error_reason=state.error_reason,
        error_code=state.error_code,
        start_time=time_to_message(state.started_at),
        complete_time=time_to_message(state.completed_at),
        paglet_id=paglet_id,
        host=host,
    )
