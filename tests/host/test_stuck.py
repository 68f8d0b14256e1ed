"""A turn that outlives its deadline by far commits nothing, is shown, and keeps nothing but its paglet waiting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest

from paglets.config import HostSettings
from paglets.core.events import DeactivationRequest
from paglets.errors import DeadlineError, PagletError
from paglets.values import DeactivationPolicy
from tests.host.conftest import Mesh, Site, site
from tests.host.posts import post, ran
from tests.host.probe import Probe
from tests.host.stage import STAGE
from tests.host.support import PROBE_TYPE, ask, eventually, refused
from tests.host.worker import SAVER_TYPE, WORKER_TYPE, Worker

_AT_ONCE_S = 5.0


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[Mesh]:
    """Two hosts, of which the first bears late turns for 0.2 s and waits long for others."""
    async with AsyncExitStack() as stack:
        settings = HostSettings(name="alpha", data=tmp_path, stuck_after_s=0.2, drain_s=1.0, quiesce_s=60.0)
        alpha = await site(stack, tmp_path, "alpha", settings=settings)
        beta = await site(stack, tmp_path, "beta", join=alpha.running.address)
        await alpha.client.create(PROBE_TYPE, paglet_id="probe")
        yield Mesh(alpha, beta)
        STAGE.clear()


async def get_stuck(at: Site, operation: str = "HoldInThread", request_id: str = "") -> None:
    """Has a turn outlive its deadline by far."""
    STAGE.hold("slow")
    late = await refused(ask(at.channel, "probe", operation, "slow", timeout_s=0.3, request_id=request_id))
    assert late.code == grpc.StatusCode.DEADLINE_EXCEEDED
    await shown(at, stuck=True)


async def shown(at: Site, *, stuck: bool) -> None:
    """Waits until a host tells that the probe is stuck, or is not."""

    async def look() -> bool:
        return (await at.client.get("probe")).stuck is stuck

    await eventually(look, what=f"stuck: {stuck}")


@pytest.mark.parametrize("operation", ["HoldInThread", "Hold"])
async def test_late_turn_commits_nothing(mesh: Mesh, operation: str) -> None:
    """Every host shows it while it lasts; when it ends at last it is rolled back, and the paglet goes on."""
    await get_stuck(mesh.alpha, operation, request_id="r-1")
    await shown(mesh.beta, stuck=True)
    assert [info.stuck async for info in mesh.alpha.client.list()] == [True]
    assert (await ask(mesh.alpha.channel, "probe", "Read")).text == ""
    STAGE.release("slow")
    await shown(mesh.beta, stuck=False)
    assert (await ask(mesh.alpha.channel, "probe", "Append", "x")).text == "x"


async def test_request_of_a_late_turn_runs_again(mesh: Mesh) -> None:
    """It has not run: whoever asks again has it run, once; who asks while it lasts is told to ask again."""
    await get_stuck(mesh.alpha, request_id="r-1")
    joined = asyncio.create_task(ask(mesh.beta.channel, "probe", "HoldInThread", "slow", request_id="r-1"))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await asyncio.shield(joined)
    STAGE.release("slow")
    refusal = await refused(joined)
    assert refusal.what == (grpc.StatusCode.UNAVAILABLE, "TURN_STUCK")
    again = await ask(mesh.beta.channel, "probe", "HoldInThread", "slow", request_id="r-1")
    assert (again.text, again.replayed) == ("slow< >slow", False)


@pytest.mark.slow
async def test_late_post_is_a_failed_one(tmp_path: Path) -> None:
    """A post whose turns are late each time does not keep its caller's other posts waiting for ever."""
    async with AsyncExitStack() as stack:
        settings = HostSettings(name="alpha", data=tmp_path, stuck_after_s=0.1, unary_deadline_s=0.2, drain_s=1.0)
        alpha = await site(stack, tmp_path, "alpha", settings=settings)
        await alpha.client.create(PROBE_TYPE, paglet_id="probe")
        await post(alpha.channel, "probe", "HoldInThread", "slow")
        await ran(alpha, "probe", "slow< >slow")
        STAGE.hold("slow")
        await post(alpha.channel, "probe", "HoldInThread", "slow")
        await post(alpha.channel, "probe", "Append", "end")
        for _ in range(3):
            await shown(alpha, stuck=True)
            STAGE.release("slow")
            await shown(alpha, stuck=False)
            STAGE.hold("slow")
        await ran(alpha, "probe", "slow< >slow end")
        assert [letter.error.reason async for letter in alpha.client.dead_letters.list("probe")] == ["TURN_STUCK"]
        STAGE.clear()


async def test_nobody_waits_for_it(mesh: Mesh) -> None:
    """A journey and a rest are given up at once, and the paglet can be disposed of."""
    await get_stuck(mesh.alpha)
    async with asyncio.timeout(_AT_ONCE_S):
        for asked in (mesh.beta.client.dispatch("probe", "beta"), mesh.beta.client.deactivate("probe")):
            with pytest.raises(DeadlineError) as caught:
                await asked
            assert caught.value.reason == "QUIESCE_TIMEOUT"
        await mesh.beta.client.dispose("probe")
    STAGE.release("slow")
    with pytest.raises(PagletError) as gone:
        await mesh.alpha.client.get("probe")
    assert gone.value.reason == "PAGLET_NOT_FOUND"


async def _none_under_way(at: Site) -> bool:
    """Whether no call waits for the probe, or has its turn."""
    resident = at.host.residents.get("probe")
    assert resident is not None
    return resident.gate.waiting == 0 and await resident.gate.drained(0)


def _in_thread(*_: object) -> None:
    STAGE.at_in_thread("thread")


@pytest.mark.parametrize(
    ("hook", "wish"),
    [
        ("on_dispatching", "dispatch"),
        ("on_cloning", "clone"),
        ("deactivation_policy", "deactivate"),
        ("on_deactivating", "deactivate"),
    ],
)
async def test_life_3_thread_of_a_hook_is_left_to_itself(
    strict: Mesh, monkeypatch: pytest.MonkeyPatch, hook: str, wish: str
) -> None:
    """What the hook was for is given up in time; until the thread has ended the paglet is stuck, then it goes on."""
    client = strict.beta.client
    await strict.probe()
    wishes = {
        "dispatch": lambda: client.dispatch("probe", "beta"),
        "clone": lambda: client.clone("probe"),
        "deactivate": lambda: client.deactivate("probe"),
    }
    STAGE.hold("thread")
    with monkeypatch.context() as patch:
        patch.setattr(Probe, hook, _in_thread)
        async with asyncio.timeout(2 * _AT_ONCE_S):
            with pytest.raises(DeadlineError) as caught:
                await wishes[wish]()
    assert caught.value.reason == "QUIESCE_TIMEOUT"
    await shown(strict.alpha, stuck=True)
    assert (await ask(strict.beta.channel, "probe", "Read")).text == ""
    for request_id in ("", "r-1"):
        late = await refused(
            ask(strict.alpha.channel, "probe", "Append", "never", request_id=request_id, timeout_s=0.3)
        )
        assert late.code is grpc.StatusCode.DEADLINE_EXCEEDED
    await eventually(lambda: _none_under_way(strict.alpha), what="the host to know that they are late")
    STAGE.release("thread")
    assert (await ask(strict.beta.channel, "probe", "Append", "x")).text == "x"
    await shown(strict.alpha, stuck=False)
    await wishes[wish]()


@pytest.mark.slow
@pytest.mark.parametrize("hook", ["deactivation_policy", "on_activation", "on_arrival"])
async def test_paglet_of_a_thread_without_end_can_be_disposed_of(
    strict: Mesh, monkeypatch: pytest.MonkeyPatch, hook: str
) -> None:
    """Whatever it was to become: nobody waits for the thread."""
    client = strict.beta.client
    await strict.beta.client.create(PROBE_TYPE, paglet_id="probe")
    if hook != "on_arrival":
        await client.dispatch("probe", "alpha")
    if hook == "on_activation":
        await client.deactivate("probe")
    monkeypatch.setattr(Probe, hook, _in_thread)
    STAGE.hold("thread")
    wishes = {
        "on_arrival": lambda: client.dispatch("probe", "alpha"),
        "on_activation": lambda: client.activate("probe"),
        "deactivation_policy": lambda: client.deactivate("probe"),
    }
    wish = asyncio.create_task(wishes[hook]())
    await STAGE.reached("thread")
    async with asyncio.timeout(2 * _AT_ONCE_S):
        await client.dispose("probe")
        with pytest.raises(PagletError):
            await wish
    with pytest.raises(PagletError) as gone:
        await client.get("probe")
    assert gone.value.reason == "PAGLET_NOT_FOUND"
    STAGE.release("thread")


@pytest.mark.parametrize("way", ["loop", "thread"])
async def test_life_1_creation_without_end_is_given_up(strict: Mesh, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """Its id is free again; what a thread of it does later is not done to the next paglet of the id."""
    cut = asyncio.Event()

    async def on_loop(_worker: Worker, _event: object) -> None:
        try:
            await STAGE.at(way)
        finally:
            cut.set()

    def in_thread(worker: Worker, _event: object) -> None:
        STAGE.at_in_thread(way)
        try:
            worker.blocking(worker.work_folder())
        except asyncio.CancelledError:
            loop.call_soon_threadsafe(cut.set)

    loop, client = asyncio.get_running_loop(), strict.alpha.client
    STAGE.hold(way)
    with monkeypatch.context() as patch:
        patch.setattr(Worker, "on_creation", on_loop if way == "loop" else in_thread)
        async with asyncio.timeout(2 * _AT_ONCE_S):
            with pytest.raises(DeadlineError, match="on_creation did not end within 1 s") as caught:
                await client.create(WORKER_TYPE, paglet_id="worker", request_id="c-1")
    assert caught.value.reason == "QUIESCE_TIMEOUT"
    with pytest.raises(PagletError, match="worker"):
        await client.get("worker")
    await client.create(WORKER_TYPE, paglet_id="worker", request_id="c-1")
    STAGE.release(way)
    async with asyncio.timeout(_AT_ONCE_S):
        await cut.wait()
    assert not strict.alpha.host.parts.work.where("worker").exists()
    assert not (await client.get("worker")).stuck


@pytest.mark.parametrize("way", ["loop", "thread"])
async def test_giving_up_tells_the_paglet_for_a_time(strict: Mesh, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """An `on_dispatch_aborted` that does not end keeps nobody from ending the paglet."""

    async def on_loop(_probe: Probe, _error: object) -> None:
        await STAGE.at("thread")

    await strict.probe(state='{"refuse": {"check_arrival": "refused"}}')
    monkeypatch.setattr(Probe, "on_dispatch_aborted", on_loop if way == "loop" else _in_thread)
    STAGE.hold("thread")
    moving = asyncio.create_task(strict.beta.client.dispatch("probe", "beta"))
    await STAGE.reached("thread")
    async with asyncio.timeout(2 * _AT_ONCE_S):
        await strict.beta.client.dispose("probe")
        with pytest.raises(PagletError) as caught:
            await moving
    assert caught.value.reason == "TASK_RUNNING"
    STAGE.release("thread")


async def test_body_that_a_hook_began_is_waited_for(strict: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread of a body is no hook's, also when it was begun by one: the paglet stays where that is at work."""

    async def on_cloning(probe: Probe, _event: object) -> None:
        body: Any = _in_thread
        probe.start_background(body)

    monkeypatch.setattr(Probe, "on_cloning", on_cloning)
    await strict.probe()
    STAGE.hold("thread")
    await strict.alpha.client.clone("probe")
    await STAGE.reached("thread")
    with pytest.raises(DeadlineError) as caught:
        await strict.alpha.client.dispatch("probe", "beta")
    assert (caught.value.reason, (await strict.alpha.client.get("probe")).stuck) == ("QUIESCE_TIMEOUT", False)
    STAGE.release("thread")


@pytest.mark.slow
@pytest.mark.parametrize("spot", ["on_disposing", "close stuck"])
async def test_life_11_disposal_waits_for_no_thread(strict: Mesh, monkeypatch: pytest.MonkeyPatch, spot: str) -> None:
    """A `def` hook, or what closes a resource, that never comes back keeps no paglet alive."""

    def hang(_probe: Probe, _event: object) -> None:
        STAGE.at_in_thread("on_disposing")

    await strict.alpha.client.create(WORKER_TYPE, paglet_id="worker")
    if spot == "on_disposing":
        monkeypatch.setattr(Worker, "on_disposing", hang)
    else:
        resident = strict.alpha.host.residents.get("worker")
        assert resident is not None
        resident.paglet.resources.register("stuck", partial(STAGE.at_in_thread, spot))
    STAGE.hold(spot)
    async with asyncio.timeout(2 * _AT_ONCE_S):
        await strict.beta.client.dispose("worker")
    with pytest.raises(PagletError) as gone:
        await strict.alpha.client.get("worker")
    assert gone.value.reason == "PAGLET_NOT_FOUND"
    STAGE.release(spot)


async def test_other_paglets_go_on(mesh: Mesh) -> None:
    """A thread that never ends takes nothing from others."""
    await get_stuck(mesh.alpha)
    await mesh.alpha.client.create(PROBE_TYPE, paglet_id="other")
    async with asyncio.timeout(_AT_ONCE_S):
        assert (await ask(mesh.alpha.channel, "other", "AppendInThread", "x")).text == "x"
        await mesh.alpha.client.dispatch("other", "beta")


async def test_life_12_hook_without_end_costs_nobody_else_his_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host ends though a rest waits for a thread, and saves what other paglets did."""

    def hang(_probe: Probe, _request: DeactivationRequest) -> DeactivationPolicy:
        STAGE.at_in_thread("policy")
        return DeactivationPolicy()

    monkeypatch.setattr(Probe, "deactivation_policy", hang)
    settings = HostSettings(name="alpha", data=tmp_path, drain_s=0.2, quiesce_s=60.0)
    async with AsyncExitStack() as stack:
        alpha = await site(stack, tmp_path, "alpha", settings=settings)
        await alpha.client.create(PROBE_TYPE, paglet_id="probe")
        await alpha.client.create(SAVER_TYPE, paglet_id="saver")
        await ask(alpha.channel, "saver", "Append", "x")
        STAGE.hold("policy")
        rest = asyncio.create_task(alpha.client.deactivate("probe"))
        await STAGE.reached("policy")
        rest.cancel()
        ending = asyncio.create_task(stack.pop_all().aclose())
        async with asyncio.timeout(2 * _AT_ONCE_S):
            await asyncio.shield(ending)
    STAGE.release("policy")
    async with AsyncExitStack() as stack:
        again = await site(stack, tmp_path, "alpha", settings=settings)
        assert (await ask(again.channel, "saver", "Read")).text.startswith("x")


async def test_life_12_host_ends_with_a_stuck_turn(tmp_path: Path) -> None:
    """Its paglet is not waited for: the drain time is for those that can end."""
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        settings = HostSettings(name="alpha", data=tmp_path, stuck_after_s=0.2, drain_s=30.0)
        alpha = await site(stack, tmp_path, "alpha", settings=settings)
        await alpha.client.create(PROBE_TYPE, paglet_id="probe")
        await get_stuck(alpha, request_id="r-1")
        began = loop.time()
    took = loop.time() - began
    STAGE.release("slow")
    assert took < _AT_ONCE_S
