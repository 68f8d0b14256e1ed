"""A paglet that is laid down takes no memory and loses nothing; what its policy says brings it back, nothing else."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import pytest

from paglets.client.client import Client
from paglets.core.events import DeactivationEvent
from paglets.directory.contract import PagletRow
from paglets.errors import DeadlineError, NotFoundError, PreconditionError, UnavailableError
from paglets.host.resident import Resident
from paglets.host.residents import Residents
from paglets.values import DeactivationPolicy, PagletState
from tests.host.conftest import Mesh, Site, site
from tests.host.midway import Midway, do
from tests.host.probe import Probe
from tests.host.stage import STAGE
from tests.host.support import PROBE_TYPE, ask, eventually, new_request, refused

_KEEP = DeactivationPolicy(activate_on_message=False)


async def probe_with_line(at: Site, paglet_id: str = "probe") -> str:
    """A probe that keeps one line."""
    await at.client.create(PROBE_TYPE, paglet_id=paglet_id)
    await ask(at.channel, paglet_id, "Append", "a")
    return paglet_id


async def state_of(client: Client, paglet_id: str = "probe") -> PagletState:
    """What the directory says."""
    return (await client.get(paglet_id)).state


async def test_core_13_call_brings_it_back(alpha: Site) -> None:
    """The state is as the last turn before the rest left it; memory holds the paglet only while it is awake."""
    await probe_with_line(alpha)
    info = await alpha.client.deactivate("probe")
    assert info.state is PagletState.INACTIVE
    assert alpha.host.residents.get("probe") is None
    assert (await ask(alpha.channel, "probe", "Append", "b")).text == "a rests woken b"
    after = await alpha.client.get("probe")
    assert (after.state, after.epoch) == (PagletState.ACTIVE, info.epoch + 1)
    told = [note for note in STAGE.notes if "activat" in note]
    assert told == ["deactivating deactivate", "on_deactivating", "activated", "activated message", "on_activation"]


async def test_core_13_policy_keeps_it_from_calls(alpha: Site) -> None:
    """A call is refused where the policy says so, or the caller; ActivatePaglet brings it back whatever it says."""
    await probe_with_line(alpha)
    await alpha.client.deactivate("probe", _KEEP)
    found = await refused(ask(alpha.channel, "probe", "Append", "b"))
    assert found.what == (grpc.StatusCode.FAILED_PRECONDITION, "PAGLET_INACTIVE")
    assert found.resource == ("paglet", "probe")
    assert (await alpha.client.activate("probe")).state is PagletState.ACTIVE
    await alpha.client.deactivate("probe")
    shy = ask(alpha.channel, "probe", "Read", metadata=[("paglet-require-active", "true")])
    assert (await refused(shy)).reason == "PAGLET_INACTIVE"
    wrong = await refused(ask(alpha.channel, "probe", "Read", metadata=[("paglet-require-active", "yes")]))
    assert (wrong.reason, wrong.fields) == ("MALFORMED_REQUEST", ["paglet-require-active"])
    assert await state_of(alpha.client) is PagletState.INACTIVE


async def test_life_8_many_calls_wake_it_once(alpha: Site) -> None:
    """Whoever calls while it comes back waits for the one activation, and all of them are answered."""
    await probe_with_line(alpha)
    await alpha.client.deactivate("probe")
    STAGE.hold("on_activation")
    calls = [asyncio.create_task(ask(alpha.channel, "probe", "Append", str(n))) for n in range(20)]
    await STAGE.reached("on_activation")
    STAGE.release("on_activation")
    answers = await asyncio.gather(*calls)
    assert max(len(answer.text.split()) for answer in answers) == 23
    assert STAGE.notes.count("activated message") == 1


async def test_call_that_comes_at_the_end_of_its_waking(alpha: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The directory knows that it is awake, the journal not yet: the call waits, and is run."""
    await probe_with_line(alpha)
    await alpha.client.deactivate("probe")
    kept = Midway(monkeypatch, alpha.host.parts.journal.dormant, "wake").hold()
    waking = asyncio.create_task(alpha.client.activate("probe"))
    await kept.called()
    read = Midway(monkeypatch, alpha.host.parts.journal.dormant, "policy", after=True)
    call = asyncio.create_task(ask(alpha.channel, "probe", "Append", "b"))
    await asyncio.wait([call, asyncio.ensure_future(read.over())], return_when=asyncio.FIRST_COMPLETED)
    kept.release()
    assert (await call).text.endswith("woken b")
    assert (await waking).state is PagletState.ACTIVE


async def test_life_8_calls_that_wait_when_it_lies_down_wake_it(alpha: Site) -> None:
    """Nobody who waited for a turn is sent away: the paglet rests, and is woken for them."""
    await probe_with_line(alpha)
    STAGE.hold("on_deactivating")
    resting = asyncio.create_task(alpha.client.deactivate("probe"))
    await STAGE.reached("on_deactivating")
    calls = [asyncio.create_task(ask(alpha.channel, "probe", "Append", str(n))) for n in range(5)]
    await eventually(lambda: do(_waiting(alpha) == 5), what="calls that wait")
    STAGE.release("on_deactivating")
    assert (await resting).state is PagletState.INACTIVE
    answers = await asyncio.gather(*calls)
    assert max(len(answer.text.split()) for answer in answers) == 8


def _waiting(at: Site) -> int:
    resident = at.host.residents.get("probe")
    return 0 if resident is None else resident.gate.waiting


@pytest.mark.parametrize("hook", ["on_deactivating", "deactivation_policy"])
async def test_life_7_hook_that_fails_keeps_it_active(alpha: Site, hook: str) -> None:
    """What the failing turn did is rolled back, and the paglet goes on."""
    await probe_with_line(alpha)
    await ask(alpha.channel, "probe", "Ask", f"refuse {hook} fail")
    with pytest.raises(PreconditionError) as caught:
        await alpha.client.deactivate("probe")
    assert (caught.value.reason, caught.value.metadata["hook"]) == ("HOOK_FAILED", "on_deactivating")
    assert (await ask(alpha.channel, "probe", "Read")).text == "a aborted FAILED_PRECONDITION HOOK_FAILED"
    assert await state_of(alpha.client) is PagletState.ACTIVE


async def test_life_8_hook_that_fails_keeps_it_inactive(alpha: Site) -> None:
    """An activation that fails changes nothing, however often it is tried; the caller is told why."""
    await probe_with_line(alpha)
    await ask(alpha.channel, "probe", "Ask", "refuse on_activation fail")
    info = await alpha.client.deactivate("probe")
    for _ in range(2):
        assert (await refused(ask(alpha.channel, "probe", "Read"))).reason == "HOOK_FAILED"
    found = await alpha.client.get("probe")
    assert (found.state, found.epoch) == (PagletState.INACTIVE, info.epoch)
    assert '"rests"' in await alpha.client.state("probe")
    await alpha.client.dispose("probe")


async def test_life_7_turn_that_does_not_end_keeps_it_active(strict: Mesh) -> None:
    """The rest is given up after the quiesce timeout, and the turn goes on to its end."""
    await probe_with_line(strict.alpha)
    STAGE.hold("held")
    turn = asyncio.create_task(ask(strict.alpha.channel, "probe", "Hold", "held"))
    await STAGE.reached("held")
    with pytest.raises(DeadlineError, match="did not end"):
        await strict.alpha.client.deactivate("probe")
    STAGE.release("held")
    assert (await turn).text == "a held< >held"


async def test_life_7_same_request_rests_once(alpha: Site) -> None:
    """A late duplicate changes nothing: neither a paglet that was woken since, nor a policy that was replaced."""
    await probe_with_line(alpha)
    request, later = new_request(), new_request()
    await alpha.client.deactivate("probe", request_id=request)
    await alpha.client.deactivate("probe", _KEEP, request_id=later)
    assert (await alpha.client.deactivate("probe", request_id=request)).state is PagletState.INACTIVE
    assert (await refused(ask(alpha.channel, "probe", "Read"))).reason == "PAGLET_INACTIVE"
    last = new_request()
    await alpha.client.deactivate("probe", request_id=last)
    assert (await refused(ask(alpha.channel, "probe", "Read"))).reason == "PAGLET_INACTIVE"
    await alpha.client.activate("probe")
    for duplicate, policy in ((request, None), (later, _KEEP), (last, None)):
        info = await alpha.client.deactivate("probe", policy, request_id=duplicate)
        assert info.state is PagletState.ACTIVE
    with pytest.raises(PreconditionError) as caught:
        await alpha.client.deactivate("probe", _KEEP, request_id=request)
    assert caught.value.reason == "REQUEST_ID_REUSED"


async def test_life_7_its_own_wish(alpha: Site) -> None:
    """It asks in a turn, rests when that is durable, with its own policy."""
    await probe_with_line(alpha)
    await ask(alpha.channel, "probe", "Ask", "deactivate keep")
    await eventually(lambda: _is(alpha.client, PagletState.INACTIVE), what="its rest")
    assert "deactivating own" in STAGE.notes
    assert (await refused(ask(alpha.channel, "probe", "Read"))).reason == "PAGLET_INACTIVE"


async def _is(client: Client, state: PagletState) -> bool:
    return await state_of(client) is state


async def test_life_7_its_own_wish_refused(alpha: Site) -> None:
    """It is told when it could not rest, and asked for nothing more."""
    await probe_with_line(alpha)
    await ask(alpha.channel, "probe", "Ask", "refuse on_deactivating fail")
    await ask(alpha.channel, "probe", "Ask", "deactivate")
    await eventually(lambda: do("aborted HOOK_FAILED" in STAGE.notes), what="the bad news")
    assert await state_of(alpha.client) is PagletState.ACTIVE
    assert (await alpha.host.parts.journal.belongings("probe")).own_request is None


async def test_life_7_own_wish_that_finds_somebody_away(alpha: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """UNAVAILABLE from its last turn refuses it, too: nobody is there to ask again, and it is not asked for ever."""
    real, told = Probe.on_deactivating, list[str]()

    async def on_deactivating(probe: Probe, event: DeactivationEvent) -> None:
        told.append(event.reason)
        if len(told) == 1:
            raise UnavailableError("HOST_UNREACHABLE", "whom it wanted to tell is away")
        await real(probe, event)

    monkeypatch.setattr(Probe, "on_deactivating", on_deactivating)
    await probe_with_line(alpha)
    await ask(alpha.channel, "probe", "Ask", "deactivate")
    await ask(alpha.channel, "probe", "WaitFor", "aborted FAILED_PRECONDITION HOOK_FAILED")
    assert (told, await state_of(alpha.client)) == (["own"], PagletState.ACTIVE)
    assert (await alpha.host.parts.journal.belongings("probe")).own_request is None
    await ask(alpha.channel, "probe", "Ask", "deactivate")
    await eventually(lambda: _is(alpha.client, PagletState.INACTIVE), what="its rest")


def test_life_9_policy() -> None:
    """By default calls and posts bring it back, and nothing else does; a time may be said from now on."""
    policy = DeactivationPolicy()
    assert (policy.activate_on_message, policy.queue_posts) == (True, True)
    assert (policy.activate_on_startup, policy.activate_at) == (False, None)
    before = time.time()
    later = DeactivationPolicy.after(60, activate_on_message=False, queue_posts=False, activate_on_startup=True)
    assert later.activate_at is not None
    assert before + 60 <= later.activate_at <= time.time() + 60
    assert (later.activate_on_message, later.queue_posts, later.activate_on_startup) == (False, False, True)
    at_once = DeactivationPolicy.after(-60).activate_at
    assert at_once is not None
    assert at_once >= before


async def test_life_10_its_time_comes(alpha: Site) -> None:
    """A time that has passed brings it back at once; an earlier one is heard of though a later one was waited for."""
    for paglet_id, pause_s in (("late", 3600.0), ("probe", 0.2)):
        await probe_with_line(alpha, paglet_id)
        await alpha.client.deactivate(paglet_id, DeactivationPolicy.after(pause_s, activate_on_message=False))
    await eventually(lambda: _is(alpha.client, PagletState.ACTIVE), what="its time")
    assert "activated time" in STAGE.notes
    assert await state_of(alpha.client, "late") is PagletState.INACTIVE
    await alpha.client.deactivate("late", DeactivationPolicy(activate_at=time.time() - 5))
    await eventually(lambda: do(STAGE.notes.count("activated time") == 2), what="the time of the other")


async def test_life_10_time_that_comes_before_it_rests(alpha: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A time that has passed when the directory does not know of the rest yet brings it back right after that."""
    await probe_with_line(alpha)
    kept = Midway(monkeypatch, alpha.host.parts.journal.dormant, "rest", after=True).hold()
    looked = Midway(monkeypatch, alpha.host.parts.journal.dormant, "times", after=True)
    policy = DeactivationPolicy(activate_at=time.time() - 5, activate_on_message=False)
    resting = asyncio.create_task(alpha.client.deactivate("probe", policy))
    await kept.called()
    alpha.host.dormant.rearranged("probe")
    await looked.over()
    kept.release()
    await resting
    await eventually(lambda: do("activated time" in STAGE.notes), what="its time")


async def test_life_13_start_brings_back_what_it_should(tmp_path: Path) -> None:
    """Of inactive paglets those whose policy says so; the others are where they were, and can be called."""
    async with AsyncExitStack() as first:
        alpha = await site(first, tmp_path, "alpha")
        for paglet_id in ("early", "kept"):
            await probe_with_line(alpha, paglet_id)
        await alpha.client.deactivate("early", DeactivationPolicy(activate_on_startup=True, activate_on_message=False))
        await alpha.client.deactivate("kept")
    STAGE.notes.clear()
    async with AsyncExitStack() as second:
        alpha = await site(second, tmp_path, "alpha")
        await eventually(lambda: do("activated startup" in STAGE.notes), what="a start")
        assert await state_of(alpha.client, "kept") is PagletState.INACTIVE
        assert alpha.host.residents.get("kept") is None
        assert (await ask(alpha.channel, "kept", "Append", "b")).text == "a rests woken b"
        assert (await ask(alpha.channel, "early", "Append", "b")).text == "a rests woken b"


async def test_life_12_last_turn_tells_what_brings_it_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A paglet whose host ends is told why, and that the start brings it back, whatever else a call would do."""
    told: list[DeactivationEvent] = []

    async def on_deactivating(_probe: Probe, event: DeactivationEvent) -> None:
        told.append(event)

    monkeypatch.setattr(Probe, "on_deactivating", on_deactivating)
    async with AsyncExitStack() as stack:
        await probe_with_line(await site(stack, tmp_path, "alpha"))
    assert told == [DeactivationEvent("alpha", "shutdown", DeactivationPolicy(activate_on_startup=True))]


async def test_life_12_host_that_ends_gives_the_active_a_last_turn(tmp_path: Path) -> None:
    """What that turn leaves is there after the restart, and the paglet is as active as before."""
    async with AsyncExitStack() as first:
        alpha = await site(first, tmp_path, "alpha")
        await probe_with_line(alpha)
        await ask(alpha.channel, "probe", "Ask", "refuse shutdown yes")
    assert "deactivating shutdown" in STAGE.notes
    async with AsyncExitStack() as second:
        alpha = await site(second, tmp_path, "alpha")
        assert (await ask(alpha.channel, "probe", "Read")).text == "a rests"
        assert await state_of(alpha.client) is PagletState.ACTIVE


async def test_inactive_moves_and_ends(mesh: Mesh) -> None:
    """A dispatch brings it back and along; its end needs no turn, and leaves nothing in any journal."""
    await probe_with_line(mesh.alpha)
    await mesh.alpha.client.deactivate("probe", _KEEP)
    moved = await mesh.beta.client.dispatch("probe", "beta")
    assert (moved.host, moved.state) == ("beta", PagletState.ACTIVE)
    assert "activated activate" in STAGE.notes
    assert (await mesh.alpha.client.deactivate("probe", _KEEP)).host == "beta"
    assert '"lines":["a","rests","woken","rests"]' in await mesh.alpha.client.state("probe")
    STAGE.notes.clear()
    await mesh.alpha.client.dispose("probe")
    assert "disposing" not in STAGE.notes
    with pytest.raises(NotFoundError):
        await mesh.alpha.client.activate("probe")
    journal = mesh.beta.host.parts.journal
    assert (await journal.paglet_ids(), await journal.dormant.ids()) == ([], [])


async def test_failed_arrival_is_tried_again(mesh: Mesh) -> None:
    """ActivatePaglet makes a FAILED paglet ACTIVE when its hook lets it, and leaves it FAILED when not."""
    await probe_with_line(mesh.alpha)
    await ask(mesh.alpha.channel, "probe", "Ask", "refuse on_arrival fail")
    with pytest.raises(PreconditionError):
        await mesh.alpha.client.dispatch("probe", "beta")
    assert await state_of(mesh.alpha.client) is PagletState.FAILED
    with pytest.raises(PreconditionError) as caught:
        await mesh.alpha.client.deactivate("probe")
    assert caught.value.reason == "ILLEGAL_TRANSITION"
    info = await mesh.alpha.client.activate("probe")
    assert (info.host, info.state, info.error) == ("beta", PagletState.ACTIVE, "")
    assert "activated retry" in STAGE.notes
    assert (await ask(mesh.alpha.channel, "probe", "Append", "b")).text == "a woken b"


async def test_caller_of_a_rest_may_leave(alpha: Site) -> None:
    """The rest goes on to its end without whoever asked for it, and so does the activation."""
    await probe_with_line(alpha)
    STAGE.hold("on_deactivating", "on_activation")
    resting = asyncio.create_task(alpha.client.deactivate("probe"))
    await STAGE.reached("on_deactivating")
    resting.cancel()
    STAGE.release("on_deactivating")
    await eventually(lambda: _is(alpha.client, PagletState.INACTIVE), what="its rest")
    waking = asyncio.create_task(alpha.client.activate("probe"))
    await STAGE.reached("on_activation")
    waking.cancel()
    STAGE.release("on_activation")
    await eventually(lambda: _is(alpha.client, PagletState.ACTIVE), what="its return")


async def test_who_waits_for_an_activation_at_the_end_is_sent_away(tmp_path: Path) -> None:
    """A host that ends tells the callers of a paglet that is just waking so, rather than nothing."""
    async with AsyncExitStack() as stack:
        alpha = await site(stack, tmp_path, "alpha")
        await probe_with_line(alpha)
        await alpha.client.deactivate("probe")
        STAGE.hold("on_activation")
        calling = asyncio.create_task(refused(ask(alpha.channel, "probe", "Read")))
        await STAGE.reached("on_activation")
        closing = asyncio.create_task(alpha.host.close())
        found = await calling
        await closing
        assert found.what == (grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN")
        assert await alpha.host.parts.journal.dormant.ids() == ["probe"]
        STAGE.release("on_activation")


async def test_life_13_paglet_that_cannot_come_back_yet_keeps_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What goes wrong with one paglet after a restart is its own matter; it comes when it is called again."""
    async with AsyncExitStack() as first:
        alpha = await site(first, tmp_path, "alpha")
        for paglet_id in ("a", "b"):
            await probe_with_line(alpha, paglet_id)
    real, failing = Residents.load, ["a"]

    async def load(self: Residents, row: PagletRow) -> Resident:
        if row.paglet_id in failing:
            failing.clear()
            raise MemoryError
        return await real(self, row)

    monkeypatch.setattr(Residents, "load", load)
    async with AsyncExitStack() as second:
        alpha = await site(second, tmp_path, "alpha")
        for paglet_id in ("b", "a"):
            assert (await ask(alpha.channel, paglet_id, "Read")).text == "a"
        assert not failing
