"""How far the work of a task is, as the work itself tells it. Pure: the time of day is handed in."""

from __future__ import annotations

from dataclasses import dataclass

from paglet.v1 import task_pb2
from paglets.patterns.task_messages import PackedMessage, sendable
from paglets.wire.times import time_to_message

__all__ = ["ReportedProgress"]

_MAX_COUNT = 2**63 - 1


@dataclass(frozen=True, slots=True)
class ReportedProgress:
    """What was told last: `done` of `total`, 0 for unknown, in the task's own measure; `told_at` in seconds."""

    done: int
    total: int = 0
    message: str = ""
    detail: PackedMessage | None = None
    told_at: float = 0.0

    @classmethod
    def of(
        cls, done: int, total: int | None, message: str, detail: PackedMessage | None, told_at: float
    ) -> ReportedProgress:
        """Checks what an author tells. ValueError for counts below 0 or of more than 63 bits; long texts are cut."""
        counts = done, total or 0
        if not all(0 <= count <= _MAX_COUNT for count in counts):
            raise ValueError(f"done and total must be between 0 and {_MAX_COUNT}, got {done} and {total}")
        return cls(*counts, sendable(message), detail, told_at)

    def to_message(self) -> task_pb2.TaskProgress:
        """The same as clients are told it."""
        return task_pb2.TaskProgress(
            done=self.done,
            total=self.total,
            message=self.message,
            detail=self.detail.to_message() if self.detail else None,
            update_time=time_to_message(self.told_at),
        )
