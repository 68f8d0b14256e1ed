"""A text in the place of one of a few: refused where it is given, not taken for another one where it is used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from paglets.config import ResidentServiceSpec
from paglets.discovery import ServiceQuery, ServiceRecord
from paglets.patterns.task_state import TaskState
from paglets.values import TransferTicket

_ANY: Any = "mesh"  # as code without types has it


@pytest.mark.parametrize(
    "give",
    [
        lambda: ServiceQuery(service="s", scope=_ANY),
        lambda: ServiceRecord(service="s", paglet_id="p", operations=(), scope=_ANY),
        lambda: ResidentServiceSpec(type="m.C", scope=_ANY),
    ],
    ids=["query", "record", "resident"],
)
def test_scope_by_its_text_is_refused(give: Callable[[], object]) -> None:
    """It looked at one host, though it says `mesh`."""
    with pytest.raises(TypeError, match=r"scope must be one of ServiceScope\.LOCAL, ServiceScope\.MESH, got 'mesh'"):
        give()


@pytest.mark.parametrize("text", ["eager", "lazy", "never"])
def test_lifecycle_by_its_text_is_refused(text: Any) -> None:  # noqa: ANN401 - as code without types has it
    """A service that is neither lazy nor eager was neither started nor laid down."""
    with pytest.raises(TypeError, match=r"lifecycle must be one of ResidentLifecycle\.LAZY"):
        ResidentServiceSpec(type="m.C", lifecycle=text)


def test_arrival_by_its_text_is_refused() -> None:
    """A ticket says how the paglet arrives by a member."""
    text: Any = "inactive"
    with pytest.raises(TypeError, match=r"arrival must be one of ArrivalMode\.ACTIVE"):
        TransferTicket(arrival=text)


def test_phase_by_its_text_is_refused() -> None:
    """A task was completed then without a time of its end, and with a body that was thought to be at work."""
    text: Any = "completed"
    with pytest.raises(TypeError, match=r"phase must be one of TaskPhase\.NEW"):
        TaskState().enter(text, 1.0)
