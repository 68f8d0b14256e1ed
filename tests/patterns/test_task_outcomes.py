"""How a body ends, and what becomes of its task."""

from __future__ import annotations

import asyncio

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.wrappers_pb2 import Int64Value, StringValue

from paglet.v1 import task_pb2
from paglets.core.events import ActivationEvent
from paglets.errors import PreconditionError
from paglets.patterns.tasks import TaskPaglet
from paglets.values import PagletProxyRef
from tests.fake_home import MAX_STATE_BYTES, FakeHome
from tests.patterns.task_support import (
    PATIENCE_S,
    Outcome,
    Told,
    finished,
    get,
    number,
    start,
    told,
    wait,
)


async def test_task_4_message_completes() -> None:
    """A message that the body returns is the result, with the time of the end."""
    home = FakeHome(Told)

    async def answers(_request: StringValue) -> Outcome:
        return Int64Value(value=42)

    status = await finished(home, answers)
    assert (status.phase, number(status), status.error) == (task_pb2.TASK_PHASE_COMPLETED, 42, "")
    assert status.complete_time.ToMicroseconds() >= status.start_time.ToMicroseconds()
    assert home.departures == []


async def test_task_4_dispatch_waits_for_arrival() -> None:
    """A body that returns what `dispatch` gave leaves the task waiting, durably, and then the paglet moves."""
    home = FakeHome(Told)

    async def leaves(_request: StringValue) -> Outcome:
        ref = told(home).dispatch("beta")
        assert home.departures == [], "the move begins when the body has ended"
        return ref

    status = await finished(home, leaves)
    assert (status.phase, status.done) == (task_pb2.TASK_PHASE_WAITING_FOR_ARRIVAL, False)
    assert home.departures == ["beta"]


@pytest.mark.parametrize("paglet_id", ["p-1", "p-2"])
async def test_task_4_reference_without_dispatch_fails(paglet_id: str) -> None:
    """A reference that no dispatch of this run gave would wait for ever: the task fails instead."""
    home = FakeHome(Told)

    async def pretends(_request: StringValue) -> Outcome:
        return PagletProxyRef(paglet_id)

    told(home).dispatch("gamma")
    status = await finished(home, pretends)
    assert status.phase == task_pb2.TASK_PHASE_FAILED
    assert paglet_id in status.error


async def test_task_4_none_leaves_it_as_it_is() -> None:
    """A body that returns None leaves the task to later calls, also over a restart of the host."""
    home = FakeHome(Told)

    async def nothing(_request: StringValue) -> Outcome:
        return None

    assert (await finished(home, nothing)).phase == task_pb2.TASK_PHASE_RUNNING
    again = await home.restarted()
    await again.hook(again.paglet.on_activation, ActivationEvent("alpha", "restart"))
    assert (await get(again)).phase == task_pb2.TASK_PHASE_RUNNING
    await told(again).complete_task(Int64Value(value=1))
    assert number(await get(again)) == 1


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("no luck"), "no luck"),
        (ValueError(), "ValueError"),
        (PreconditionError("FILE_CHANGED", "the file changed"), "the file changed"),
        (ValueError("\udc80"), "\\udc80"),
        (ValueError("x" * 10_000), "x" * 4093 + "..."),
    ],
)
async def test_task_4_exception_fails(error: Exception, text: str) -> None:
    """An exception ends the task FAILED with a text that is never empty, and goes on to the host, who logs it."""
    home = FakeHome(Told)

    async def fails(_request: StringValue) -> Outcome:
        told(home).dispatch("beta")
        raise error

    status = await finished(home, fails)
    assert (status.phase, status.done, status.error) == (task_pb2.TASK_PHASE_FAILED, True, text)
    assert home.mishaps == [error]
    assert home.departures == [], "a body that failed takes back what it asked for"


async def test_task_4_undefined_body_fails_with_a_text() -> None:
    """A task without `run_task` fails, and says why."""

    class Lazy(TaskPaglet[StringValue, Int64Value]):
        """Defines nothing."""

    home = FakeHome(Lazy)
    await start(home)
    await home.bodies_ended()
    status = await get(home)
    assert status.phase == task_pb2.TASK_PHASE_FAILED
    assert "does not define run_task" in status.error


async def test_task_4_foreign_result_fails() -> None:
    """A result of another type than declared fails the task, which does not stay RUNNING."""

    class Muddled(Told):
        """Returns what it was given."""

        async def run_task(self, request: StringValue) -> Outcome:
            """Answers by its request, whatever the types say."""
            await self.complete_task(request)  # pyright: ignore[reportArgumentType] - the mistake that is tested
            return None

    home = FakeHome(Muddled)
    await start(home)
    await home.bodies_ended()
    status = await get(home)
    assert status.phase == task_pb2.TASK_PHASE_FAILED
    assert "must be google.protobuf.Int64Value, got StringValue" in status.error


async def test_task_4_result_that_cannot_be_kept_fails() -> None:
    """A result too large for the state fails the task, which does not stay RUNNING."""

    class Verbose(TaskPaglet[StringValue, StringValue]):
        """Says a lot."""

        async def run_task(self, request: StringValue) -> StringValue:
            """Answers with more than a state holds."""
            return StringValue(value="x" * (MAX_STATE_BYTES + 1))

    home = FakeHome(Verbose)
    await start(home)
    await home.bodies_ended()
    status = await get(home)
    assert status.phase == task_pb2.TASK_PHASE_FAILED
    assert f"{MAX_STATE_BYTES} are allowed" in status.error


@pytest.mark.parametrize("fails", [True, False])
async def test_w_43_body_of_an_earlier_run_cannot_end_a_later_one(*, fails: bool) -> None:
    """A body that completes its task early and lingers does not touch the run that was started after it."""
    home = FakeHome(Told)
    lingering, let_go = asyncio.Event(), asyncio.Event()

    async def completes_early(_request: StringValue) -> Outcome:
        if lingering.is_set():
            return await asyncio.Future()
        lingering.set()
        await told(home).complete_task(Int64Value(value=1))
        await let_go.wait()
        if fails:
            raise ValueError("too late")
        return Int64Value(value=2)

    told(home).work = completes_early
    told(home).released.set()
    await start(home)
    async with asyncio.timeout(PATIENCE_S):
        assert number(await wait(home, Duration(seconds=3600))) == 1
    await start(home)
    let_go.set()
    await home.body_ended()
    status = await get(home)
    assert (status.phase, status.error) == (task_pb2.TASK_PHASE_RUNNING, "")
    assert [str(error) for error in home.mishaps] == (["too late"] if fails else [])
    await home.quiesce()
