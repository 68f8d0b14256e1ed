"""What a task class must say of its messages, and the ways to say it."""

from __future__ import annotations

from typing import Generic, TypeVar

import pytest
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import Int64Value, StringValue

from paglets.examples.counter import CounterState
from paglets.patterns.tasks import TaskPaglet
from tests.patterns.task_support import Told

FirstT = TypeVar("FirstT", bound=Message)
SecondT = TypeVar("SecondT", bound=Message)


def test_task_9_missing_declaration_is_refused() -> None:
    """A class that does not say what it takes and gives is refused when it is defined, with the way to say it."""
    with pytest.raises(TypeError, match=r"Undeclared must declare Request and Result .*TaskPaglet\[MyRequest, MyRes"):
        type("Undeclared", (TaskPaglet,), {})
    with pytest.raises(TypeError, match="its Result is None"):
        type("Half", (TaskPaglet,), {"Request": StringValue})
    with pytest.raises(TypeError, match="its Request is <class 'int'>"):
        type("Wrong", (TaskPaglet,), {"Request": int, "Result": StringValue})


def test_task_9_foreign_state_is_refused() -> None:
    """A task's state derives from TaskState."""
    with pytest.raises(TypeError, match="Odd keeps CounterState, which does not derive from TaskState"):
        type("Odd", (Told,), {"State": CounterState})


def test_task_9_ways_to_declare() -> None:
    """Type arguments, class attributes, and generic classes in between declare the same."""

    class Swapped(TaskPaglet[SecondT, FirstT], Generic[FirstT, SecondT]):
        """Leaves both open, the other way round."""

    class Closed(Swapped[Int64Value, StringValue]):
        """Closes both."""

    class Derived(Closed):
        """Inherits."""

    attributes = type("Attributes", (TaskPaglet,), {"Request": StringValue, "Result": Int64Value})
    for declared in (Told, Closed, Derived, attributes):
        assert (declared.request_class(), declared.result_class()) == (StringValue, Int64Value)
