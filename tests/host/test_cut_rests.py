"""A rest that its journal has and the directory never heard of: the next start makes it, or it never was."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from paglets.config import HostSettings
from paglets.directory.contract import Guard, PagletRow, RowWrite
from paglets.errors import CancelledCallError, ExhaustedError
from paglets.host.journal.dormant import DormantRows
from paglets.values import DeactivationPolicy, PagletInfo, PagletState
from tests.host.conftest import Site, site
from tests.host.crash import fallen
from tests.host.cut_rest import cut_rest
from tests.host.late import land_after_the_list
from tests.host.midway import do
from tests.host.posts import post
from tests.host.stage import STAGE
from tests.host.support import PROBE_TYPE, ask, eventually, new_request, refused
from tests.host.test_posts_at_rest import has_lines

_KEEP = DeactivationPolicy(activate_on_message=False)


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    """Whatever a test starts ends with it."""
    async with AsyncExitStack() as opened:
        yield opened


async def _hasty(stack: AsyncExitStack, folder: Path) -> Site:
    """Host alpha, which has no time when it is ended."""
    return await site(stack, folder, "alpha", settings=HostSettings(name="alpha", data=folder / "alpha", drain_s=0.1))


async def _cut(folder: Path, policy: DeactivationPolicy | None = None, request: str = "") -> PagletInfo:
    """Ends a host as it lays a probe down that has a line; gives what the directory says of it."""
    async with AsyncExitStack() as stack:
        alpha = await _hasty(stack, folder)
        await alpha.client.create(PROBE_TYPE, paglet_id="probe")
        before = await alpha.client.get("probe")
        await ask(alpha.channel, "probe", "Append", "a")
        await cut_rest(alpha, lambda: alpha.client.deactivate("probe", policy, request_id=request))
        assert await alpha.client.get("probe") == before
    return before


async def test_cut_rest_is_made(stack: AsyncExitStack, tmp_path: Path) -> None:
    """Whoever asks again is told so truthfully, and it rests by the policy that was asked for."""
    request = new_request()
    before = await _cut(tmp_path, _KEEP, request)
    alpha = await site(stack, tmp_path, "alpha")
    again = await alpha.client.deactivate("probe", _KEEP, request_id=request)
    assert (again.state, again.epoch) == (PagletState.INACTIVE, before.epoch + 1)
    assert await alpha.client.get("probe") == again
    assert (await refused(ask(alpha.channel, "probe", "Read"))).reason == "PAGLET_INACTIVE"
    assert [step.cause for step in await alpha.client.history("probe")] == ["create", "deactivate"]
    assert (await alpha.client.activate("probe")).state is PagletState.ACTIVE
    assert (await ask(alpha.channel, "probe", "Append", "b")).text == "a rests woken b"


async def test_cut_rest_is_made_after_a_kill(stack: AsyncExitStack, tmp_path: Path) -> None:
    """What is on the disk when nothing of the host's end was run is enough."""
    alpha = await _hasty(stack, tmp_path)
    await alpha.client.create(PROBE_TYPE, paglet_id="probe")
    before = await alpha.client.get("probe")
    await cut_rest(alpha, lambda: alpha.client.deactivate("probe", _KEEP))
    again = await fallen(stack, tmp_path)
    await eventually(lambda: _is(again, PagletState.INACTIVE), what="its rest")
    assert (await again.client.get("probe")).epoch == before.epoch + 1


@pytest.mark.parametrize("changed", [False, True])
async def test_cut_rest_among_others(
    stack: AsyncExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, changed: bool
) -> None:
    """It is made beside paglets that come back; one by one when one of them is changed meanwhile."""
    async with AsyncExitStack() as first:
        alpha = await _hasty(first, tmp_path)
        for paglet_id in ("probe", "other"):
            await alpha.client.create(PROBE_TYPE, paglet_id=paglet_id)
        other = await alpha.host.parts.directory.get("other")
        assert other is not None
        await cut_rest(alpha, lambda: alpha.client.deactivate("probe", _KEEP))
    if changed:
        late = replace(other, epoch=other.epoch + 1)
        land_after_the_list(monkeypatch, RowWrite(Guard.on(other), late, "late"))
    alpha = await site(stack, tmp_path, "alpha")
    assert (await ask(alpha.channel, "other", "Append", "b")).text == "b"
    await eventually(lambda: _is(alpha, PagletState.INACTIVE), what="its rest")
    assert (await alpha.client.get("other")).epoch == other.epoch + 1 + changed


async def test_own_rest_that_was_cut_is_made(stack: AsyncExitStack, tmp_path: Path) -> None:
    """What a paglet asked for is done, once: woken again it is not laid down again."""
    async with AsyncExitStack() as first:
        alpha = await _hasty(first, tmp_path)
        await alpha.client.create(PROBE_TYPE, paglet_id="probe")
        await cut_rest(alpha, lambda: ask(alpha.channel, "probe", "Ask", "deactivate keep"))
    alpha = await site(stack, tmp_path, "alpha")
    await eventually(lambda: _is(alpha, PagletState.INACTIVE), what="its rest")
    info = await alpha.client.activate("probe")
    assert (await ask(alpha.channel, "probe", "Append", "b")).text.endswith("b")
    assert await alpha.client.get("probe") == info
    assert (await alpha.host.parts.journal.belongings("probe")).own_request is None


async def test_posts_wake_it_after_a_cut_rest(stack: AsyncExitStack, tmp_path: Path) -> None:
    """Those that waited when it was laid down run."""
    async with AsyncExitStack() as first:
        alpha = await _hasty(first, tmp_path)
        await alpha.client.create(PROBE_TYPE, paglet_id="probe")
        STAGE.hold("held")
        turn = asyncio.create_task(ask(alpha.channel, "probe", "Hold", "held"))
        await STAGE.reached("held")
        await post(alpha.channel, "probe", "Append", "p")
        resting = asyncio.create_task(cut_rest(alpha, lambda: alpha.client.deactivate("probe")))
        resident = alpha.host.residents.get("probe")
        assert resident is not None
        await eventually(lambda: do(resident.life.locked()), what="the rest")
        STAGE.release("held")
        await turn
        await resting
    alpha = await site(stack, tmp_path, "alpha")
    await has_lines(alpha, "p")


@pytest.mark.parametrize(
    ("policy", "told"),
    [
        (DeactivationPolicy(activate_on_startup=True, activate_on_message=False), "activated startup"),
        (DeactivationPolicy(activate_at=time.time() - 1, activate_on_message=False), "activated time"),
    ],
)
async def test_policy_of_a_cut_rest_holds(
    stack: AsyncExitStack, tmp_path: Path, policy: DeactivationPolicy, told: str
) -> None:
    """The start that makes the rest is one that brings back whom a start does."""
    await _cut(tmp_path, policy)
    alpha = await site(stack, tmp_path, "alpha")
    await eventually(lambda: do(told in STAGE.notes), what=told)
    await eventually(lambda: _is(alpha, PagletState.ACTIVE), what="its return")


async def test_waking_that_was_cut_is_no_rest(
    stack: AsyncExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal has a policy still, but the directory says that it is awake: so it is, and no policy is left."""
    cut = asyncio.Event()

    async def hang(*_arguments: object) -> None:
        cut.set()
        await asyncio.Event().wait()

    async with AsyncExitStack() as first:
        alpha = await _hasty(first, tmp_path)
        await alpha.client.create(PROBE_TYPE, paglet_id="probe")
        await alpha.client.deactivate("probe", _KEEP)
        with monkeypatch.context() as patch:
            patch.setattr(DormantRows, "wake", hang)
            waking = asyncio.create_task(alpha.client.activate("probe"))
            await cut.wait()
            assert await alpha.host.parts.journal.dormant.ids() == ["probe"]
            assert await _is(alpha, PagletState.ACTIVE)
            await first.aclose()
    with pytest.raises(CancelledCallError):
        await waking
    alpha = await site(stack, tmp_path, "alpha")
    assert (await ask(alpha.channel, "probe", "Append", "b")).text.endswith("b")
    assert await _is(alpha, PagletState.ACTIVE)
    assert not await alpha.host.parts.journal.dormant.ids()


def _refusing(at: Site, monkeypatch: pytest.MonkeyPatch) -> list[Sequence[RowWrite]]:
    """The directory takes no write; gives those that it was asked for."""
    asked: list[Sequence[RowWrite]] = []

    async def refuse(writes: Sequence[RowWrite], **_more: object) -> Sequence[PagletRow]:
        asked.append(writes)
        raise ExhaustedError("TOO_MANY_CALLS", "the directory takes no more")

    monkeypatch.setattr(at.host.parts.directory, "apply", refuse)
    return asked


async def test_rest_that_the_directory_refuses_was_not_made(
    stack: AsyncExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes on, no start lays it down, and the same request asked again lays it down after all."""
    request = new_request()
    async with AsyncExitStack() as first:
        alpha = await site(first, tmp_path, "alpha")
        await alpha.client.create(PROBE_TYPE, paglet_id="probe")
        with monkeypatch.context() as patch:
            _refusing(alpha, patch)
            with pytest.raises(ExhaustedError):
                await alpha.client.deactivate("probe", request_id=request)
        assert (
            await ask(alpha.channel, "probe", "Append", "b")
        ).text == "rests aborted RESOURCE_EXHAUSTED TOO_MANY_CALLS b"
        assert not await alpha.host.parts.journal.dormant.ids()
        assert not await alpha.host.parts.journal.replies("probe")
    alpha = await site(stack, tmp_path, "alpha")
    assert (await ask(alpha.channel, "probe", "Read")).text.endswith("b")
    assert await _is(alpha, PagletState.ACTIVE)
    assert (await alpha.client.deactivate("probe", request_id=request)).state is PagletState.INACTIVE


async def test_refused_rest_may_be_asked_for_again(alpha: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host that lives on does not answer the same request with a rest that it took back: it makes it."""
    request = new_request()
    await alpha.client.create(PROBE_TYPE, paglet_id="probe")
    with monkeypatch.context() as patch:
        _refusing(alpha, patch)
        with pytest.raises(ExhaustedError):
            await alpha.client.deactivate("probe", _KEEP, request_id=request)
    assert (await alpha.client.deactivate("probe", _KEEP, request_id=request)).state is PagletState.INACTIVE
    assert await _is(alpha, PagletState.INACTIVE)


async def test_own_rest_that_the_directory_refuses_is_told(alpha: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The paglet is told that it was not laid down, and asks no longer: it is not laid down later all the same."""
    await alpha.client.create(PROBE_TYPE, paglet_id="probe")
    with monkeypatch.context() as patch:
        tried = _refusing(alpha, patch)
        await ask(alpha.channel, "probe", "Ask", "deactivate keep")
        await ask(alpha.channel, "probe", "WaitFor", "aborted RESOURCE_EXHAUSTED TOO_MANY_CALLS")
    assert not await alpha.host.parts.journal.dormant.ids()
    assert len([writes for writes in tried if writes[0].row.paglet_id == "probe"]) == 1
    assert (await alpha.host.parts.journal.belongings("probe")).own_request is None
    assert await _is(alpha, PagletState.ACTIVE)


async def _is(at: Site, state: PagletState) -> bool:
    return (await at.client.get("probe")).state is state
