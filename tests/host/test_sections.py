"""What the background does with the state, on the loop and in threads: it waits, is told, and changes it."""

from __future__ import annotations

import asyncio

import pytest
from google.protobuf.wrappers_pb2 import StringValue

from paglets.client.tasks import TaskClient
from tests.host.conftest import Mesh, Site
from tests.host.midway import do
from tests.host.stage import STAGE
from tests.host.support import ask, eventually, refused
from tests.host.worker import ERRAND_TYPE, WORKER_TYPE, Worker


@pytest.fixture
async def worker(mesh: Mesh) -> str:
    """A worker on alpha."""
    return (await mesh.alpha.client.create(WORKER_TYPE, paglet_id="worker")).paglet_id


async def _noted(note: str) -> None:
    await eventually(lambda: do(note in STAGE.notes), what=note)


async def _ask(site: Site, text: str) -> None:
    await ask(site.channel, "worker", "Ask", text)


@pytest.mark.parametrize("word", ["wait", "wait-thread"])
async def test_core_3_change_wakes_who_waits(mesh: Mesh, worker: str, word: str) -> None:
    """Whoever waits for the state sees the change when it is durable, and may change it in turn."""
    await _ask(mesh.alpha, f"{word} line")
    await ask(mesh.alpha.channel, worker, "Append", "other")
    await ask(mesh.alpha.channel, worker, "Append", "line")
    await _noted("line is 3")
    assert (await ask(mesh.alpha.channel, worker, "Read")).text == "other line saw line"


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("word", ["wait", "wait-thread"])
async def test_core_3_news_that_is_not_in_the_state(mesh: Mesh, word: str) -> None:
    """Who waits for more than the state looks again when told, at the end of the turn that tells."""
    await _ask(mesh.alpha, f"{word} flood")
    STAGE.hold("news")
    telling = asyncio.create_task(_ask(mesh.alpha, "news flood"))
    await STAGE.reached("news")
    assert STAGE.notes[-1] != "flood is 1"
    STAGE.release("news")
    await telling
    await _noted("flood is 1")


async def test_core_2_locked_method_is_part_of_its_turn(mesh: Mesh, worker: str) -> None:
    """In a turn a locked method changes that turn's state, also one that is written for threads."""
    await _ask(mesh.alpha, "add a")
    assert (await ask(mesh.alpha.channel, worker, "Read")).text == "a a"


async def test_thread_that_waits_does_not_keep_its_paglet(mesh: Mesh, worker: str) -> None:
    """A thread that waits for the state is told to end when the paglet leaves, and holds no move up."""
    await _ask(mesh.alpha, "wait-thread never")
    await _noted("waits in a thread")
    assert (await mesh.alpha.client.dispatch(worker, "beta")).host == "beta"
    await _noted("thread: CancelledError")


async def test_run_in_a_thread(mesh: Mesh, worker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`run()` may be a `def`: it waits, changes the state, and ends with the stay, like any body."""

    def run(found: Worker) -> None:
        STAGE.note(f"runs on {found.context.host}")
        while True:
            found.blocking(found.wait_state(lambda state: len(state.lines) % 2 == 1))
            found.add_in_thread("even")

    monkeypatch.setattr(Worker, "run", run)
    await mesh.alpha.client.dispatch(worker, "beta")
    await _noted("runs on beta")
    await ask(mesh.beta.channel, worker, "Append", "odd")
    await ask(mesh.beta.channel, worker, "WaitFor", "even")
    assert (await mesh.beta.client.dispatch(worker, "alpha")).host == "alpha"
    await _noted("runs on alpha")


@pytest.mark.parametrize("everybody", [False, True])
async def test_core_3_notified_is_one_or_all(mesh: Mesh, worker: str, *, everybody: bool) -> None:
    """Who is told that there is news looks again: he who has waited longest, or everybody; a state changes neither."""
    looks, over = list[int](), list[bool]()
    resident = mesh.alpha.host.residents.get(worker)
    assert resident is not None
    paglet = resident.paglet

    async def wait(number: int) -> bool:
        return await paglet.wait_state(lambda _: looks.append(number) or bool(over))

    waiting = [asyncio.create_task(wait(number)) for number in range(3)]
    await eventually(lambda: do(looks == [0, 1, 2]), what="the first looks")
    (paglet.notify_all_state_changed if everybody else paglet.notify_state_changed)()
    wanted = [0, 1, 2] if everybody else [0]
    await eventually(lambda: do(looks[3:] == wanted), what="those who were told")
    paglet.notify_state_changed()
    await eventually(lambda: do(looks[3:] == [*wanted, 0 if everybody else 1]), what="the next one")
    over.append(True)
    paglet.notify_all_state_changed()
    assert await asyncio.gather(*waiting) == [True] * 3


async def test_core_3_wait_in_a_turn_says_so(mesh: Mesh, worker: str) -> None:
    """A turn that waits for its own state would wait for ever, and is refused."""
    assert (await refused(ask(mesh.alpha.channel, worker, "Ask", "wait-in-turn"))).reason == "WAIT_IN_TURN"


@pytest.mark.parametrize("word", ["loop", "thread"])
async def test_body_of_a_task(mesh: Mesh, word: str) -> None:
    """A task's body waits, is told and changes the state like any other, on the loop and in a thread."""
    created = await mesh.alpha.client.create(ERRAND_TYPE, paglet_id="errand")
    task = TaskClient(created, StringValue, StringValue)
    await task.start(StringValue(value=word))
    await _noted("errand")
    STAGE.note(word)
    resident = mesh.alpha.host.residents.get("errand")
    assert resident is not None
    resident.paglet.notify_all_state_changed()
    assert (await task.wait(10)).result == StringValue(value=word)
