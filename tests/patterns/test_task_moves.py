"""A task whose body is gone: cut short by a restart or a move, or on its way to another host."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

import pytest
from google.protobuf.wrappers_pb2 import Int64Value, StringValue

from paglet.v1 import task_pb2
from paglets.core.events import ActivationEvent, CloneEvent, MobilityEvent
from paglets.errors import ConflictError, PagletError, PreconditionError
from paglets.values import TaskPhase
from tests.fake_home import FakeHome
from tests.patterns.task_support import PATIENCE_S, Outcome, Told, ToldAgain, finished, get, number, start, told

RESTART = ActivationEvent("alpha", "restart")
MOVE = MobilityEvent("alpha", "beta", "t-1")
ABORTED = ConflictError("JOURNEY_ABORTED", "beta said no")


async def running(paglet_class: type[Told]) -> FakeHome:
    """A home whose task has a body at work."""
    home = FakeHome(paglet_class)
    await start(home)
    async with asyncio.timeout(PATIENCE_S):
        await told(home).entered.wait()
    return home


async def waiting() -> FakeHome:
    """A home whose task asked for a move to beta."""
    home = FakeHome(Told)

    async def leaves(_request: StringValue) -> Outcome:
        return told(home).dispatch("beta")

    await finished(home, leaves)
    return home


async def moved(home: FakeHome) -> FakeHome:
    """The same paglet on beta, before its arrival turn."""
    await home.quiesce()
    return FakeHome(type(home.paglet), host="beta", state=home.cell.latest)


async def test_restart_cuts_a_body() -> None:
    """A body that was at work when the host was killed leaves a task that FAILED and says so."""
    home = await (await running(Told)).restarted()
    await home.hook(home.paglet.on_activation, RESTART)
    status = await get(home)
    assert (status.phase, status.done) == (task_pb2.TASK_PHASE_FAILED, True)
    assert status.error == "the task was cut short: host alpha was restarted before it had ended"
    assert number(await finished(home, told(home).work)) == 3, "it can be started again"


async def test_restart_before_the_body_began() -> None:
    """A start whose host is killed before the body begins follows the same rule: nothing is left RUNNING."""
    home = FakeHome(Told)
    await start(home)
    home = await home.restarted()
    await home.hook(home.paglet.on_activation, RESTART)
    assert (await get(home)).phase == task_pb2.TASK_PHASE_FAILED


async def test_rerun_after_a_restart() -> None:
    """A class that says so begins a body that was cut short anew, with the request it was started with."""
    home = await (await running(ToldAgain)).restarted()
    started_at = home.cell.view.started_at
    told(home).released.set()
    await home.hook(home.paglet.on_activation, RESTART)
    assert (await get(home)).phase == task_pb2.TASK_PHASE_RUNNING
    await home.bodies_ended()
    assert number(await get(home)) == 3
    assert home.cell.view.started_at == started_at


@pytest.mark.parametrize("phase", [TaskPhase.NEW, TaskPhase.COMPLETED, TaskPhase.FAILED])
async def test_restart_leaves_a_task_at_rest_alone(phase: TaskPhase) -> None:
    """What has not begun or has ended is as it was after a restart, a move and a failed arrival."""
    home = FakeHome(ToldAgain)
    await told(home).set_task_phase(phase)
    before = home.cell.latest
    home = await home.restarted()
    await home.hook(home.paglet.on_activation, RESTART)
    await home.hook(home.paglet.on_arrival, MOVE)
    await home.hook(home.paglet.on_clone, CloneEvent("p-1", "c-1", "alpha", "beta"))
    await home.hook(home.paglet.on_dispatch_aborted, ABORTED)
    await home.hook(home.paglet.on_arrival_failed, ABORTED)
    assert home.cell.latest == before


async def test_restart_before_the_move_began() -> None:
    """A task that waits for a move that died with its host fails, and does not wait for ever."""
    home = await (await waiting()).restarted()
    await home.hook(home.paglet.on_activation, RESTART)
    status = await get(home)
    assert status.phase == task_pb2.TASK_PHASE_FAILED
    assert "host alpha was restarted" in status.error


@pytest.mark.parametrize("begun", [partial(running, Told), waiting])
async def test_clone_has_no_body(begun: Callable[[], Awaitable[FakeHome]]) -> None:
    """A clone of a task at work, or on its way, is a task that FAILED: body and move are the original's."""
    home = await (await begun()).restarted()
    await home.hook(home.paglet.on_clone, CloneEvent("p-1", "c-1", "alpha", "beta"))
    status = await get(home)
    assert status.phase == task_pb2.TASK_PHASE_FAILED
    assert status.error == "the task was cut short: this is a clone of p-1, made before it had ended"


async def test_move_cuts_a_body() -> None:
    """A paglet that is moved while its task works arrives with a task that FAILED and says where it was cut."""
    home = await moved(await running(Told))
    await home.hook(home.paglet.on_arrival, MOVE)
    status = await get(home)
    assert (status.phase, status.host) == (task_pb2.TASK_PHASE_FAILED, "beta")
    assert status.error == "the task was cut short: the paglet was moved from alpha to beta before it had ended"


async def test_rerun_after_a_move() -> None:
    """A class that says so begins its body anew where the paglet arrived."""
    home = await moved(await running(ToldAgain))
    told(home).released.set()
    await home.hook(home.paglet.on_arrival, MOVE)
    await home.bodies_ended()
    status = await get(home)
    assert (number(status), status.host) == (3, "beta")


async def test_aborted_move_cuts_a_body() -> None:
    """A move that is given up has ended the body all the same."""
    home = await running(Told)
    await home.quiesce()
    await home.hook(home.paglet.on_dispatch_aborted, ABORTED)
    status = await get(home)
    assert status.phase == task_pb2.TASK_PHASE_FAILED
    assert "beta said no" in status.error


async def test_aborted_move_that_never_touched_the_body() -> None:
    """A move that is refused before anything was stopped leaves the task at work."""
    home = await running(Told)
    await home.hook(home.paglet.on_dispatch_aborted, ABORTED)
    assert (await get(home)).phase == task_pb2.TASK_PHASE_RUNNING
    told(home).released.set()
    await home.bodies_ended()
    assert number(await get(home)) == 3


async def test_w_1_aborted_move_fails_a_waiting_task() -> None:
    """A task that asked for a move that was given up fails with the reason; it answers and may be started again."""
    home = await waiting()
    await home.hook(home.paglet.on_dispatch_aborted, ABORTED)
    status = await get(home)
    assert (status.phase, status.error) == (task_pb2.TASK_PHASE_FAILED, "Transfer to beta failed: beta said no")
    assert (await finished(home, told(home).work)).phase == task_pb2.TASK_PHASE_WAITING_FOR_ARRIVAL
    assert home.departures == ["beta", "beta"]


async def test_arrival_leaves_the_end_to_the_author() -> None:
    """A task that asked for its move goes on waiting until the author's `on_arrival` ends it."""

    class Ends(Told):
        """Ends where it arrives."""

        async def on_arrival(self, event: MobilityEvent) -> None:
            """Ends the task in the arrival turn."""
            await super().on_arrival(event)
            assert self.state.phase is TaskPhase.WAITING_FOR_ARRIVAL
            await self.complete_task(Int64Value(value=event.attempt))

    source = await waiting()
    home = FakeHome(Ends, host="beta", state=source.cell.latest)
    await home.hook(home.paglet.on_arrival, MOVE)
    assert number(await get(home)) == 1


@pytest.mark.parametrize("error", [ABORTED, PreconditionError("FILE_CHANGED", "the file changed")])
async def test_failed_arrival_fails_a_waiting_task(error: PagletError) -> None:
    """A task whose paglet could not arrive fails with the reason."""
    home = await moved(await waiting())
    await home.hook(home.paglet.on_arrival_failed, error)
    status = await get(home)
    assert status.phase == task_pb2.TASK_PHASE_FAILED
    assert status.error == f"Transfer to beta failed: {error.message}"
