"""Who may wait for a paglet, and how long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import pytest

from paglets.config import HostSettings, MailboxSettings
from paglets.host.resident import Resident
from tests.host.conftest import Site, site
from tests.host.stage import STAGE
from tests.host.support import PROBE_TYPE, ask, eventually, refused


@pytest.fixture
async def small(tmp_path: Path) -> AsyncIterator[Site]:
    """A host with room for three waiting calls and 1000 bytes of them, and little patience."""
    async with AsyncExitStack() as stack:
        settings = HostSettings(
            name="alpha",
            data=tmp_path,
            drain_s=1.0,
            unary_deadline_s=0.4,
            mailbox=MailboxSettings(max_calls=3, max_bytes=1000),
        )
        found = await site(stack, tmp_path, "alpha", settings=settings)
        await found.client.create(PROBE_TYPE, paglet_id="probe")
        yield found
        STAGE.clear()


@pytest.fixture
async def busy(small: Site) -> AsyncIterator[Resident]:
    """The probe of that host, in the middle of a turn."""
    resident = small.host.residents.get("probe")
    assert resident is not None
    STAGE.hold("busy")
    turn = asyncio.create_task(ask(small.channel, "probe", "Hold", "busy"))
    await STAGE.reached("busy")
    yield resident
    STAGE.release("busy")
    await turn


async def test_core_8_too_many_calls_are_refused(small: Site, busy: Resident) -> None:
    """The call that does not fit is refused with a time to wait, and has not run; those that wait run."""
    waiting = [asyncio.create_task(ask(small.channel, "probe", "Append", str(number))) for number in range(3)]
    await _waiting(busy, 3)
    refusal = await refused(ask(small.channel, "probe", "Append", "too many"))
    assert refusal.what == (grpc.StatusCode.RESOURCE_EXHAUSTED, "MAILBOX_FULL")
    assert refusal.retry_s == pytest.approx(0.1)
    assert refusal.resource == ("paglet", "probe")
    assert (await ask(small.channel, "probe", "Read")).text == "", "a read needs no place in the queue"
    STAGE.release("busy")
    await asyncio.gather(*waiting)
    assert sorted((await ask(small.channel, "probe", "Read")).text.split()) == ["0", "1", "2", ">busy", "busy<"]


async def test_core_8_too_many_bytes_are_refused(small: Site, busy: Resident) -> None:
    """Calls are bounded by their bytes as well."""
    first = asyncio.create_task(ask(small.channel, "probe", "Append", "x" * 600))
    await _waiting(busy, 1)
    refusal = await refused(ask(small.channel, "probe", "Append", "y" * 600, request_id="r-1"))
    assert refusal.what == (grpc.StatusCode.RESOURCE_EXHAUSTED, "MAILBOX_FULL")
    STAGE.release("busy")
    await first
    assert (await ask(small.channel, "probe", "Append", "y" * 600, request_id="r-1")).replayed is False


async def test_core_8_call_that_waited_too_long_is_not_run(small: Site, busy: Resident) -> None:
    """A call whose time is over before its turn is dropped, says that nothing was run, and may come again."""
    refusal = await refused(ask(small.channel, "probe", "Append", "late", request_id="r-1", timeout_s=None))
    assert refusal.what == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_BEFORE_RUN")
    await _waiting(busy, 0)
    STAGE.release("busy")
    assert (await ask(small.channel, "probe", "Append", "again")).text == "busy< >busy again"
    assert not (await ask(small.channel, "probe", "Append", "late", request_id="r-1")).replayed


async def test_core_8_callers_own_deadline_empties_the_queue(small: Site, busy: Resident) -> None:
    """The deadline of gRPC itself ends the waiting too."""
    refusal = await refused(ask(small.channel, "probe", "Append", "late", timeout_s=0.2))
    assert refusal.code is grpc.StatusCode.DEADLINE_EXCEEDED
    await _waiting(busy, 0)
    STAGE.release("busy")
    assert (await ask(small.channel, "probe", "Append", "a")).text == "busy< >busy a"


async def test_core_8_call_that_is_given_up_leaves_the_queue(small: Site, busy: Resident) -> None:
    """A caller that goes away while it waits has no turn any more."""
    calls = [asyncio.create_task(ask(small.channel, "probe", "Append", text)) for text in "ab"]
    await _waiting(busy, 2)
    calls[0].cancel()
    await _waiting(busy, 1)
    STAGE.release("busy")
    assert (await calls[1]).text in {"busy< >busy b", "busy< >busy a"}
    assert len((await ask(small.channel, "probe", "Read")).text.split()) == 3


async def _waiting(resident: Resident, count: int) -> None:
    async def look() -> bool:
        return resident.gate.waiting == count

    await eventually(look, what=f"{count} waiting calls")
