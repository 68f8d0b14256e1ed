"""Cancelling a task: it has ended at once, and its body, if it has one, is told to stop and has no say any more."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress

import pytest
from google.protobuf.wrappers_pb2 import Int64Value, StringValue

from paglet.v1 import task_pb2
from paglets.core.events import ActivationEvent, MobilityEvent
from paglets.errors import PreconditionError
from paglets.values import TaskPhase
from tests.fake_home import FakeHome
from tests.patterns.task_support import PATIENCE_S, Outcome, Told, ToldAgain, cancel, finished, get, number, start, told

_FAILED = task_pb2.TASK_PHASE_FAILED


async def _entered(home: FakeHome) -> FakeHome:
    """The home, when its task's body is at work."""
    await start(home)
    async with asyncio.timeout(PATIENCE_S):
        await told(home).entered.wait()
    return home


def _is_cancelled(status: task_pb2.TaskStatus) -> bool:
    said = (status.phase, status.done, status.error_reason, status.error_code)
    return said == (_FAILED, True, "TASK_CANCELLED", 1) and status.error == "the task was cancelled"


async def test_w_43_cancel_reaches_the_body() -> None:
    """A task that is cancelled has FAILED with a reason of its own, durably; its body gets a CancelledError, once."""
    home = FakeHome(Told)
    caught: list[str] = []

    async def cleans_up(_request: StringValue) -> Outcome:
        try:
            await asyncio.Future()
        except asyncio.CancelledError:
            await told(home).wait_state(lambda state: state.done)  # it is not cancelled again
            caught.append("cleaned up")
            raise

    told(home).work = cleans_up
    told(home).released.set()
    await _entered(home)
    assert _is_cancelled(await cancel(home))
    await home.bodies_ended()
    assert caught == ["cleaned up"]
    assert home.mishaps == [], "that is no failure that anybody has to look at"
    assert _is_cancelled(await get(await home.restarted()))


async def test_cancel_before_the_body_began() -> None:
    """A task that is cancelled right after its start does nothing."""
    home = FakeHome(Told)
    told(home).released.set()
    await start(home)
    assert _is_cancelled(await cancel(home))
    await home.bodies_ended()
    assert _is_cancelled(await get(home))


@pytest.mark.parametrize("phase", [TaskPhase.NEW, TaskPhase.COMPLETED, TaskPhase.FAILED])
async def test_w_43_cancel_of_a_task_not_under_way_changes_nothing(phase: TaskPhase) -> None:
    """A task that has ended, or never began, stays as it is, as often as it is cancelled."""
    home = FakeHome(Told)
    await told(home).set_task_phase(phase)
    before = home.cell.latest
    for _ in range(2):
        status = await cancel(home)
        assert (status.phase, status.error_reason) == (task_pb2.TaskPhase.Value(f"TASK_PHASE_{phase.name}"), "")
    assert home.cell.latest == before


async def test_cancel_twice_tells_the_body_once() -> None:
    """The second cancel finds a task that has ended; a body that is still cleaning up is left to it."""
    home = FakeHome(Told)
    cleaning, cleaned = asyncio.Event(), asyncio.Event()

    async def cleans_slowly(_request: StringValue) -> Outcome:
        try:
            return await asyncio.Future()
        finally:
            cleaning.set()
            await cleaned.wait()
            told(home).work = nothing

    async def nothing(_request: StringValue) -> Outcome:
        return None

    told(home).work = cleans_slowly
    told(home).released.set()
    await _entered(home)
    first = await cancel(home)
    async with asyncio.timeout(PATIENCE_S):
        await cleaning.wait()
        second = await cancel(home)
        cleaned.set()
        await home.bodies_ended()
    assert (first, told(home).work) == (second, nothing)


async def test_body_that_does_not_mind_has_no_say() -> None:
    """A body that goes on changes nothing any more: not by its result, by what it calls, or by a move it asks for."""
    home = FakeHome(Told)

    async def goes_on(_request: StringValue) -> Outcome:
        with suppress(asyncio.CancelledError):
            await asyncio.Future()
        await told(home).report_progress(1)
        await told(home).complete_task(Int64Value(value=1))
        return told(home).dispatch("beta")

    told(home).work = goes_on
    told(home).released.set()
    await _entered(home)
    cancelled = await cancel(home)
    await home.bodies_ended()
    assert await get(home) == cancelled
    assert (home.departures, home.mishaps) == ([], [])


async def test_cancel_takes_back_what_a_body_asked_for_that_has_just_ended() -> None:
    """A cancel that comes before the body's end is recorded keeps the paglet from the move that the body asked for."""
    home = FakeHome(Told)
    leaving = asyncio.Event()

    async def leaves(_request: StringValue) -> Outcome:
        leaving.set()
        return told(home).dispatch("beta")

    told(home).work = leaves
    await _entered(home)
    async with home.turn():
        told(home).released.set()
        async with asyncio.timeout(PATIENCE_S):
            await leaving.wait()
        told(home).cancel_task()
    await home.bodies_ended()
    assert _is_cancelled(await get(home))
    assert (home.departures, home.mishaps) == ([], [])


async def test_thread_of_a_cancelled_body_is_not_waited_for() -> None:
    """A thread cannot be stopped: what it returns is dropped, and the task may be started again meanwhile."""
    home = FakeHome(Told)
    begun, let_go, ended = threading.Event(), threading.Event(), threading.Event()

    def in_thread() -> None:
        begun.set()
        let_go.wait(PATIENCE_S)
        assert home.cell.view.done
        ended.set()

    async def waits_for_it(_request: StringValue) -> Outcome:
        await asyncio.to_thread(in_thread)
        return Int64Value(value=1)

    told(home).work = waits_for_it
    told(home).released.set()
    await start(home)
    await asyncio.to_thread(begun.wait, PATIENCE_S)
    cancelled = await cancel(home)
    await home.bodies_ended()
    let_go.set()
    assert await asyncio.to_thread(ended.wait, PATIENCE_S)
    assert await get(home) == cancelled


async def test_body_of_a_cancelled_run_does_not_touch_the_next() -> None:
    """A run that is started while the body of the one before still cleans up is not touched by that."""
    home = FakeHome(Told)
    cleaned = asyncio.Event()
    runs: list[int] = []

    async def cleans_slowly(_request: StringValue) -> Outcome:
        runs.append(len(runs))
        if len(runs) > 1:
            return await asyncio.Future()
        try:
            return await asyncio.Future()
        except asyncio.CancelledError:
            await cleaned.wait()
            await told(home).report_progress(1)
            await told(home).fail_task("from the run before")
            raise

    told(home).work = cleans_slowly
    told(home).released.set()
    await _entered(home)
    await cancel(home)
    again = await start(home)
    cleaned.set()
    await home.body_ended()
    assert await get(home) == again
    assert _is_cancelled(await cancel(home))
    await home.bodies_ended()


async def test_cancelled_task_is_not_begun_anew() -> None:
    """What was cancelled stays so, also of a class whose cut bodies begin anew: over restarts and moves."""
    home = await _entered(FakeHome(ToldAgain))
    await cancel(home)
    home = await home.restarted()
    await home.hook(home.paglet.on_activation, ActivationEvent("alpha", "restart"))
    await home.hook(home.paglet.on_arrival, MobilityEvent("alpha", "beta", "t-1"))
    assert _is_cancelled(await get(home))


async def test_cancel_without_a_body() -> None:
    """A task whose body has left it to later calls can be cancelled like any other."""
    home = FakeHome(Told)

    async def nothing(_request: StringValue) -> Outcome:
        return None

    assert (await finished(home, nothing)).phase == task_pb2.TASK_PHASE_RUNNING
    assert _is_cancelled(await cancel(home))
    await home.bodies_ended()


async def test_cancel_of_a_task_on_its_way_is_refused() -> None:
    """A journey cannot be stopped: the task goes on until it has arrived, and can be cancelled there."""
    home = FakeHome(Told)

    async def leaves(_request: StringValue) -> Outcome:
        return told(home).dispatch("beta")

    waiting = await finished(home, leaves)
    with pytest.raises(PreconditionError, match="goes on at host beta") as refused:
        await cancel(home)
    assert (refused.value.reason, refused.value.metadata) == ("TASK_ON_ITS_WAY", {"target": "beta"})
    assert await get(home) == waiting
    there = FakeHome(Told, host="beta", state=home.cell.latest)
    await there.hook(there.paglet.on_arrival, MobilityEvent("alpha", "beta", "t-1"))
    assert _is_cancelled(await cancel(there))
    await there.bodies_ended()
    told(there).work = told(home).work
    await told(there).set_task_phase(TaskPhase.WAITING_FOR_ARRIVAL)
    assert _is_cancelled(await cancel(there)), "an author who set the phase himself has no target"
    await there.bodies_ended()


async def test_cancelled_task_may_be_started_again() -> None:
    """Its next run is like any other."""
    home = await _entered(FakeHome(Told))
    await cancel(home)
    await home.bodies_ended()
    told(home).released.set()
    await start(home)
    await home.bodies_ended()
    status = await get(home)
    assert (number(status), status.error, status.error_reason, status.error_code) == (3, "", "", 0)
