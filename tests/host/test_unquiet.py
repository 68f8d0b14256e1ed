"""A paglet that could not be quieted goes on: what was ended for it is begun anew, or the paglet is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from google.protobuf.wrappers_pb2 import StringValue

from paglets.client.tasks import TaskClient
from paglets.config import HostSettings
from paglets.errors import PagletError
from paglets.values import PagletState, TaskPhase
from tests.host.conftest import Mesh, site
from tests.host.midway import do
from tests.host.stage import STAGE
from tests.host.support import ask, eventually
from tests.host.worker import ERRAND_TYPE, WORKER_TYPE, Worker

_TOLD = "aborted QUIESCE_TIMEOUT"


@pytest.fixture
async def hasty(tmp_path: Path) -> AsyncIterator[Mesh]:
    """Two hosts, of which the first loses its patience at once."""
    async with AsyncExitStack() as stack:
        settings = HostSettings(name="alpha", data=tmp_path, drain_s=1.0, quiesce_s=0.5)
        alpha = await site(stack, tmp_path, "alpha", settings=settings)
        yield Mesh(alpha, await site(stack, tmp_path, "beta", join=alpha.running.address))
        STAGE.clear()


@pytest.fixture
async def worker(hasty: Mesh) -> str:
    """A worker on a host that loses its patience soon."""
    return (await hasty.alpha.client.create(WORKER_TYPE, paglet_id="worker")).paglet_id


async def _noted(note: str, times: int = 1) -> None:
    await eventually(lambda: do(STAGE.notes.count(note) == times), what=note)


async def _ask(hasty: Mesh, text: str) -> None:
    await ask(hasty.alpha.channel, "worker", "Ask", text)


async def _stays(hasty: Mesh) -> None:
    """A move is tried and given up."""
    with pytest.raises(Exception, match=r"did not end within 0\.5 s"):
        await hasty.alpha.client.dispatch("worker", "beta")
    await _noted(_TOLD)


@pytest.mark.parametrize("how", ["raises", "returns"])
async def test_run_that_ends_too_late_is_begun_anew(hasty: Mesh, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """A `run()` that was cancelled and took its time is begun anew when it has ended, however it ends."""

    async def run(_found: Worker) -> None:
        STAGE.note("run")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await STAGE.at("unwind")
            if how == "raises":
                raise

    monkeypatch.setattr(Worker, "run", run)
    STAGE.hold("unwind")
    await hasty.alpha.client.create(WORKER_TYPE, paglet_id="worker")
    await _noted("run")
    await _stays(hasty)
    assert STAGE.notes.count("run") == 1
    STAGE.release("unwind")
    await _noted("run", 2)
    assert (await hasty.alpha.client.dispatch("worker", "beta")).host == "beta"
    await _noted("run", 3)


async def test_run_is_begun_anew_though_another_body_is_stuck(hasty: Mesh, worker: str) -> None:
    """A `run()` that ended as it was told is begun anew when something else kept the paglet."""
    async with asyncio.timeout(20):
        await _ask(hasty, "runs")
        assert (await hasty.alpha.client.dispatch(worker, "beta")).host == "beta"
        await hasty.alpha.client.dispatch(worker, "alpha")
        await _noted("run", 2)
        STAGE.hold("unwind")
        await _ask(hasty, "slow")
        await STAGE.reached("slow")
        await _stays(hasty)
        await _noted("run", 3)


async def test_body_that_ends_too_late_is_told(hasty: Mesh, worker: str) -> None:
    """A body that was cancelled, and ends when the paglet goes on already, is lost: the paglet is told once more."""
    STAGE.hold("unwind")
    await _ask(hasty, "slow")
    await STAGE.reached("slow")
    await _stays(hasty)
    STAGE.release("unwind")
    await _noted(_TOLD, 2)
    assert (await hasty.alpha.client.dispatch(worker, "beta")).host == "beta"


async def test_task_whose_body_ends_too_late_has_failed(hasty: Mesh) -> None:
    """A task is never left RUNNING without its body: one that was cut for a move which was given up has FAILED."""
    created = await hasty.alpha.client.create(ERRAND_TYPE, paglet_id="worker")
    task = TaskClient(created, StringValue, StringValue)
    STAGE.hold("unwind")
    await task.start(StringValue(value="never"))
    await _noted("errand")
    with pytest.raises(Exception, match=r"did not end within 0\.5 s"):
        await hasty.alpha.client.dispatch("worker", "beta")
    assert (await task.get()).phase is TaskPhase.RUNNING
    STAGE.release("unwind")
    failed = await task.wait(10)
    assert failed.phase is TaskPhase.FAILED
    assert "has ended only now" in failed.error


@pytest.mark.parametrize("how", ["late", "refused"])
async def test_rest_that_is_given_up_is_told(hasty: Mesh, worker: str, how: str) -> None:
    """A paglet that was to rest and stays is told, since what it did beside its turns was ended for it."""
    if how == "late":
        STAGE.hold("unwind")
        await _ask(hasty, "slow")
        await STAGE.reached("slow")
    else:
        await _ask(hasty, "refuse on_deactivating refused")
    with pytest.raises(PagletError) as refusal:
        await hasty.alpha.client.deactivate(worker)
    await _noted(f"aborted {refusal.value.reason}")
    assert (await ask(hasty.alpha.channel, worker, "Append", "on")).text.endswith(f"{refusal.value.reason} on")
    assert (await hasty.alpha.client.get(worker)).state is PagletState.ACTIVE


async def test_thread_that_was_not_done_goes_on(hasty: Mesh, worker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that nobody could cancel does its work to the end when its paglet goes on, and has its move."""

    def work(found: Worker) -> None:
        STAGE.at_in_thread("thread")
        found.add_in_thread("done")
        found.dispatch("beta")

    monkeypatch.setattr(Worker, "_beside", work, raising=False)
    STAGE.hold("thread")
    await _ask(hasty, "beside")
    await STAGE.reached("thread")
    await _stays(hasty)
    STAGE.release("thread")
    await eventually(lambda: _is_on_beta(hasty))
    assert (await ask(hasty.beta.channel, worker, "Read")).text.endswith("QUIESCE_TIMEOUT done")
    assert STAGE.notes.count(_TOLD) == 1


async def test_reads_are_not_lost(hasty: Mesh, worker: str) -> None:
    """A read that was interrupted for a move that was given up then is answered all the same, as things are then."""
    STAGE.hold("unwind", "read")
    await _ask(hasty, "slow")
    await STAGE.reached("slow")
    reading = asyncio.create_task(ask(hasty.alpha.channel, worker, "HoldRead", "read"))
    await STAGE.reached("read")
    await _stays(hasty)
    assert (await ask(hasty.alpha.channel, worker, "Append", "on")).text.endswith("QUIESCE_TIMEOUT on")
    STAGE.release("read")
    assert (await reading).text.endswith("QUIESCE_TIMEOUT on")


async def test_request_of_a_task_that_outlives_its_body(hasty: Mesh, worker: str) -> None:
    """A task that a body left behind asks for itself: what it asks for when the body has ended is done at once."""
    STAGE.hold("left")
    await _ask(hasty, "leave beta")
    await STAGE.reached("left")
    await eventually(lambda: do(not _bodies()), what="the end of the body")
    assert (await hasty.alpha.client.get(worker)).host == "alpha"
    STAGE.release("left")
    await eventually(lambda: _is_on_beta(hasty))


async def test_request_of_a_body_of_a_body(hasty: Mesh, worker: str) -> None:
    """A body that a body began has outputs of its own."""
    STAGE.hold("inner")
    await _ask(hasty, "nest beta")
    await STAGE.reached("inner")
    assert (await hasty.alpha.client.get(worker)).host == "alpha"
    STAGE.release("inner")
    await eventually(lambda: _is_on_beta(hasty))


async def _is_on_beta(hasty: Mesh) -> bool:
    return (await hasty.alpha.client.get("worker")).host == "beta"


def _bodies() -> list[asyncio.Task[object]]:
    return [task for task in asyncio.all_tasks() if "_run_body" in repr(task)]


async def test_own_move_that_is_given_up_is_not_begun_anew(hasty: Mesh, worker: str) -> None:
    """A paglet that asked for a move, and could not be quieted for it, is told once, and stays."""
    STAGE.hold("unwind")
    await _ask(hasty, "slow")
    await STAGE.reached("slow")
    await _ask(hasty, "dispatch beta")
    await eventually(lambda: do(_TOLD in STAGE.notes), what=_TOLD)
    STAGE.release("unwind")
    await _noted(_TOLD, 2)  # of the body, which has ended only now
    assert (await hasty.alpha.client.dispatch(worker, "beta")).host == "beta"
    causes = [event.cause for event in await hasty.alpha.client.history(worker)]
    assert causes == ["create", "depart", "commit", "arrive"]
