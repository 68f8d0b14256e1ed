"""The paglet that is there to answer operations answers some."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import pytest

from paglet.examples.counter.v1 import counter_pb2
from paglets.core.raw_call import RawCall
from paglets.patterns.operations import OperationPaglet

StateT = TypeVar("StateT")
COUNTER = counter_pb2.DESCRIPTOR.services_by_name["CounterService"]


@dataclass
class Nothing:
    """A state without fields."""


def test_op_1_no_service_is_refused() -> None:
    """A class without services is refused when it is defined, with the way to name one."""
    with pytest.raises(TypeError, match=r"Mute answers no service: name at least one, e\.g\. `Services = "):
        type("Mute", (OperationPaglet,), {"State": Nothing})


def test_op_1_missing_method_is_refused() -> None:
    """A service without its methods is refused when the class is defined."""
    with pytest.raises(TypeError, match=r"Half must answer .*CounterService/Add by `def add"):
        type("Half", (OperationPaglet,), {"State": Nothing, "Services": (COUNTER,)})


def test_op_1_open_class_may_wait() -> None:
    """A class that leaves its state open is for others to derive from."""

    class Open(OperationPaglet[StateT]):
        """Answers nothing yet."""

    with pytest.raises(TypeError, match="Closed answers no service"):
        type("Closed", (Open,), {"State": Nothing})


def test_taking_other_operations_is_enough() -> None:
    """A class that answers what it has no descriptors of needs to name no service."""

    class Relay(OperationPaglet[Nothing]):
        """Answers whatever comes."""

        def handle_operation_message(self, call: RawCall) -> bytes:
            """In a thread."""
            return call.request

    assert Relay.handlers == {}
