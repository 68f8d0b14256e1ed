"""Phases of a task, there and back."""

from __future__ import annotations

import pytest

from paglet.v1 import task_pb2
from paglets.errors import InternalError
from paglets.values import TaskPhase
from paglets.wire.tasks import task_phase_from_message, task_phase_to_message


def test_phases_are_those_of_the_proto() -> None:
    """Every phase has its number, every number but the unspecified one its phase, and the way back is the same."""
    numbers = {phase: task_phase_to_message(phase) for phase in TaskPhase}
    assert set(numbers.values()) == set(task_pb2.TaskPhase.values()) - {task_pb2.TASK_PHASE_UNSPECIFIED}
    assert {task_phase_from_message(number): number for number in numbers.values()} == numbers


@pytest.mark.parametrize("number", [task_pb2.TASK_PHASE_UNSPECIFIED, 99])
def test_no_phase(number: task_pb2.TaskPhase.ValueType) -> None:
    """A number that is no phase is not taken for one."""
    with pytest.raises(InternalError, match=f"answered with {number}, which is no phase") as error:
        task_phase_from_message(number)
    assert error.value.reason == "REPLY_INVALID"
