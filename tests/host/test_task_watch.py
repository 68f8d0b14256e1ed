"""A task on real hosts: watched wherever it goes, cancelled, and started once."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

import pytest
from google.protobuf.wrappers_pb2 import Int64Value, StringValue

from paglets.client.client import Client
from paglets.client.tasks import TaskClient
from paglets.errors import NotFoundError, PreconditionError
from paglets.patterns.task_state import TaskState
from paglets.state import StateCodec
from paglets.testing import HostProcess, local_host
from paglets.values import TaskPhase, new_id
from tests.host.midway import do
from tests.host.stage import STAGE
from tests.host.stepper import STEPPER_MODULE, STEPPER_TYPE, Leaver, Stepper
from tests.host.support import eventually
from tests.host.task_watcher import Steps, step, watching

_ENDLESS = StringValue(value="1000000")


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    """What is to be closed."""
    async with AsyncExitStack() as found:
        yield found
    STAGE.clear()


@pytest.fixture
async def client(stack: AsyncExitStack) -> Client:
    """A client of alpha, which beta has joined."""
    alpha = await stack.enter_async_context(local_host("alpha", allow=[STEPPER_MODULE]))
    await stack.enter_async_context(local_host("beta", allow=[STEPPER_MODULE], join=alpha.address))
    return await stack.enter_async_context(Client(alpha.address))


async def _stepper(client: Client, steps: StringValue = _ENDLESS) -> Steps:
    proxy = await client.create(STEPPER_TYPE, paglet_id="stepper")
    task = TaskClient.for_paglet(proxy, Stepper)
    await task.start(steps)
    return task


async def test_watch_tells_progress_and_the_end(client: Client) -> None:
    """Whoever watches has details and result as objects of their classes; it ends with the task."""
    task = await _stepper(client, StringValue(value="2"))
    async with asyncio.timeout(20), watching(task) as (watcher, work):
        for _ in range(2):
            await watcher.caught_up(task)
            await step(task)
        await work
    first, second, *_, last = watcher.told
    assert (first.phase, first.progress) == (TaskPhase.RUNNING, None)
    assert second.progress is not None
    assert (second.progress.done, second.progress.detail) == (1, StringValue(value="alpha"))
    assert (last.phase, last.result) == (TaskPhase.COMPLETED, Int64Value(value=2))
    assert watcher.revisions == list(range(2, last.revision + 1))


async def test_watch_follows_moves_and_rests(client: Client) -> None:
    """Over moves and rests every revision is told once; nobody who watches notices more than another host."""
    task = await _stepper(client)
    async with asyncio.timeout(60), watching(task) as (watcher, work):
        await watcher.caught_up(task)
        for target in ("beta", "alpha") * 3:
            await task.proxy.dispatch(target)
            await watcher.caught_up(task)
            await step(task)
            await watcher.caught_up(task)
        await task.proxy.deactivate()
        await eventually(lambda: do(15 in watcher.revisions))  # a watch brings it back, as any call does
        await task.cancel()
        await work
    assert watcher.revisions == list(range(2, 17))
    assert {snapshot.host for snapshot in watcher.told} == {"alpha", "beta"}
    assert watcher.told[-1].cancelled


async def test_cancel_ends_the_body(client: Client) -> None:
    """The body of a cancelled task gets a CancelledError on its host; another cancel changes nothing."""
    task = await _stepper(client)
    cancelled = await task.cancel()
    assert (cancelled.phase, cancelled.cancelled, cancelled.result) == (TaskPhase.FAILED, True, None)
    await eventually(lambda: do("cancelled on alpha" in STAGE.notes))
    assert await task.cancel() == cancelled
    assert (await task.start_and_wait(StringValue(value="0"), 0.0)).phase is not TaskPhase.FAILED


async def test_task_3_start_with_a_request_id_happens_once(client: Client) -> None:
    """A start that is repeated is answered as it was at first, and begins nothing; so is a cancel."""
    task = await _stepper(client)
    cancel_id, start_id = new_id(), new_id()
    cancelled = await task.cancel(request_id=cancel_id)
    started = await task.start(_ENDLESS, request_id=start_id)
    assert await task.start(_ENDLESS, request_id=start_id) == started
    assert await task.cancel(request_id=cancel_id) == cancelled
    assert (await task.get()).phase is TaskPhase.RUNNING


@pytest.mark.slow
async def test_errors_of_a_watch_are_raised(client: Client) -> None:
    """What is no break of the stream is raised: there is no such paglet, or it is disposed of meanwhile."""
    nobody = TaskClient.for_paglet(client.proxy("nobody"), Stepper)
    with pytest.raises(NotFoundError, match="nobody"):
        await anext(nobody.watch())
    task = await _stepper(client)
    async with aclosing(task.watch()) as watched:
        await anext(watched)
        await task.proxy.dispose()
        with pytest.raises(NotFoundError, match="stepper"):
            await anext(watched)


async def test_cancel_of_a_task_that_waits_for_its_arrival(client: Client) -> None:
    """A task that goes on elsewhere cannot be cancelled before it is there; the refusal says where."""
    proxy = await client.create(f"{STEPPER_MODULE}.Leaver", paglet_id="leaver")
    task = TaskClient.for_paglet(proxy, Leaver)
    STAGE.hold("leave")
    await task.start(StringValue(value="beta"))
    await STAGE.reached("leave")
    with pytest.raises(PreconditionError) as refused:
        await task.cancel()
    assert (refused.value.reason, refused.value.metadata) == ("TASK_ON_ITS_WAY", {"target": "beta"})
    STAGE.release("leave")
    await eventually(lambda: _is_at(task, "beta"))
    assert (await task.cancel()).cancelled


async def _is_at(task: TaskClient[StringValue, Int64Value], host: str) -> bool:
    return (await task.get()).host == host


@pytest.mark.slow
async def test_task_7_wait_ends_though_the_paglet_moves_all_the_time(client: Client) -> None:
    """A wait is over when its time is over, also for a task that comes to another host again and again meanwhile."""
    task = await _stepper(client)
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        waiting = group.create_task(task.wait(1.0))
        while not waiting.done():
            for target in ("beta", "alpha"):
                await task.proxy.dispatch(target)
    assert waiting.result().phase is TaskPhase.RUNNING


async def _process(stack: AsyncExitStack, folder: Path, name: str, join: str = "") -> HostProcess:
    root = Path(__file__).parents[2]
    host = HostProcess(name=name, data=folder / name, allow=[STEPPER_MODULE], python_path=[root], join=join)
    await host.start()
    stack.push_async_callback(host.kill)
    return host


@pytest.mark.slow
async def test_watch_over_moves_and_kills_is_dense(stack: AsyncExitStack, tmp_path: Path) -> None:
    """Over 20 moves and 3 kills of the host where the task is, a watch tells each revision once, and all of them."""
    alpha = await _process(stack, tmp_path, "alpha")
    hosts = {"alpha": alpha, "beta": await _process(stack, tmp_path, "beta", alpha.address)}
    client = await stack.enter_async_context(Client(alpha.address, timeout_s=60.0))
    task = await _stepper(client)
    async with asyncio.timeout(240), watching(task) as (watcher, work):
        await watcher.caught_up(task)
        for move in range(20):
            target = ("beta", "alpha")[move % 2]
            await task.proxy.dispatch(target)
            await watcher.caught_up(task)
            if move % 7 == 4:
                await hosts[target].kill()
                await hosts[target].start()
                await watcher.caught_up(task)
            await step(task)
            await watcher.caught_up(task)
        await task.cancel()
        await work
    assert watcher.revisions == list(range(2, 2 + 1 + 20 + 3 + 20 + 1))
    assert watcher.told[-1].cancelled


@pytest.mark.slow
async def test_watch_tells_what_a_kill_set_back(stack: AsyncExitStack, tmp_path: Path) -> None:
    """Of a task that is saved now and then a kill forgets the latest: who had seen that is told what is left."""
    host = await _process(stack, tmp_path, "alpha")
    client = await stack.enter_async_context(Client(host.address, timeout_s=60.0))
    proxy = await client.create(f"{STEPPER_MODULE}.LifecycleStepper", paglet_id="stepper")
    task = TaskClient.for_paglet(proxy, Stepper)
    async with asyncio.timeout(60), watching(task) as (watcher, work):
        await task.start(_ENDLESS)
        for _ in range(3):
            await step(task)
            await watcher.caught_up(task)
        await host.kill()
        await host.start()
        await eventually(lambda: do(watcher.told[-1].phase is TaskPhase.NEW))
        await task.start(StringValue(value="1"))
        await step(task)
        await work
    assert watcher.told[-1].result == Int64Value(value=1)


async def test_all_who_wait_look_at_one_copy(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change costs no copy of the state for each who waits or watches: all of them are shown the same."""
    task = await _stepper(client)
    await step(task)
    async with asyncio.TaskGroup() as group, AsyncExitStack() as watches:
        waits = [group.create_task(task.wait(20.0)) for _ in range(20)]
        watched = [await watches.enter_async_context(aclosing(task.watch())) for _ in range(20)]
        assert {(await anext(watch)).revision for watch in watched} == {3}
        copies = _counted(monkeypatch)
        await step(task)
        assert {(await anext(watch)).revision for watch in watched} == {4}
        await task.cancel()
        assert {(await anext(watch)).cancelled for watch in watched} == {True}
    assert {wait.result().cancelled for wait in waits} == {True}
    assert len(copies) <= 20, "40 waiters had a copy each"


def _counted(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Every state that is decoded from now on."""
    decoded: list[bytes] = []
    real: Callable[[StateCodec[TaskState], bytes], TaskState] = StateCodec[TaskState].check

    def check(codec: StateCodec[TaskState], data: bytes) -> TaskState:
        decoded.append(data)
        return real(codec, data)

    monkeypatch.setattr(StateCodec, "check", check)
    return decoded


@pytest.mark.slow
async def test_get_is_quick_beside_400_that_wait(client: Client) -> None:
    """While 200 waits and 200 watches are pending, the p99 of `Get` is within three times of what it is without."""
    task = await _stepper(client)
    idle = await _p99_of_get(task)
    async with asyncio.TaskGroup() as group, AsyncExitStack() as watches:
        waits = [group.create_task(task.wait(20.0)) for _ in range(200)]
        for _ in range(200):
            watched = await watches.enter_async_context(aclosing(task.watch()))
            await anext(watched)
        busy = await _p99_of_get(task)
        await task.cancel()
    assert {wait.result().cancelled for wait in waits} == {True}
    assert busy <= 3 * idle, f"{busy * 1000:.2f} ms, idle {idle * 1000:.2f} ms"


async def _p99_of_get(task: Steps) -> float:
    """In seconds, of 1000 calls one after the other."""
    took: list[float] = []
    for _ in range(1000):
        began = time.perf_counter()
        await task.get()
        took.append(time.perf_counter() - began)
    return statistics.quantiles(took, n=100)[98]
