"""A task: what starts it, what may be asked of it, and who has a say in how it stands."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.wrappers_pb2 import Int64Value, StringValue

from paglet.examples.counter.v1 import counter_pb2
from paglet.v1 import task_pb2
from paglets.errors import AlreadyExistsError, InvalidArgumentError, PreconditionError
from paglets.values import TaskPhase
from tests.fake_home import FakeHome
from tests.patterns.task_support import (
    PATIENCE_S,
    SERVICE,
    Outcome,
    Told,
    finished,
    get,
    number,
    start,
    told,
    wait,
)


def test_task_1_operations() -> None:
    """A task answers the three operations of TaskService, and its own services beside them."""

    class CountingTask(Told):
        """Answers two services."""

        Services = (counter_pb2.DESCRIPTOR.services_by_name["CounterService"],)

        async def add(self, request: counter_pb2.AddRequest) -> counter_pb2.AddResponse:
            """Adds nothing."""
            return counter_pb2.AddResponse()

        async def get(self, request: counter_pb2.GetRequest) -> counter_pb2.GetResponse:
            """Has the name of an operation of TaskService, and does not get into its way."""
            return counter_pb2.GetResponse(value=7)

    assert {path: handler.pattern for path, handler in CountingTask.handlers.items()} == {
        "/paglet.v1.TaskService/Start": 0,
        "/paglet.v1.TaskService/Get": 0,
        "/paglet.v1.TaskService/Wait": 0,
        "/paglet.v1.TaskService/Watch": 0,
        "/paglet.v1.TaskService/Cancel": 0,
        "/paglet.examples.counter.v1.CounterService/Add": None,
        "/paglet.examples.counter.v1.CounterService/Get": None,
    }


async def test_task_2_phases() -> None:
    """A task is NEW, RUNNING while its body works, and COMPLETED with its result; each phase is durable."""
    home = FakeHome(Told)
    assert (await get(home)).phase == task_pb2.TASK_PHASE_NEW
    started = await start(home)
    assert (started.phase, started.done) == (task_pb2.TASK_PHASE_RUNNING, False)
    assert home.cell.codec.check(home.cell.latest).phase is TaskPhase.RUNNING
    told(home).released.set()
    await home.bodies_ended()
    status = await get(home)
    assert (status.phase, status.done, number(status)) == (task_pb2.TASK_PHASE_COMPLETED, True, 3)
    assert home.cell.codec.check(home.cell.latest).phase is TaskPhase.COMPLETED


@pytest.mark.parametrize("phase", list(TaskPhase))
async def test_task_2_set_phase(phase: TaskPhase) -> None:
    """An author may set any phase, from the background and in a turn alike; the task is done when it is an end."""
    home = FakeHome(Told)
    await told(home).set_task_phase(phase)
    assert (home.cell.view.phase, home.cell.view.done) == (phase, phase.ended)
    async with home.turn():
        await told(home).set_task_phase(TaskPhase.NEW)
        assert home.cell.view.phase is phase, "nothing is visible before the turn's commit"
    assert home.cell.view.phase is TaskPhase.NEW


async def test_task_3_body_begins_after_the_commit() -> None:
    """The reply of a start is RUNNING with the request and the time; the body has not begun before that is durable."""
    home = FakeHome(Told)
    before = time.time()
    started = await start(home, StringValue(value="hello"))
    assert not told(home).entered.is_set()
    asked = StringValue()
    assert started.request.Unpack(asked)
    assert asked.value == "hello"
    assert before <= started.start_time.ToMicroseconds() / 1e6 + 1e-6
    assert not started.HasField("complete_time")
    async with asyncio.timeout(PATIENCE_S):
        await told(home).entered.wait()
    await home.quiesce()


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(AnyMessage(), id="nothing"),
        pytest.param(AnyMessage(type_url="type.googleapis.com/google.protobuf.BoolValue"), id="another type"),
        pytest.param(
            AnyMessage(type_url="type.googleapis.com/google.protobuf.StringValue", value=b"\xff"), id="no message"
        ),
    ],
)
async def test_task_3_bad_request_is_an_error_of_the_call(request_: AnyMessage) -> None:
    """A start with another request than the task takes is refused, and leaves the task as it was."""
    home = FakeHome(Told)
    with pytest.raises(InvalidArgumentError, match="StringValue") as refused:
        await home.answer(f"{SERVICE}/Start", task_pb2.TaskServiceStartRequest(request=request_))
    assert (refused.value.reason, refused.value.field) == ("MALFORMED_REQUEST", "request")
    assert (await get(home)).phase == task_pb2.TASK_PHASE_NEW


async def test_task_3_start_forgets_the_run_before() -> None:
    """A task that has ended may be started again: result, error and time of the end are those of the new run."""
    home = FakeHome(Told)

    async def fails(_request: StringValue) -> Outcome:
        raise ValueError("no luck")

    assert (await finished(home, fails)).error == "no luck"
    told(home).released.clear()
    again = await start(home)
    assert (again.phase, again.error) == (task_pb2.TASK_PHASE_RUNNING, "")
    assert not again.HasField("result")
    assert not again.HasField("complete_time")
    await home.quiesce()


async def test_task_5_complete_in_a_turn_is_part_of_it() -> None:
    """`complete_task` in a turn commits with the turn, and is rolled back with it."""
    home = FakeHome(Told)

    async def completes(*, then_fails: bool) -> None:
        await told(home).complete_task(Int64Value(value=5))
        if then_fails:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await home.hook(partial(completes, then_fails=True))
    assert (await get(home)).phase == task_pb2.TASK_PHASE_NEW
    await home.hook(partial(completes, then_fails=False))
    assert number(await get(home)) == 5


async def test_task_6_fail_drops_the_result() -> None:
    """`fail_task` takes a text or an exception, and no result of before stays beside an error."""
    home = FakeHome(Told)
    await told(home).complete_task(Int64Value(value=5))
    await told(home).fail_task("changed my mind")
    status = await get(home)
    assert (status.phase, status.error) == (task_pb2.TASK_PHASE_FAILED, "changed my mind")
    assert not status.HasField("result")
    await told(home).fail_task(KeyError())
    assert (await get(home)).error == "KeyError"
    await told(home).fail_task(" ")
    assert (await get(home)).error == "failed without a reason"


async def test_failure_carries_code_and_reason_of_its_error() -> None:
    """Who waits for a task that failed with a PagletError learns its code and reason; they go with the failure."""
    home = FakeHome(Told)
    refusal = AlreadyExistsError("DESTINATION_EXISTS", "there already")

    async def refuses(_request: StringValue) -> Outcome:
        raise refusal

    status = await finished(home, refuses)
    assert (status.error, status.error_code, status.error_reason) == ("there already", 6, "DESTINATION_EXISTS")
    again = await home.restarted()
    assert (await get(again)).error_reason == "DESTINATION_EXISTS"
    for forget in (told(home).fail_task("no luck"), told(home).set_task_phase(TaskPhase.FAILED)):
        await told(home).fail_task(refusal)
        assert (await get(home)).error_code == 6
        await forget
        status = await get(home)
        assert (status.error_code, status.error_reason) == (0, "")
    await told(home).fail_task(AlreadyExistsError("R\ud800" * 5000, "odd"))
    assert len((await get(home)).error_reason) > 4000
    told(home).released.clear()
    started = await start(home)
    assert (started.error_code, started.error_reason) == (0, "")
    await home.quiesce()


async def test_task_7_wait_ends_with_the_task() -> None:
    """A wait answers when the task ends; until then the paglet answers everything else."""
    home = FakeHome(Told)
    await start(home)
    waiting = asyncio.create_task(wait(home, Duration(seconds=3600)))
    async with asyncio.timeout(PATIENCE_S):
        await told(home).entered.wait()
        assert (await get(home)).phase == task_pb2.TASK_PHASE_RUNNING
        async with home.turn():
            assert not waiting.done()
        told(home).released.set()
        status = await waiting
    assert number(status) == 3


@pytest.mark.parametrize(
    ("timeout", "wanted_s"),
    [
        pytest.param(None, 0.5, id="unset"),
        pytest.param(Duration(), 0.0, id="zero"),
        pytest.param(Duration(seconds=-3), 0.0, id="negative"),
        pytest.param(Duration(seconds=2, nanos=500_000_000), 2.5, id="with nanos"),
        pytest.param(Duration(seconds=10**12), 1e12, id="beyond all bounds"),
    ],
)
async def test_task_7_timeout(timeout: Duration | None, wanted_s: float) -> None:
    """The wait is half a second when unset, none when negative; then the status is told, ended or not."""

    class Hurried(FakeHome):
        """Notes how long it is to wait, and does not."""

        asked: ClassVar[list[float | None]] = []

        async def wait_state(self, predicate: Callable[[Any], bool], timeout_s: float | None) -> bool:
            """Looks once."""
            self.asked.append(timeout_s)
            return await super().wait_state(predicate, 0.0)

    assert (await wait(Hurried(Told), timeout)).phase == task_pb2.TASK_PHASE_NEW
    assert Hurried.asked == [wanted_s]


async def test_task_8_status_says_who_and_where() -> None:
    """A status names the paglet and the host that answers."""
    home = FakeHome(Told, host="gamma", paglet_id="p-9")
    status = await get(home)
    assert (status.paglet_id, status.host) == ("p-9", "gamma")
    assert not status.HasField("request")
    assert not status.HasField("start_time")


@pytest.mark.parametrize("phase", [TaskPhase.RUNNING, TaskPhase.WAITING_FOR_ARRIVAL])
async def test_w_43_start_of_a_task_under_way_is_refused(phase: TaskPhase) -> None:
    """A task under way refuses another start, and goes on undisturbed."""
    home = FakeHome(Told)
    await start(home, StringValue(value="first"))
    await told(home).set_task_phase(phase)
    with pytest.raises(PreconditionError, match=phase.value) as refused:
        await start(home, StringValue(value="second"))
    assert refused.value.reason == "TASK_RUNNING"
    kept = StringValue()
    assert (await get(home)).request.Unpack(kept)
    assert kept.value == "first"
    await home.quiesce()
