"""A post is durable when it is acknowledged, and then run once, in order, wherever its paglet is by then."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.wrappers_pb2 import Int32Value, StringValue

from paglet.v1 import operation_pb2 as pb
from paglets.config import HostSettings, PostSettings
from tests.host.conftest import Mesh, Site, site
from tests.host.posts import closed, post, ran
from tests.host.probe_service import SERVICE
from tests.host.slow_disk import HeldPosts
from tests.host.stage import STAGE
from tests.host.support import PROBE_TYPE, ask, call, eventually, refused

FULL = PostSettings(max_posts=3, max_bytes=1000)


@pytest.fixture
async def probe(alpha: Site) -> str:
    """A probe."""
    return (await alpha.client.create(PROBE_TYPE, paglet_id="probe")).paglet_id


async def test_core_10_posts_run_in_their_order(alpha: Site, probe: str) -> None:
    """Whoever posts is not kept waiting, and what he posted runs in his order."""
    STAGE.hold("slow")
    await post(alpha.channel, probe, "Hold", "slow")
    await STAGE.reached("slow")
    for text in "abcdefgh":
        await post(alpha.channel, probe, "Append", text)
    STAGE.release("slow")
    await ran(alpha, probe, "slow< >slow a b c d e f g h")
    assert await alpha.host.parts.journal.posts.of(probe) == []


async def test_repeated_post_runs_once(alpha: Site, probe: str) -> None:
    """While it waits, and after it ran, as a post or as a call: one request id is one run, and one post id."""
    STAGE.hold("slow")
    await post(alpha.channel, probe, "Hold", "slow")
    await STAGE.reached("slow")
    ids = {await post(alpha.channel, probe, "Append", "a", request_id="r-1") for _ in range(3)}
    STAGE.release("slow")
    await ran(alpha, probe, "slow< >slow a")
    ids.add(await post(alpha.channel, probe, "Append", "a", request_id="r-1"))
    assert len(ids) == 1
    reply = await ask(alpha.channel, probe, "Append", "a", request_id="r-1")
    assert (reply.text, reply.replayed) == ("slow< >slow a", True)


async def test_post_of_a_call_that_ran_is_done(alpha: Site, probe: str) -> None:
    """A request that was called already is acknowledged and not run again; while it runs, the post joins it."""
    STAGE.hold("slow")
    calling = asyncio.create_task(ask(alpha.channel, probe, "Hold", "slow", request_id="r-1"))
    await STAGE.reached("slow")
    await post(alpha.channel, probe, "Hold", "slow", request_id="r-1")
    STAGE.release("slow")
    await calling
    await post(alpha.channel, probe, "Hold", "slow", request_id="r-1")
    await post(alpha.channel, probe, "Append", "end")
    await ran(alpha, probe, "slow< >slow end")

    async def is_empty() -> bool:
        return not await alpha.host.parts.journal.posts.of(probe)

    await eventually(is_empty)


@pytest.mark.parametrize("has_run", [True, False])
async def test_id_of_another_request_is_refused(alpha: Site, probe: str, has_run: bool) -> None:  # noqa: FBT001 - a parameter
    """An id that was posted with another request is refused, whether that one has run or waits."""
    if not has_run:
        STAGE.hold("slow")
        await post(alpha.channel, probe, "Hold", "slow")
    await post(alpha.channel, probe, "Append", "a", request_id="r-1")
    if has_run:
        await ran(alpha, probe, "a")
    refusal = await refused(post(alpha.channel, probe, "Append", "b", request_id="r-1"))
    assert refusal.what == (grpc.StatusCode.FAILED_PRECONDITION, "REQUEST_ID_REUSED")


async def test_core_10_post_is_acknowledged_when_it_is_durable(
    alpha: Site, probe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is told of a post that a crash could lose, nor is one told who repeats it."""
    STAGE.hold("slow")
    await post(alpha.channel, probe, "Hold", "slow")
    await STAGE.reached("slow")
    held = HeldPosts(alpha.host.parts.journal, monkeypatch)
    first = asyncio.create_task(post(alpha.channel, probe, "Append", "a", request_id="r-1"))
    await asyncio.wait_for(held.came.wait(), 10)
    second = asyncio.create_task(post(alpha.channel, probe, "Append", "a", request_id="r-1"))
    for _ in range(3):
        await ask(alpha.channel, probe, "Read")
    assert not first.done()
    assert not second.done()
    held.release()
    assert await first == await second


async def test_posts_survive_a_restart(tmp_path: Path) -> None:
    """Posts that waited when their host ended run when it is started again; one that had run does not."""
    async with AsyncExitStack() as stack:
        alpha = await site(stack, tmp_path, "alpha")
        await alpha.client.create(PROBE_TYPE, paglet_id="probe")
        await post(alpha.channel, "probe", "Append", "ran", request_id="r-0")
        await ran(alpha, "probe", "ran")
        STAGE.hold("slow")
        calling = asyncio.create_task(ask(alpha.channel, "probe", "Hold", "slow"))
        await STAGE.reached("slow")
        for text in "abc":
            await post(alpha.channel, "probe", "Append", text, request_id=text)
        calling.cancel()
    STAGE.clear()
    async with AsyncExitStack() as stack:
        again = await site(stack, tmp_path, "alpha")
        await post(again.channel, "probe", "Append", "ran", request_id="r-0")
        await post(again.channel, "probe", "Append", "b", request_id="b")
        await ran(again, "probe", "ran a b c")


async def test_posts_move_along(mesh: Mesh) -> None:
    """Posts that waited when their paglet left run where it is, in their order, before later ones by any host."""
    probe = await mesh.probe()
    STAGE.hold("slow", "on_arrival")
    calling = asyncio.create_task(ask(mesh.alpha.channel, probe, "Hold", "slow"))
    await STAGE.reached("slow")
    for text in "abc":
        await post(mesh.alpha.channel, probe, "Append", text, request_id=text)
    moving = asyncio.create_task(mesh.alpha.client.dispatch(probe, "beta"))
    await closed(mesh.alpha, probe)
    STAGE.release("slow")
    await calling
    await STAGE.reached("on_arrival")
    late = [asyncio.create_task(post(each.channel, probe, "Append", "d")) for each in (mesh.alpha, mesh.beta)]
    STAGE.release("on_arrival")
    await asyncio.gather(moving, *late)
    await ran(mesh.beta, probe, "slow< >slow a b c d d")
    await post(mesh.alpha.channel, probe, "Append", "b", request_id="b")
    assert (await ask(mesh.alpha.channel, probe, "Append", "e")).text == "slow< >slow a b c d d e"
    assert await mesh.alpha.host.parts.journal.posts.of(probe) == []


async def test_post_during_a_journey_waits(mesh: Mesh) -> None:
    """A paglet on its way takes no post: who does not wait for it is told so; an abort lets it in."""
    probe = await mesh.probe(state='{"refuse": {"check_arrival": "refused"}}')
    STAGE.hold("on_dispatching")
    moving = asyncio.create_task(mesh.alpha.client.dispatch(probe, "beta"))
    await STAGE.reached("on_dispatching")
    refusal = await refused(post(mesh.alpha.channel, probe, "Append", "a", timeout_s=0.3))
    assert refusal.code == grpc.StatusCode.DEADLINE_EXCEEDED
    waiting = asyncio.create_task(post(mesh.alpha.channel, probe, "Append", "b"))
    STAGE.release("on_dispatching")
    await waiting
    await asyncio.wait([moving])
    assert moving.exception() is not None
    await ran(mesh.alpha, probe, "aborted FAILED_PRECONDITION TASK_RUNNING b")


async def test_bounds(tmp_path: Path) -> None:
    """More posts than a paglet keeps are refused, by number or bytes, until one has run; other paglets take theirs."""
    async with AsyncExitStack() as stack:
        settings = HostSettings(name="alpha", data=tmp_path, posts=FULL, drain_s=1.0)
        alpha = await site(stack, tmp_path, "alpha", settings=settings)
        for name in ("probe", "other"):
            await alpha.client.create(PROBE_TYPE, paglet_id=name)
        STAGE.hold("slow")
        await post(alpha.channel, "probe", "Hold", "slow")
        await post(alpha.channel, "probe", "Append", "a")
        bytes_refused = await refused(post(alpha.channel, "probe", "Append", "x" * 1000))
        await post(alpha.channel, "probe", "Append", "b")
        refusal = await refused(post(alpha.channel, "probe", "Append", "c"))
        for found in (bytes_refused, refusal):
            assert found.what == (grpc.StatusCode.RESOURCE_EXHAUSTED, "POSTS_FULL")
            assert found.retry_s == 1.0
        await post(alpha.channel, "other", "Append", "o")
        await ran(alpha, "other", "o")
        STAGE.release("slow")
        await ran(alpha, "probe", "slow< >slow a b")
        await post(alpha.channel, "probe", "Append", "c")
        await ran(alpha, "probe", "slow< >slow a b c")


@pytest.mark.parametrize(
    ("operation", "request_", "what"),
    [
        (f"{SERVICE}/Nothing", StringValue(), (grpc.StatusCode.UNIMPLEMENTED, "OPERATION_NOT_FOUND")),
        ("nonsense", StringValue(), (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_REQUEST")),
        ("", StringValue(), (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_REQUEST")),
        (f"{SERVICE}/Append", Int32Value(), (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_REQUEST")),
        (f"{SERVICE}/Read", StringValue(), (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_REQUEST")),
        (
            f"{SERVICE}/Append",
            StringValue(value="x" * 1024 * 1024),
            (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_REQUEST"),
        ),
    ],
    ids=["unknown", "nonsense", "none", "type", "read", "large"],
)
async def test_wrong_posts(
    alpha: Site, probe: str, operation: str, request_: StringValue | Int32Value, what: tuple[grpc.StatusCode, str]
) -> None:
    """What could never be run is refused when it is posted."""
    packed = AnyMessage()
    packed.Pack(request_)
    wanted = pb.PostOperationRequest(paglet_id=probe, operation=operation, request=packed)
    sent = call(alpha.channel, "/paglet.v1.OperationService/PostOperation", wanted.SerializeToString())
    assert (await refused(sent)).what == what
    wanted.operation, wanted.request.value = f"{SERVICE}/Append", b"\xff"
    sent = call(alpha.channel, "/paglet.v1.OperationService/PostOperation", wanted.SerializeToString())
    assert (await refused(sent)).reason == "MALFORMED_REQUEST"
    assert (await refused(post(alpha.channel, "nobody", "Append"))).reason == "PAGLET_NOT_FOUND"


async def test_failed_arrival_keeps_the_posts(mesh: Mesh) -> None:
    """A paglet whose arrival failed takes no posts, and runs none of those that came along."""
    probe = await mesh.probe(state='{"refuse": {"on_arrival": "refused"}}')
    STAGE.hold("slow")
    calling = asyncio.create_task(ask(mesh.alpha.channel, probe, "Hold", "slow"))
    await STAGE.reached("slow")
    await post(mesh.alpha.channel, probe, "Append", "a")
    moving = asyncio.create_task(mesh.alpha.client.dispatch(probe, "beta"))
    await closed(mesh.alpha, probe)
    STAGE.release("slow")
    await calling
    await asyncio.wait([moving])
    assert moving.exception() is not None
    refusal = await refused(post(mesh.alpha.channel, probe, "Append", "b"))
    assert refusal.reason == "ARRIVAL_FAILED"
    assert (await ask(mesh.beta.channel, probe, "Read")).text == "slow< >slow"
    assert len(await mesh.beta.host.parts.journal.posts.of(probe)) == 1


async def test_disposal_ends_the_posts(alpha: Site, probe: str) -> None:
    """Nothing is left of the posts of a paglet that was disposed of, nor do they reach a later one of its id."""
    STAGE.hold("slow")
    calling = asyncio.create_task(ask(alpha.channel, probe, "Hold", "slow"))
    await STAGE.reached("slow")
    await post(alpha.channel, probe, "Append", "a")
    ending = asyncio.create_task(alpha.client.dispose(probe))
    STAGE.release("slow")
    await asyncio.gather(ending, calling)
    await alpha.client.create(PROBE_TYPE, paglet_id=probe)
    assert (await ask(alpha.channel, probe, "Read")).text == ""
    assert await alpha.host.parts.journal.posts.of(probe) == []
