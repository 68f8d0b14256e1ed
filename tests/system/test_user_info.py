"""Notes are printed, kept for a while, and told to whoever watches."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path

import pytest

from paglet.v1.notify_pb2 import (
    NOTE_SEVERITY_ERROR,
    NOTE_SEVERITY_WARNING,
    Note,
    NotifyRequest,
    UserInfoServiceWatchRequest,
)
from paglet.v1.notify_pb2_grpc import UserInfoServiceStub
from paglets.client.client import Client
from paglets.client.proxy import PagletProxy
from paglets.system.user_info import UserInfo, line_of
from paglets.testing import local_host


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[PagletProxy]:
    """The service, on a host of its own."""
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(
            local_host("alpha", allow=["paglets.system.user_info"], data=tmp_path / "a")
        )
        client = await stack.enter_async_context(Client(running.address))
        yield await client.create(UserInfo)


async def _notify(service: PagletProxy, message: str, title: str = "title") -> int:
    request = NotifyRequest(note=Note(title=title, message=message))
    return (await service.stub(UserInfoServiceStub).Notify(request)).number


async def _watched(service: PagletProxy, after: int, count: int) -> list[tuple[int, str]]:
    call = service.stub(UserInfoServiceStub).Watch(UserInfoServiceWatchRequest(after=after))
    found: list[tuple[int, str]] = []
    try:
        async with asyncio.timeout(10):
            async for response in call:
                found.append((response.number, response.note.message))
                if len(found) == count:
                    break
    finally:
        call.cancel()
    return found


def test_ui_1_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time, severity, title, what it is about, and the note, on one line without control characters."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    note = Note(severity=NOTE_SEVERITY_ERROR, title="disk", message="is\nfull\x1b[2J", source="p-1", job_id="j-2")
    note.time.FromSeconds(1_700_000_000)
    assert line_of(note) == "[2023-11-14 22:13:20] ERROR: disk job=j-2 source=p-1: is\\nfull\\x1b[2J"
    plain = Note(severity=NOTE_SEVERITY_WARNING, title="t", message="m", time=note.time)
    assert line_of(plain) == "[2023-11-14 22:13:20] WARNING: t: m"


async def test_ui_1_notify(service: PagletProxy, capfd: pytest.CaptureFixture[str]) -> None:
    """A note is printed on stderr, with what it lacks filled in, its time too; its number is the next one."""
    before = int(time.time())
    assert [await _notify(service, "first"), await _notify(service, "second", "")] == [1, 2]
    lines = capfd.readouterr().err.splitlines()
    told = [datetime.fromisoformat(line[1:20]).timestamp() for line in lines if "INFO: " in line]
    assert all(before <= when <= time.time() for when in told)
    assert [line.partition("] ")[2] for line in lines if "INFO: " in line] == [
        "INFO: title: first",
        "INFO: paglets: second",
    ]


class _Closed(io.StringIO):
    """What is written here nobody reads any more."""

    def write(self, text: str, /) -> int:
        """Fails, as a pipe does whose reader has ended."""
        raise BrokenPipeError(32, "Broken pipe")


@pytest.mark.parametrize("stderr", [None, _Closed()])
async def test_ui_1_note_is_kept_where_nobody_reads_stderr(
    service: PagletProxy, monkeypatch: pytest.MonkeyPatch, stderr: io.StringIO | None
) -> None:
    """Whoever watches is told of it all the same."""
    monkeypatch.setattr("sys.stderr", stderr)
    assert await _notify(service, "unheard") == 1
    assert await _watched(service, 0, 1) == [(1, "unheard")]


@pytest.mark.parametrize("seconds", [-(2**62), -1, 253_402_300_800, 2**62])
async def test_ui_1_time_that_is_none(service: PagletProxy, seconds: int) -> None:
    """A note with a time that no calendar has is one of now."""
    note = Note(message="m")
    note.time.seconds, note.time.nanos = seconds, -5
    await service.stub(UserInfoServiceStub).Notify(NotifyRequest(note=note))
    call = service.stub(UserInfoServiceStub).Watch(UserInfoServiceWatchRequest())
    kept = (await anext(aiter(call))).note.time
    call.cancel()
    assert abs(kept.ToNanoseconds() / 1e9 - time.time()) < 60.0


async def test_ui_1_watch(service: PagletProxy) -> None:
    """What is kept, then what comes; from any number, dense, and by several."""
    for number in range(3):
        await _notify(service, f"note {number}")
    watching = [asyncio.create_task(_watched(service, after, 4 - after)) for after in (0, 2)]
    assert await _notify(service, "late") == 4
    assert await watching[0] == [(1, "note 0"), (2, "note 1"), (3, "note 2"), (4, "late")]
    assert await watching[1] == [(3, "note 2"), (4, "late")]


@pytest.mark.slow
async def test_ui_1_bounds(service: PagletProxy) -> None:
    """Too much is cut, too many are forgotten; the numbers go on."""
    big = Note(title="t" * 1000, message="m" * 10_000, metadata={f"{number:03}": "x" * 1000 for number in range(50)})
    big.source = big.job_id = "s" * 1000
    stub = service.stub(UserInfoServiceStub)
    for _ in range(210):
        await stub.Notify(NotifyRequest(note=Note(message="small")))
    assert [number for number, _ in await _watched(service, 0, 200)] == list(range(11, 211))
    for _ in range(100):
        await stub.Notify(NotifyRequest(note=big))
    watch = stub.Watch(UserInfoServiceWatchRequest())
    async for response in watch:
        note = response.note
        assert (len(note.title), len(note.message), len(note.metadata)) == (200, 2000, 20)
        assert (len(note.source), len(note.job_id)) == (128, 128)
        assert 310 - 200_000 // note.ByteSize() < response.number + 1 <= 311
        break
    watch.cancel()
