"""Those who watch a task: each change once, nothing twice, and all of them woken in one pass."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.wrappers_pb2 import Int64Value, StringValue

from paglet.v1 import task_pb2
from paglets.core.events import MobilityEvent
from paglets.patterns.task_state import TaskState
from paglets.values import TaskPhase
from tests.directory.support import eventually
from tests.fake_home import FakeHome
from tests.patterns.task_support import PATIENCE_S, Outcome, Told, cancel, get, number, start, told, wait, watch

_RUNNING, _COMPLETED = task_pb2.TASK_PHASE_RUNNING, task_pb2.TASK_PHASE_COMPLETED


async def _next(watched: AsyncGenerator[task_pb2.TaskStatus]) -> task_pb2.TaskStatus:
    async with asyncio.timeout(PATIENCE_S):
        return await anext(watched)


async def _report(home: FakeHome, *counts: int) -> None:
    """Reports progress in one turn."""
    async with home.turn():
        for count in counts:
            await told(home).report_progress(count)


async def test_task_8_watch_tells_every_change_to_the_end() -> None:
    """A watch tells how the task stands at once, then each change with the next revision, and ends with the task."""
    home = FakeHome(Told)
    async with aclosing(watch(home)) as watched:
        new = await _next(watched)
        assert (new.phase, new.revision) == (task_pb2.TASK_PHASE_NEW, 1)
        await start(home)
        running = await _next(watched)
        assert (running.phase, running.revision) == (_RUNNING, 2)
        await told(home).report_progress(1, 3)
        assert (await _next(watched)).progress.total == 3
        told(home).released.set()
        ended = await _next(watched)
        assert (ended.phase, ended.revision, number(ended)) == (_COMPLETED, 4, 3)
        with pytest.raises(StopAsyncIteration):
            await _next(watched)


async def test_watch_goes_on_after_a_revision() -> None:
    """A watch that names the last revision it has seen is told what is newer only; at the end that is nothing."""
    home = FakeHome(Told)
    await start(home)
    async with aclosing(watch(home, (await get(home)).revision)) as watched:
        following = asyncio.ensure_future(_next(watched))
        await _report(home, 7)
        found = await following
        assert (found.revision, found.progress.done) == (3, 7)
    ended = await cancel(home)
    assert [task.revision async for task in watch(home, 3)] == [ended.revision]
    assert [task.revision async for task in watch(home, ended.revision)] == []
    assert [task.revision async for task in watch(home, 99)] == [ended.revision], "a state that was lost says so"


async def test_watch_may_tell_changes_as_one() -> None:
    """Changes that come while a watch is busy with the last one are told as one, with the newest revision."""
    home = FakeHome(Told)
    await start(home)
    async with aclosing(watch(home)) as watched:
        assert (await _next(watched)).revision == 2
        for count in range(3):
            await _report(home, count)
        latest = await _next(watched)
        assert (latest.revision, latest.progress.done) == (5, 2)
    await home.quiesce()


async def test_turn_counts_once_however_often_it_changes_the_task() -> None:
    """The revision counts durable changes: a turn with many changes counts once, one that fails not at all."""
    home = FakeHome(Told)
    await start(home)
    await _report(home, 1, 2, 3)
    assert (await get(home)).revision == 3

    async def fails() -> None:
        await told(home).report_progress(4)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await home.hook(fails)
    async with home.turn():
        pass
    assert (await get(home)).revision == 3
    await home.quiesce()


@pytest.mark.parametrize("phase", list(TaskPhase))
async def test_every_way_to_change_a_task_counts(phase: TaskPhase) -> None:
    """Phases that an author sets, a start, an end and what becomes of a lost body are all seen by who watches."""
    home = FakeHome(Told)
    await told(home).set_task_phase(phase)
    assert (await get(home)).revision == 2
    await told(home).complete_task(Int64Value(value=1))
    await told(home).fail_task("changed my mind")
    await start(home)
    assert (await get(home)).revision == 5
    await home.quiesce()
    await home.hook(home.paglet.on_arrival, MobilityEvent("alpha", "beta", "t-1"))
    status = await get(home)
    assert (status.phase, status.revision) == (task_pb2.TASK_PHASE_FAILED, 6)


async def test_revision_goes_along() -> None:
    """Where the paglet goes on, so does the revision: a watch by way of another home tells nothing twice."""
    home = FakeHome(Told)
    await start(home)
    await _report(home, 1)
    away = FakeHome(Told, host="beta", state=home.cell.latest)
    await home.quiesce()
    async with aclosing(watch(away, 3)) as watched:
        following = asyncio.ensure_future(_next(watched))
        await away.hook(away.paglet.on_arrival, MobilityEvent("alpha", "beta", "t-1"))
        found = await following
    assert (found.revision, found.phase, found.host) == (4, task_pb2.TASK_PHASE_FAILED, "beta")


class Counting(FakeHome):
    """Counts how often those who wait look."""

    looks = 0

    async def wait_state(self, predicate: Callable[[Any], bool], timeout_s: float | None) -> bool:
        """Waits as ever."""

        def look(state: TaskState) -> bool:
            self.looks += 1
            return predicate(state)

        return await super().wait_state(look, timeout_s)

    async def has_looked(self, often: int) -> None:
        """Waits until they have looked so often, and sees that they look no more then."""
        await eventually(lambda: self.looks >= often)
        async with self.turn():
            pass  # a turn that changes nothing wakes nobody
        assert self.looks == often


async def test_w_31_all_who_wait_are_woken_in_one_pass() -> None:
    """200 waits and 200 watches look once each when something has changed, and not at all until then."""
    home = Counting(Told)
    await start(home)
    waits = [asyncio.ensure_future(wait(home, Duration(seconds=3600))) for _ in range(200)]
    watches = [watch(home) for _ in range(200)]
    assert {(await _next(watched)).revision for watched in watches} == {2}
    following = [asyncio.ensure_future(_next(watched)) for watched in watches]
    await home.has_looked(600)  # each watch looks when it begins, too
    for _ in range(20):
        assert (await get(home)).phase == _RUNNING
    await home.has_looked(600)
    await _report(home, 1)
    async with asyncio.timeout(PATIENCE_S):
        assert {found.revision for found in await asyncio.gather(*following)} == {3}
    await home.has_looked(1000)
    following = [asyncio.ensure_future(_next(watched)) for watched in watches]
    await home.has_looked(1200)
    told(home).released.set()
    async with asyncio.timeout(PATIENCE_S):
        ended = await asyncio.gather(*waits, *following)
    assert {number(found) for found in ended} == {3}
    await home.has_looked(1600)
    for watched in watches:
        await watched.aclose()


async def test_body_of_a_run_before_does_not_count() -> None:
    """What a body says that lingers after its run has ended changes neither the task nor its revision."""
    home = FakeHome(Told)

    async def lingers(_request: StringValue) -> Outcome:
        await told(home).complete_task(Int64Value(value=1))
        await told(home).report_progress(9)
        await told(home).fail_task("too late")
        await told(home).set_task_phase(TaskPhase.RUNNING)
        await told(home).complete_task(Int64Value(value=2))
        return Int64Value(value=3)

    told(home).work = lingers
    told(home).released.set()
    await start(home)
    await home.bodies_ended()
    status = await get(home)
    assert (status.phase, number(status), status.revision) == (_COMPLETED, 1, 3)
    assert not status.HasField("progress")
