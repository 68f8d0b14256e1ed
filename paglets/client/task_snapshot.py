"""How a task stood when it was asked, with its messages as objects of their classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

import typing_extensions
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message

from paglet.v1 import task_pb2
from paglets.client.unpack import unpack
from paglets.values import TaskPhase
from paglets.wire.tasks import task_phase_from_message
from paglets.wire.times import time_from_message

__all__ = ["TaskProgress", "TaskSnapshot", "snapshot_from_message"]

MessageT = TypeVar("MessageT", bound=Message)
ResultT = TypeVar("ResultT", bound=Message)
ProgressT = typing_extensions.TypeVar("ProgressT", bound=Message, default=Message)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskProgress(Generic[ProgressT]):
    """How far the work of a task was at `told_at`, in seconds since the epoch: `done` of `total`, 0 for unknown."""

    done: int
    total: int
    message: str
    detail: ProgressT | None
    told_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSnapshot(Generic[ResultT, ProgressT]):
    """How a task stood when it was asked; `host` answered. Times are seconds since the epoch, 0.0 for not yet.

    `error_code` and `error_reason` are those of the PagletError that the task failed with, 0 and empty without one.
    `revision` grows by one with each change of how the task stands. `progress` is what the work told last, if it did.
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
    revision: int = 0
    progress: TaskProgress[ProgressT] | None = None

    @property
    def cancelled(self) -> bool:
        """Whether somebody cancelled it."""
        return self.phase is TaskPhase.FAILED and self.error_reason == "TASK_CANCELLED"


def snapshot_from_message(
    status: task_pb2.TaskStatus, result_type: type[ResultT], progress_type: type[ProgressT]
) -> TaskSnapshot[ResultT, ProgressT]:
    """A status with its messages unpacked. Raises REPLY_INVALID for one of another class than the task declares."""
    return TaskSnapshot(
        phase=task_phase_from_message(status.phase),
        done=status.done,
        result=_unpack(status.result, result_type, "result") if status.HasField("result") else None,
        error=status.error,
        started_at=time_from_message(status.start_time),
        completed_at=time_from_message(status.complete_time),
        paglet_id=status.paglet_id,
        host=status.host,
        error_code=status.error_code,
        error_reason=status.error_reason,
        revision=status.revision,
        progress=_progress(status.progress, progress_type) if status.HasField("progress") else None,
    )


def _progress(told: task_pb2.TaskProgress, progress_type: type[ProgressT]) -> TaskProgress[ProgressT]:
    return TaskProgress(
        done=told.done,
        total=told.total,
        message=told.message,
        detail=_unpack(told.detail, progress_type, "progress") if told.HasField("detail") else None,
        told_at=time_from_message(told.update_time),
    )


def _unpack(packed: AnyMessage, wanted: type[MessageT], what: str) -> MessageT:
    """The message in an Any; the Any itself where any message is wanted."""
    return _taken_as(packed, wanted) or unpack(packed, wanted, f"the task's {what}")


def _taken_as(message: Message, wanted: type[MessageT]) -> MessageT | None:
    return message if isinstance(message, wanted) else None
