"""An inactive paglet is brought back by a post, or the post waits for it, or is refused: as its policy says."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import pytest

from paglets.config import HostSettings, PostSettings
from paglets.core.events import ActivationEvent
from paglets.errors import UnavailableError
from paglets.host import dormant
from paglets.host.gate import not_found
from paglets.values import DeactivationPolicy, PagletState
from tests.host.conftest import Mesh, Site, site
from tests.host.posts import closed, post, ran
from tests.host.probe import Probe
from tests.host.stage import STAGE
from tests.host.support import PROBE_TYPE, ask, eventually, refused

QUEUED = DeactivationPolicy(activate_on_message=False)
REFUSED = DeactivationPolicy(activate_on_message=False, queue_posts=False)


@pytest.fixture
async def probe(alpha: Site) -> str:
    """A probe."""
    return (await alpha.client.create(PROBE_TYPE, paglet_id="probe")).paglet_id


async def is_inactive(at: Site, paglet_id: str = "probe") -> bool:
    """Whether the directory says so."""
    return (await at.client.get(paglet_id)).state is PagletState.INACTIVE


async def has_lines(at: Site, *lines: str) -> None:
    """Waits until the durable state has these lines among others; wakes nobody."""

    async def look() -> bool:
        state = await at.client.state("probe")
        places = [state.find(f'"{line}"') for line in lines]
        return -1 not in places and places == sorted(places)

    await eventually(look, what=f"the lines {lines}")


async def test_core_13_post_brings_it_back(alpha: Site, probe: str) -> None:
    """By the default policy a post is like a call that does not wait."""
    await alpha.client.deactivate(probe)
    await post(alpha.channel, probe, "Append", "a")
    await post(alpha.channel, probe, "Append", "b")
    await has_lines(alpha, "a", "b")
    assert STAGE.notes.count("activated message") == 1


async def test_life_8_posts_wait_for_it(alpha: Site, probe: str) -> None:
    """With `queue_posts` alone they are kept, once each, and run in their order when something else brings it back."""
    await alpha.client.deactivate(probe, QUEUED)
    ids = [await post(alpha.channel, probe, "Append", text, request_id=text) for text in "abca"]
    assert ids[0] == ids[3]
    assert (await refused(post(alpha.channel, probe, "Append", "x", request_id="a"))).reason == "REQUEST_ID_REUSED"
    assert (await refused(post(alpha.channel, probe, "Nothing"))).reason == "OPERATION_NOT_FOUND"
    assert await is_inactive(alpha)
    await alpha.client.activate(probe)
    await has_lines(alpha, "a", "b", "c")
    assert (await alpha.client.state(probe)).count('"a"') == 1


async def test_core_13_posts_are_refused(alpha: Site, probe: str) -> None:
    """With neither a post is refused, and nothing is kept."""
    await alpha.client.deactivate(probe, REFUSED)
    refusal = await refused(post(alpha.channel, probe, "Append", "a"))
    assert refusal.what == (grpc.StatusCode.FAILED_PRECONDITION, "PAGLET_INACTIVE")
    assert await alpha.host.parts.journal.posts.of(probe) == []


async def test_another_policy_lets_them_in(alpha: Site, probe: str) -> None:
    """Posts that wait bring the paglet back as soon as its policy lets them."""
    await alpha.client.deactivate(probe, QUEUED)
    await post(alpha.channel, probe, "Append", "a")
    await alpha.client.deactivate(probe, DeactivationPolicy())
    await has_lines(alpha, "a")


async def test_post_outlives_an_activation_that_fails(alpha: Site, probe: str) -> None:
    """A paglet that does not come back for a post keeps it; without a queue the sender is told."""
    await ask(alpha.channel, probe, "Ask", "refuse on_activation fail")
    await alpha.client.deactivate(probe)
    await post(alpha.channel, probe, "Append", "a")
    assert await is_inactive(alpha)
    assert len(await alpha.host.parts.journal.posts.of(probe)) == 1
    await alpha.client.deactivate(probe, DeactivationPolicy(queue_posts=False))
    assert (await refused(post(alpha.channel, probe, "Append", "b"))).reason == "HOOK_FAILED"


async def test_post_waits_whatever_kept_the_paglet(alpha: Site, probe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if that was the word of another paglet, which has ended: it is not the receiver that is not there."""

    async def on_activation(_probe: Probe, _event: ActivationEvent) -> None:
        raise not_found("other")

    monkeypatch.setattr(Probe, "on_activation", on_activation)
    await alpha.client.deactivate(probe)
    await post(alpha.channel, probe, "Append", "a")
    assert await is_inactive(alpha)
    assert len(await alpha.host.parts.journal.posts.of(probe)) == 1


async def test_post_is_not_forgotten_when_its_paglet_could_not_come_back(
    alpha: Site, probe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What kept the paglet from coming back for a post may pass: it is tried again, though nothing else is asked."""
    monkeypatch.setattr(dormant, "_TRY_AGAIN_S", 0.05)
    await alpha.client.deactivate(probe)

    async def no_answer(*_arguments: object) -> object:
        raise UnavailableError("DIRECTORY_UNAVAILABLE", "no answer comes")

    with monkeypatch.context() as patch:
        patch.setattr(alpha.host.residents, "load", no_answer)
        await post(alpha.channel, probe, "Append", "a")
        assert await is_inactive(alpha)
    await has_lines(alpha, "woken", "a")


async def test_post_that_is_kept_late_is_not_forgotten_either(
    alpha: Site, probe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever looks whether the paglet is to come back, before the post is kept, does not give it up."""
    host = alpha.host
    await alpha.client.deactivate(probe)
    look, keep = vars(type(host.dormant))["_wake_if_wanted"], vars(type(host.posting))["_keep"]

    async def no_answer(*_arguments: object) -> object:
        raise UnavailableError("DIRECTORY_UNAVAILABLE", "no answer comes")

    async def keep_late(*arguments: object) -> object:
        await look(host.dormant, probe, "message")
        return await keep(host.posting, *arguments)

    monkeypatch.setattr(dormant, "_TRY_AGAIN_S", 0.05)
    monkeypatch.setattr(host.posting, "_keep", keep_late)
    with monkeypatch.context() as patch:
        patch.setattr(host.residents, "load", no_answer)
        await post(alpha.channel, probe, "Append", "a")
    await has_lines(alpha, "woken", "a")


async def test_bounds_hold_at_rest(tmp_path: Path) -> None:
    """No more posts wait for an inactive paglet than for one that is awake."""
    async with AsyncExitStack() as stack:
        settings = HostSettings(name="alpha", data=tmp_path, posts=PostSettings(max_posts=2), drain_s=1.0)
        alpha = await site(stack, tmp_path, "alpha", settings=settings)
        await alpha.client.create(PROBE_TYPE, paglet_id="probe")
        await alpha.client.deactivate("probe", QUEUED)
        for text in "ab":
            await post(alpha.channel, "probe", "Append", text)
        assert (await refused(post(alpha.channel, "probe", "Append", "c"))).reason == "POSTS_FULL"


async def test_posts_that_wait_as_it_lies_down(alpha: Site, probe: str) -> None:
    """What was acknowledged before a rest brings the paglet back after it, if the policy says so; else it waits."""
    for policy, line in ((DeactivationPolicy(), "a"), (QUEUED, "b")):
        STAGE.hold(line)
        calling = asyncio.create_task(ask(alpha.channel, probe, "Hold", line))
        await STAGE.reached(line)
        await post(alpha.channel, probe, "Append", f"after {line}")
        resting = asyncio.create_task(alpha.client.deactivate(probe, policy))
        await closed(alpha, probe)
        STAGE.release(line)
        await asyncio.gather(calling, resting)
        if policy == QUEUED:
            assert await is_inactive(alpha)
            await alpha.client.activate(probe)
        await has_lines(alpha, f">{line}", f"after {line}")


async def test_start_brings_back_who_has_posts(tmp_path: Path) -> None:
    """A host that is started again brings back those for whom posts wait, and no others."""
    async with AsyncExitStack() as stack:
        alpha = await site(stack, tmp_path, "alpha")
        for name, policy in (("probe", DeactivationPolicy()), ("shy", QUEUED), ("idle", DeactivationPolicy())):
            await alpha.client.create(PROBE_TYPE, paglet_id=name)
            await alpha.client.deactivate(name, policy)
        await post(alpha.channel, "shy", "Append", "s")
        await ask(alpha.channel, "probe", "Ask", "refuse on_activation fail")
        await alpha.client.deactivate("probe")
        await post(alpha.channel, "probe", "Append", "a")
    async with AsyncExitStack() as stack:
        again = await site(stack, tmp_path, "alpha")

        async def looked() -> bool:
            return STAGE.notes.count("activated message") > 2

        await eventually(looked)
        assert await is_inactive(again, "shy")
        assert await is_inactive(again, "idle")


async def test_dead_letters_are_read_at_rest(mesh: Mesh) -> None:
    """Looking at dead letters and dropping them wakes nobody; one that is replayed brings the paglet back."""
    probe = await mesh.probe(state='{"refuse": {"strict": "refused"}}')
    ids = [await post(mesh.alpha.channel, probe, "Strict", text) for text in "ab"]

    async def dead() -> bool:
        return [letter.post_id async for letter in mesh.alpha.client.dead_letters.list(probe)] == ids

    await eventually(dead)
    await mesh.alpha.client.deactivate(probe)
    for each in (mesh.alpha, mesh.beta):
        assert [letter.post_id async for letter in each.client.dead_letters.list(probe)] == ids
    assert await mesh.beta.client.dead_letters.drop(probe, ids[0]) == (ids[0],)
    assert await is_inactive(mesh.alpha)
    assert await mesh.beta.client.dead_letters.replay(probe, ids[1]) == (ids[1],)

    async def ran_again() -> bool:
        return STAGE.notes.count("strict b") == 6

    await eventually(ran_again)
    await ran(mesh.alpha, probe, "rests woken")
    await post(mesh.alpha.channel, probe, "Strict", "c", request_id="c")
