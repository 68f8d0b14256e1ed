"""How a task stands: the state that a task keeps, its transitions, and the status that clients are told.

Pure: the time of day is handed in, and nothing here knows of turns or hosts.
"""

from __future__ import annotations

from dataclasses import dataclass

from paglet.v1 import task_pb2
from paglets.errors import CancelledCallError, PagletError
from paglets.members import require_member
from paglets.patterns.task_messages import PackedMessage, error_text, sendable
from paglets.patterns.task_progress import ReportedProgress
from paglets.values import TaskPhase
from paglets.wire.tasks import task_phase_to_message
from paglets.wire.times import time_to_message

__all__ = ["TaskState", "status_to_message"]

_CANCELLED = "TASK_CANCELLED"


@dataclass
class TaskState:
    """What every task keeps; derive from it to keep more. Its methods change it: they count the `revision`.

    Times are seconds since the epoch, 0.0 for not yet. `target` is where a task WAITING_FOR_ARRIVAL is bound for. `run`
    counts the starts, and `has_body` says that the body of this run has not ended: both tell work from a leftover.
    `error_code` and `error_reason` are those of the PagletError that the task failed with, 0 and empty without one.
    `revision` grows by one with each turn that changes how the task stands, however often it does; it begins with 1.
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
    revision: int = 1
    progress: ReportedProgress | None = None

    @property
    def done(self) -> bool:
        """Whether the task has ended, well or not."""
        return self.phase.ended

    @property
    def under_way(self) -> bool:
        """Whether the task was started and has not ended."""
        return self.phase in {TaskPhase.RUNNING, TaskPhase.WAITING_FOR_ARRIVAL}

    @property
    def cancelled(self) -> bool:
        """Whether somebody cancelled it."""
        return self.phase is TaskPhase.FAILED and self.error_reason == _CANCELLED

    def start(self, request: PackedMessage, now: float) -> None:
        """Begins a run; nothing of an earlier one remains."""
        self.request, self.started_at = request, now
        self.restart()

    def restart(self) -> None:
        """Begins a run anew, for the same request."""
        self.run += 1
        self.phase, self.has_body, self.target, self.progress = TaskPhase.RUNNING, True, "", None
        self._forget_outcome()
        self._changed()

    def wait_for_arrival(self, target: str) -> None:
        """The task goes on where its paglet arrives."""
        self.phase, self.target = TaskPhase.WAITING_FOR_ARRIVAL, target
        self._changed()

    def report(self, progress: ReportedProgress) -> None:
        """Says how far the work is; what it said before is forgotten."""
        self.progress = progress
        self._changed()

    def complete(self, result: PackedMessage | None, now: float) -> None:
        """Ends the task well."""
        self._end(TaskPhase.COMPLETED, now)
        self.result = result

    def fail(self, error: str, now: float, cause: str | BaseException = "") -> None:
        """Ends the task with an error; a result that was there already is dropped. Code and reason are the cause's."""
        self._end(TaskPhase.FAILED, now)
        self.error = error
        if isinstance(cause, PagletError):
            self.error_code, self.error_reason = int(cause.code), sendable(cause.reason)

    def cancel(self, now: float) -> None:
        """Ends the task because somebody wanted it to end."""
        cause = CancelledCallError(_CANCELLED, "the task was cancelled")
        self.fail(cause.message, now, cause)

    def enter(self, phase: TaskPhase, now: float) -> None:
        """Sets the phase alone; one that ends the task does so without a result, or with an error that says little.

        TypeError for a phase by its text.
        """
        require_member(phase, TaskPhase, "phase")
        if phase is TaskPhase.COMPLETED:
            self.complete(None, now)
        elif phase is TaskPhase.FAILED:
            self.fail(error_text(""), now)
        else:
            self.phase = phase
            self._forget_outcome()
            self._changed()

    def _end(self, phase: TaskPhase, now: float) -> None:
        self.phase, self.has_body, self.target = phase, False, ""
        self._forget_outcome()
        self.completed_at = now
        self._changed()

    def _forget_outcome(self) -> None:
        self.result, self.completed_at = None, 0.0
        self.error, self.error_code, self.error_reason = "", 0, ""

    def _changed(self) -> None:
        """Counts the turn's change once: each turn has an object of its own, which remembers the number before."""
        self.revision = self.__dict__.setdefault("_revision_before", self.revision) + 1


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
        revision=state.revision,
        progress=state.progress.to_message() if state.progress else None,
    )
