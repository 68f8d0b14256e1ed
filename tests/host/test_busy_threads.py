"""Authors may wait in threads, of `asyncio.to_thread` or of handlers: nothing of the host waits with them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from paglets.artifacts.store import ArtifactWrite
from paglets.host import threads
from paglets.host.threads import Pool
from tests.host.conftest import Mesh, Site
from tests.host.midway import do
from tests.host.stage import STAGE
from tests.host.support import PROBE_TYPE, ask, eventually, refused
from tests.host.worker import SAVER_TYPE, WORKER_TYPE, Worker


@pytest.fixture
async def busy(mesh: Mesh) -> AsyncIterator[Mesh]:
    """Two hosts of one event loop; whatever threads it gives authors, a probe waits in them."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    await mesh.alpha.client.create(PROBE_TYPE, paglet_id="waiting")
    STAGE.hold("wait")
    waiting = asyncio.create_task(ask(mesh.alpha.channel, "waiting", "HoldInWorker", "wait"))
    await STAGE.reached("wait")
    yield mesh
    assert not waiting.done()
    STAGE.release("wait")
    await waiting


async def test_files_and_folders_are_at_hand(busy: Mesh) -> None:
    """Paglets register files, keep small ones, and have their folders, and artifacts are stored, small and large."""
    channel, client = busy.alpha.channel, busy.alpha.client
    await client.create(SAVER_TYPE, paglet_id="saver")
    for name, size in (("small", 10), ("large", 3_000_000)):
        (busy.alpha.files / name).write_bytes(b"x" * size)
        stored = await client.artifacts.create_from_path(ArtifactWrite(), busy.alpha.files / name)
        assert stored.ref.size_bytes == size
        await ask(channel, "saver", "Ask", f"copy {name}")
    await ask(channel, "saver", "Ask", "keep file text")
    await ask(channel, "saver", "Ask", "scratch text")
    assert (await ask(channel, "saver", "Ask", "scratched")).text == "text"


async def test_paglets_leave_and_end(busy: Mesh) -> None:
    """A paglet with a file, a folder and a large state moves there and back, and ends."""
    channel, client = busy.alpha.channel, busy.alpha.client
    await client.create(SAVER_TYPE, paglet_id="saver")
    (busy.alpha.files / "a.txt").write_bytes(b"a")
    for wish in ("move a.txt", "scratch text", "fill x"):
        await ask(channel, "saver", "Ask", wish)
    assert (await client.dispatch("saver", "beta")).host == "beta"
    assert (await client.retract("saver")).host == "alpha"
    await client.dispose("saver")


async def workers(at: Site, *paglet_ids: str, places: int) -> Pool:
    """Has workers on a host where so many threads are at work at once; gives its threads."""
    at.host.parts.pool = pool = Pool(places)
    for paglet_id in paglet_ids:
        await at.client.create(WORKER_TYPE, paglet_id=paglet_id)
    return pool


async def test_threads_that_call_threads(alpha: Site) -> None:
    """Handlers in threads call others that run in threads, more of them at once than there are places."""
    callers = [f"caller-{number}" for number in range(5)]
    pool = await workers(alpha, "called", *callers, places=2)
    calls = (ask(alpha.channel, caller, "PostInThread", f"called AppendInThread {caller}") for caller in callers)
    answers = await asyncio.gather(*calls)
    assert sorted(max((answer.text for answer in answers), key=len).split()) == callers
    await eventually(lambda: do((pool.number, pool.places.borrowed_tokens) == (0, 0)), what="their end")


def _wait(worker: Worker) -> None:
    worker.blocking(worker.wait_state(lambda state: "go" in state.lines))
    STAGE.note("goes on")


async def _waiting(alpha: Site, monkeypatch: pytest.MonkeyPatch) -> Pool:
    """A worker whose background waits for its state in a thread, on a host with one place; gives its threads."""
    monkeypatch.setattr(Worker, "_beside", _wait)
    pool = await workers(alpha, "waiting", "other", places=1)
    await ask(alpha.channel, "waiting", "Ask", "beside")
    await eventually(lambda: do(pool.number == 1), what="a thread")
    return pool


async def test_thread_that_waits_leaves_its_place(alpha: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others run meanwhile; it goes on when it has what it waited for, and a place is free again."""
    pool = await _waiting(alpha, monkeypatch)
    await eventually(lambda: do(pool.places.borrowed_tokens == 0), what="its leaving")
    assert (await ask(alpha.channel, "other", "AppendInThread", "a")).text == "a"
    STAGE.hold("busy")
    busy = asyncio.create_task(ask(alpha.channel, "other", "HoldInThread", "busy"))
    await STAGE.reached("busy")
    for line in ("go", "on", "and on"):
        await ask(alpha.channel, "waiting", "Append", line)
    assert "goes on" not in STAGE.notes
    STAGE.release("busy")
    await busy
    await eventually(lambda: do("goes on" in STAGE.notes), what="its going on")


async def test_what_a_thread_leaves_behind_has_no_place(alpha: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that a thread has begun, and that waits in a thread itself, neither leaves its place nor takes it."""
    left: list[asyncio.Task[bool]] = []

    async def leave(worker: Worker) -> None:
        left.append(asyncio.create_task(asyncio.to_thread(worker.blocking, _news(worker))))

    def beside(worker: Worker) -> None:
        worker.blocking(leave(worker))
        STAGE.at_in_thread("stay")

    monkeypatch.setattr(Worker, "_beside", beside)
    pool = await workers(alpha, "waiting", places=1)
    STAGE.hold("stay")
    await ask(alpha.channel, "waiting", "Ask", "beside")
    await STAGE.reached("stay")
    await eventually(lambda: do("asks" in STAGE.notes), what="the task's waiting")
    assert pool.places.borrowed_tokens == 1
    STAGE.release("stay")
    await eventually(lambda: do(pool.number == 0), what="the thread's end")
    await ask(alpha.channel, "waiting", "Append", "go")
    assert await left[0]
    assert pool.places.borrowed_tokens == 0


async def _news(worker: Worker) -> bool:
    STAGE.note("asks")
    return await worker.wait_state(lambda state: "go" in state.lines)


async def test_thread_that_waits_can_be_ended(alpha: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What its paglet does ends its waiting, as it does with any other."""
    pool = await _waiting(alpha, monkeypatch)
    await alpha.client.deactivate("waiting")
    assert (pool.number, pool.places.borrowed_tokens) == (0, 0)


async def test_threads_that_wait_are_bounded(alpha: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """When there are very many threads, those that wait keep their places, and no more are begun."""
    monkeypatch.setattr(threads, "_MOST_THREADS", 1)
    await _waiting(alpha, monkeypatch)
    late = await refused(ask(alpha.channel, "other", "AppendInThread", "a", timeout_s=0.3))
    assert late.code is grpc.StatusCode.DEADLINE_EXCEEDED
    await ask(alpha.channel, "waiting", "Append", "go")
    await eventually(lambda: do("goes on" in STAGE.notes), what="its going on")
