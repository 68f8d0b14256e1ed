"""Notes to people: lines of the log, with what they are about."""

from __future__ import annotations

import asyncio
import inspect
import logging
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from paglet.v1 import notify_pb2
from paglet.v1.file_transfer_pb2 import FileTransferRequest
from paglets.client.client import Client
from paglets.client.tasks import TaskClient
from paglets.config import HostSettings, ResidentServiceSpec
from paglets.discovery import ServiceQuery, ServiceScope
from paglets.errors import UnavailableError
from paglets.patterns.file_mobility import SingleFileTransferPaglet
from paglets.patterns.notifications import NotificationMixin, NotificationSeverity
from paglets.testing import eventually, local_host
from paglets.values import PagletProxyRef, TaskPhase
from tests.fake_home import FakeHome

SERVICE = "paglet.v1.UserInfoService"


@dataclass
class Nothing:
    """A state without fields."""


class Herald(NotificationMixin[Nothing]):
    """Gives notes."""


def herald(home: FakeHome | None = None) -> Herald:
    """A paglet that gives notes."""
    paglet = (home or _home()).paglet
    assert isinstance(paglet, Herald)
    return paglet


def _home() -> FakeHome:
    return FakeHome(Herald, host="gamma", paglet_id="p-9")


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
    await herald().notify_user_info(severity, "100 %s", "is {all}", job_id="j-1", metadata={"a": "b"})
    record = caplog.records[0]
    assert (record.levelno, record.getMessage()) == (level, "100 %s: is {all}")
    fields = vars(record)
    assert {name: fields[name] for name in ("paglet_id", "host", "job_id", "metadata")} == {
        "paglet_id": "p-9",
        "host": "gamma",
        "job_id": "j-1",
        "metadata": {"a": "b"},
    }


async def test_note_1_service_takes_it() -> None:
    """Who looks for notes gets it whole, with who gave it and when."""
    home = _home()
    home.found_services.found[SERVICE] = PagletProxyRef("service.user-info")
    given = await herald(home).notify_user_info(
        NotificationSeverity.ERROR, "title", "message", job_id="j-1", metadata={"a": "b"}
    )
    assert given is True
    ((paglet_id, operation, request),) = home.questions
    assert (paglet_id, operation) == ("service.user-info", f"{SERVICE}/Notify")
    assert isinstance(request, notify_pb2.NotifyRequest)
    note = request.note
    assert (note.severity, note.title, note.message) == (notify_pb2.NOTE_SEVERITY_ERROR, "title", "message")
    assert (note.source, note.job_id, dict(note.metadata)) == ("p-9", "j-1", {"a": "b"})
    assert note.time.seconds > 1_700_000_000


async def test_note_1_never_raises(caplog: pytest.LogCaptureFixture) -> None:
    """Without a service, or with one that is away, too slow or given nonsense, it was not given; the log has it."""
    caplog.set_level(logging.INFO)
    home = _home()
    assert await herald(home).notify_user_info(NotificationSeverity.INFO, "title", "message") is False
    home.found_services.found[SERVICE] = PagletProxyRef("service.user-info")
    home.refusals["service.user-info"] = UnavailableError("HOST_UNREACHABLE", "away")
    assert await herald(home).notify_user_info(NotificationSeverity.INFO, "title", "message") is False
    home.refusals.clear()
    odd: Any = {"a": 5}
    assert await herald(home).notify_user_info(NotificationSeverity.INFO, "title", "message", metadata=odd) is False
    assert home.questions == []
    assert [record.getMessage() for record in caplog.records] == ["title: message"] * 3
    for nonsense in ({"severity": "grave"}, {"metadata": 5}):
        given: dict[str, Any] = {"severity": NotificationSeverity.INFO, "title": "title", "message": "", **nonsense}
        assert await herald(home).notify_user_info(**given) is False


async def test_note_1_asks_the_mesh_unless_told_otherwise() -> None:
    """Whoever takes notes will do, whatever else it can; with the scope LOCAL it has to be on this host."""
    home = _home()
    await herald(home).notify_user_info(NotificationSeverity.INFO, "title", "message")
    await herald(home).notify_user_info(NotificationSeverity.INFO, "title", "message", scope=ServiceScope.LOCAL)
    wanted = ServiceQuery(service=SERVICE, operations=("Notify",))
    assert home.found_services.queries == [wanted, replace(wanted, scope=ServiceScope.LOCAL)]


class _Deaf(FakeHome):
    """Whoever is asked here does not answer."""

    async def ask(self, *question: Any, **more: Any) -> Any:  # noqa: ANN401 - as many kinds as there are operations
        """Does not come back."""
        await asyncio.Event().wait()


@pytest.mark.parametrize("timeout_s", [0.01, 0.0, -1.0, math.nan])
async def test_note_1_waits_no_longer_than_its_time(timeout_s: float) -> None:
    """A service that hangs holds up nobody: 2 seconds, or as many as are given, of which there are none below 0."""
    home = _Deaf(Herald)
    home.found_services.found[SERVICE] = PagletProxyRef("service.user-info")
    async with asyncio.timeout(20):
        given = herald(home).notify_user_info(NotificationSeverity.INFO, "title", "message", timeout_s=timeout_s)
        assert await given is False
    assert inspect.signature(Herald.notify_user_info).parameters["timeout_s"].default == 2.0


async def test_note_1_comes_to_the_service_of_the_mesh(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A file task at a host that offers nothing tells of itself at the host that takes notes."""
    resident = ResidentServiceSpec(type="paglets.system.user_info.UserInfo")
    root = tmp_path / "files"
    root.mkdir()
    (root / "a.txt").write_text("x")
    settings = HostSettings(name="alpha", data=tmp_path / "a", listen="127.0.0.1:0", residents=(resident,))
    async with (
        local_host("alpha", data=tmp_path / "a", settings=settings) as alpha,
        local_host("beta", data=tmp_path / "b", join=alpha.address, file_roots=[root]) as beta,
        Client(beta.address) as client,
    ):
        task = TaskClient.for_paglet(await client.create(SingleFileTransferPaglet), SingleFileTransferPaglet)
        request = FileTransferRequest(source_path="a.txt", target_host="alpha", dry_run=True)
        assert (await task.start_and_wait(request, timeout_s=20.0)).phase is TaskPhase.COMPLETED

        async def is_told() -> bool:
            noted.append(capfd.readouterr().err)
            return "File transfer dry run" in "".join(noted)

        noted: list[str] = []
        await eventually(is_told)
    assert f"source={task.proxy.paglet_id}" in "".join(noted)
