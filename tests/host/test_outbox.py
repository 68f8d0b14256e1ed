"""What a paglet posts in a turn is kept with the turn, sent when that is durable, and run once by its receiver."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest

from paglets.config import HostSettings, PostSettings
from paglets.values import ArrivalMode, DeactivationPolicy, PagletState, TransferTicket
from tests.host.conftest import Mesh, Site, site
from tests.host.midway import Midway, commits, do
from tests.host.posts import post, ran
from tests.host.slow_disk import HeldCommits
from tests.host.stage import STAGE
from tests.host.support import PROBE_TYPE, ask, eventually, refused


async def pair(at: Site, other: Site | None = None) -> None:
    """A probe `sender`, and a probe `taker` on another host if there is one."""
    await at.client.create(PROBE_TYPE, paglet_id="sender")
    await (other or at).client.create(PROBE_TYPE, paglet_id="taker")


async def all_sent(*sites: Site) -> None:
    """Waits until no journal keeps a post that was made."""

    async def look() -> bool:
        return not any([await each.host.parts.journal.outbox.ids() for each in sites])

    await eventually(look, what="acknowledgements")


async def test_posts_arrive_in_their_order(mesh: Mesh) -> None:
    """What is posted in turn after turn, to another host and to the sender itself, runs once and in its order."""
    await pair(mesh.alpha, mesh.beta)
    await ask(mesh.alpha.channel, "sender", "Post", "taker Append a\ntaker Append b\nsender Append self")
    await ask(mesh.alpha.channel, "sender", "Post", "taker Append c\ntaker AppendInThread d")
    await ran(mesh.beta, "taker", "a b c d")
    await all_sent(mesh.alpha, mesh.beta)
    assert "self" in (await ask(mesh.alpha.channel, "sender", "Read")).text


async def test_handlers_in_threads_post(alpha: Site) -> None:
    """They post like others, and what they call on the loop belongs to their turn."""
    await pair(alpha)
    for _ in range(2):
        text = "taker Append a\ntaker Append b"
        assert (await ask(alpha.channel, "sender", "PostInThread", text, request_id="r-1")).text == "b"
    await ran(alpha, "taker", "b a b")
    refusal = await refused(ask(alpha.channel, "sender", "PostInThread", "sender Append x"))
    assert refusal.reason == "CALL_CYCLE"


async def test_failed_turn_posts_nothing(alpha: Site) -> None:
    """A turn that is rolled back has posted nothing; it may run again, and then posts."""
    await pair(alpha)
    await refused(ask(alpha.channel, "sender", "Post", "taker Append a\nfail"))
    await ask(alpha.channel, "sender", "Post", "taker Append b")
    await ran(alpha, "taker", "b")
    await all_sent(alpha)


async def test_nothing_leaves_before_the_commit(alpha: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The output gate: what is not durable was never posted."""
    await pair(alpha)
    held = HeldCommits(alpha.host.parts.journal, monkeypatch)
    posting = asyncio.create_task(ask(alpha.channel, "sender", "Post", "taker Append a"))

    async def committing() -> bool:
        return held.count == 1

    await eventually(committing)
    assert (await ask(alpha.channel, "taker", "Read")).text == ""
    assert held.count == 1
    held.release()
    await posting
    await ran(alpha, "taker", "a")


async def test_repeated_request_posts_once(alpha: Site) -> None:
    """A request that is made again is answered as before, and posts nothing more."""
    await pair(alpha)
    for _ in range(2):
        await ask(alpha.channel, "sender", "Post", "taker Append a", request_id="r-1")
    await ask(alpha.channel, "sender", "Post", "taker Append b", request_id="r-2")
    await ran(alpha, "taker", "a b")


async def test_posts_outlive_a_receiver_that_is_away(tmp_path: Path) -> None:
    """Posts to a host that is away wait, over a restart of the sender's too, and keep their order; others go on."""
    async with AsyncExitStack() as stack:
        alpha = await site(stack, tmp_path, "alpha")
        async with AsyncExitStack() as away:
            beta = await site(away, tmp_path, "beta", join=alpha.running.address)
            await pair(alpha, beta)
            await alpha.client.create(PROBE_TYPE, paglet_id="near")
        await ask(alpha.channel, "sender", "Post", "taker Append a\nnear Append n\ntaker Append b")
        await ran(alpha, "near", "n")
        await eventually(lambda: _keeps_two(alpha), what="the one that has arrived to be forgotten")
    async with AsyncExitStack() as stack:
        alpha = await site(stack, tmp_path, "alpha")
        beta = await site(stack, tmp_path, "beta", join=alpha.running.address)
        await ask(alpha.channel, "sender", "Post", "taker Append c")
        await ran(beta, "taker", "a b c")
        await all_sent(alpha, beta)


async def _keeps_two(at: Site) -> bool:
    return len(await at.host.parts.journal.outbox.of("sender")) == 2


@pytest.mark.parametrize("arrival", list(ArrivalMode))
async def test_posts_move_along(tmp_path: Path, arrival: ArrivalMode) -> None:
    """A sender takes along what was not acknowledged, and sends it from where it is, also if it rests there."""
    async with AsyncExitStack() as stack:
        alpha = await site(stack, tmp_path, "alpha")
        beta = await site(stack, tmp_path, "beta", join=alpha.running.address)
        async with AsyncExitStack() as away:
            gamma = await site(away, tmp_path, "gamma", join=alpha.running.address)
            await pair(alpha, gamma)
        await ask(alpha.channel, "sender", "Post", "taker Append a\ntaker Append b")
        await alpha.client.dispatch("sender", "beta", ticket=TransferTicket(arrival=arrival))
        assert len(await beta.host.parts.journal.outbox.of("sender")) == 2
        assert (alpha.host.residents.outboxes.sending, beta.host.residents.outboxes.sending) == (set(), {"sender"})
        if arrival is ArrivalMode.ACTIVE:
            await ask(beta.channel, "sender", "Post", "taker Append c")
        gamma = await site(stack, tmp_path, "gamma", join=alpha.running.address)
        await ran(gamma, "taker", "a b c" if arrival is ArrivalMode.ACTIVE else "a b")
        await all_sent(alpha, beta, gamma)


async def test_posts_go_on_where_their_paglet_moves_to_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A source that hears of its commit only when the paglet has come does not stop what that sends by then."""
    async with AsyncExitStack() as stack:
        alpha = await site(stack, tmp_path, "alpha")
        async with AsyncExitStack() as away:
            gamma = await site(away, tmp_path, "gamma", join=alpha.running.address)
            await pair(alpha, gamma)
        await ask(alpha.channel, "sender", "Post", "taker Append a\ntaker Append b")
        commit = Midway(monkeypatch, alpha.host.parts.directory, "apply", which=commits, after=True).hold()
        moving = asyncio.create_task(alpha.client.dispatch("sender", "alpha"))
        await commit.called()
        await eventually(lambda: _is_active(alpha), what="its arrival")
        commit.release()
        await moving
        await eventually(lambda: do(alpha.host.journey("sender") is None), what="the end of the journey")
        await ask(alpha.channel, "sender", "Post", "taker Append c")
        gamma = await site(stack, tmp_path, "gamma", join=alpha.running.address)
        await ran(gamma, "taker", "a b c")
        await all_sent(alpha, gamma)


async def _is_active(at: Site) -> bool:
    row = await at.host.parts.directory.get("sender")
    return row is not None and row.state is PagletState.ACTIVE


@pytest.mark.parametrize("end", ["rest", "end"])
async def test_posts_outlive_their_paglet(tmp_path: Path, end: str) -> None:
    """A sender that rests, or has ended, has its posts sent all the same, also after a restart."""
    async with AsyncExitStack() as stack:
        alpha = await site(stack, tmp_path, "alpha")
        async with AsyncExitStack() as away:
            beta = await site(away, tmp_path, "beta", join=alpha.running.address)
            await pair(alpha, beta)
        await ask(alpha.channel, "sender", "Post", "taker Append a\ntaker Append b")
        if end == "rest":
            await alpha.client.deactivate("sender", DeactivationPolicy(activate_on_message=False))
        else:
            await alpha.client.dispose("sender")
    async with AsyncExitStack() as stack:
        alpha = await site(stack, tmp_path, "alpha")
        beta = await site(stack, tmp_path, "beta", join=alpha.running.address)
        await ran(beta, "taker", "a b")
        await all_sent(alpha, beta)


async def test_what_is_refused_for_good_is_a_dead_letter(alpha: Site) -> None:
    """It stays with the sender, told with why, and is sent again when asked for; later posts follow meanwhile."""
    await alpha.client.create(PROBE_TYPE, paglet_id="sender")
    await ask(alpha.channel, "sender", "Post", "taker Append a\nsender Nothing x\nsender Append b")
    letters = alpha.client.dead_letters

    async def dead() -> bool:
        return len([letter async for letter in letters.list("sender")]) == 2

    await eventually(dead)
    found = [letter async for letter in letters.list("sender")]
    assert [letter.receiver for letter in found] == ["taker", "sender"]
    assert [letter.error.reason for letter in found] == ["PAGLET_NOT_FOUND", "OPERATION_NOT_FOUND"]
    await ran(alpha, "sender", "posts b")
    await alpha.client.create(PROBE_TYPE, paglet_id="taker")
    ids = [letter.post_id for letter in found]
    assert await letters.replay("sender", ids[0]) == (ids[0],)
    await ran(alpha, "taker", "a")
    assert await letters.drop("sender", *ids) == (ids[1],)
    assert [letter async for letter in letters.list("sender")] == []
    await all_sent(alpha)


async def test_full_receiver_slows_its_senders_alone(tmp_path: Path) -> None:
    """A receiver that is full is sent to again; a sender whose posts are not taken fails if it makes more."""
    async with AsyncExitStack() as stack:
        settings = HostSettings(name="alpha", data=tmp_path, posts=PostSettings(max_posts=2), drain_s=1.0)
        alpha = await site(stack, tmp_path, "alpha", settings=settings)
        await pair(alpha)
        STAGE.hold("slow")
        await post(alpha.channel, "taker", "Hold", "slow")
        await post(alpha.channel, "taker", "Append", "x")
        await ask(alpha.channel, "sender", "Post", "taker Append a\ntaker Append b")
        refusal = await refused(ask(alpha.channel, "sender", "Post", "taker Append c"))
        assert refusal.what == (grpc.StatusCode.RESOURCE_EXHAUSTED, "POSTS_FULL")
        STAGE.release("slow")
        await ran(alpha, "taker", "slow< >slow x a b")


async def test_hooks_post(mesh: Mesh) -> None:
    """What a hook posts is kept with its turn too, whatever the turn belongs to."""
    hooks = ("on_creation", "on_dispatching", "on_arrival", "on_deactivating", "on_activation")
    refuse = ", ".join(f'"{hook}": "go post taker Append {hook}"' for hook in hooks)
    await mesh.alpha.client.create(PROBE_TYPE, paglet_id="taker")
    await mesh.alpha.client.create(PROBE_TYPE, paglet_id="sender", state=f'{{"refuse": {{{refuse}}}}}')
    await mesh.alpha.client.dispatch("sender", "beta")
    await mesh.alpha.client.deactivate("sender")
    await mesh.alpha.client.activate("sender")
    await ran(mesh.alpha, "taker", " ".join(hooks))
    await all_sent(mesh.alpha, mesh.beta)


async def test_posts_of_hooks_are_durable(mesh: Mesh) -> None:
    """What the first or last turn somewhere posts is in the journal when that is over, to be sent or to be a letter."""

    async def kept(at: Site, hook: str, step: Coroutine[Any, Any, object]) -> None:
        await step
        made = await at.host.parts.journal.outbox.of("sender")
        assert hook.encode() in made[-1].request

    hooks = ("on_creation", "on_arrival", "on_deactivating", "on_activation")
    refuse = ", ".join(f'"{hook}": "go post nobody Append {hook}"' for hook in hooks)
    client = mesh.alpha.client
    state = f'{{"refuse": {{{refuse}}}}}'
    await kept(mesh.alpha, "on_creation", client.create(PROBE_TYPE, paglet_id="sender", state=state))
    await kept(mesh.beta, "on_arrival", client.dispatch("sender", "beta"))
    await kept(mesh.beta, "on_deactivating", client.deactivate("sender"))
    await kept(mesh.beta, "on_activation", client.activate("sender"))


async def test_only_turns_post(alpha: Site) -> None:
    """Background code is told to post in a turn; what no host would take is refused at once."""
    await pair(alpha)
    await ask(alpha.channel, "sender", "Ask", "post taker Append a")
    await ran(alpha, "taker", "a")
    assert (await ask(alpha.channel, "sender", "Read")).text == "NOT_IN_TURN"
    assert (await refused(ask(alpha.channel, "sender", "Post", "BAD Append a"))).reason == "INVALID_ID"
    large = await refused(ask(alpha.channel, "sender", "Post", "taker Append " + "x" * 1024 * 1024))
    assert (large.reason, large.fields) == ("MALFORMED_REQUEST", ["request"])


async def test_calls_of_a_rerun_are_not_run_again(alpha: Site) -> None:
    """A turn that calls another paglet and is run again for the same request id has that run once."""
    await pair(alpha)
    await ask(alpha.channel, "sender", "Ask", "refuse relay away")
    first = await refused(ask(alpha.channel, "sender", "Relay", "taker Append a", request_id="r-1"))
    assert first.code == grpc.StatusCode.UNAVAILABLE
    await ask(alpha.channel, "sender", "Ask", "refuse relay go on")
    assert (await ask(alpha.channel, "sender", "Relay", "taker Append a", request_id="r-1")).text == "a"
    assert STAGE.notes.count("append a") == 1
    assert (await ask(alpha.channel, "sender", "Relay", "taker Append a", request_id="r-2")).text == "a a"
    assert (await ask(alpha.channel, "sender", "Relay", "taker Append a")).text == "a a a"
