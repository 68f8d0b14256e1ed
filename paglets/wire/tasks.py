"""How far a task has come, as its number on the wire and back."""

from __future__ import annotations

from paglet.v1 import task_pb2
from paglets.errors import InternalError
from paglets.values import TaskPhase

__all__ = ["task_phase_from_message", "task_phase_to_message"]

_PHASES = {phase: task_pb2.TaskPhase.Value(f"TASK_PHASE_{phase.name}") for phase in TaskPhase}
_PHASES_BACK = {number: phase for phase, number in _PHASES.items()}


def task_phase_to_message(phase: TaskPhase) -> task_pb2.TaskPhase.ValueType:
    """The number of a phase."""
    return _PHASES[phase]


def task_phase_from_message(number: task_pb2.TaskPhase.ValueType) -> TaskPhase:
    """The phase of a number. Raises REPLY_INVALID when there is none: no task answers so."""
    phase = _PHASES_BACK.get(number)
    if phase is None:
        raise InternalError("REPLY_INVALID", f"the task answered with {number}, which is no phase of a task")
    return phase
