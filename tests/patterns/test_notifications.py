"""Notes to people: lines of the log, with what they are about."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import pytest

from paglets.patterns.notifications import NotificationMixin, NotificationSeverity
from tests.fake_home import FakeHome


@dataclass
class Nothing:
    """A state without fields."""


class Herald(NotificationMixin[Nothing]):
    """Gives notes."""


def herald() -> Herald:
    """A paglet that gives notes."""
    paglet = FakeHome(Herald, host="gamma", paglet_id="p-9").paglet
    assert isinstance(paglet, Herald)
    return paglet


@pytest.mark.parametrize(
    ("severity", "level"),
    [
        (NotificationSeverity.INFO, logging.INFO),
        (NotificationSeverity.WARNING, logging.WARNING),
        (NotificationSeverity.ERROR, logging.ERROR),
    ],
)
async def test_note_1_line(severity: NotificationSeverity, level: int, caplog: pytest.LogCaptureFixture) -> None:
    """A note is one line at its severity, with the paglet, the host, the job and what else is known as fields."""
    caplog.set_level(logging.DEBUG)
    given = await herald().notify_user_info(severity, "100 %s", "is {all}", job_id="j-1", metadata={"a": "b"})
    (record,) = caplog.records
    assert given is True
    assert (record.levelno, record.getMessage()) == (level, "100 %s: is {all}")
    fields = vars(record)
    assert {name: fields[name] for name in ("paglet_id", "host", "job_id", "metadata")} == {
        "paglet_id": "p-9",
        "host": "gamma",
        "job_id": "j-1",
        "metadata": {"a": "b"},
    }


async def test_note_1_nobody_listens(caplog: pytest.LogCaptureFixture) -> None:
    """A note that nobody wants to see is not given, and nothing fails for that."""
    caplog.set_level(logging.ERROR)
    assert await herald().notify_user_info(NotificationSeverity.INFO, "title", "message") is False
    assert caplog.records == []
