"""A post that fails three times is a dead letter: kept, told, run again or dropped when somebody says so."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from google.protobuf.wrappers_pb2 import StringValue

from paglet.v1 import operation_pb2 as pb
from paglets.client.dead_letters import DeadLetter
from paglets.config import HostSettings, PostSettings
from tests.host.conftest import Mesh, Site, site
from tests.host.posts import post, ran
from tests.host.probe import SECRET
from tests.host.probe_service import SERVICE
from tests.host.stage import STAGE
from tests.host.support import PROBE_TYPE, ask, call, eventually, refused


@pytest.fixture
async def probe(alpha: Site) -> str:
    """A probe that refuses whatever is strict."""
    state = '{"refuse": {"strict": "refused"}}'
    return (await alpha.client.create(PROBE_TYPE, paglet_id="probe", state=state)).paglet_id


async def dead(where: Site, paglet_id: str, count: int = 1) -> list[DeadLetter]:
    """Waits for so many dead letters."""
    found: list[DeadLetter] = []

    async def look() -> bool:
        found[:] = [letter async for letter in where.client.dead_letters.list(paglet_id)]
        return len(found) == count

    await eventually(look, what=f"{count} dead letters")
    return found


async def test_core_10_third_failure_is_the_last(alpha: Site, probe: str) -> None:
    """It is run three times, each rolled back, and told with how it failed; later posts of the same caller follow."""
    post_id = await post(alpha.channel, probe, "Strict", "a", request_id="r-1")
    await post(alpha.channel, probe, "Append", "b")
    (letter,) = await dead(alpha, probe)
    await ran(alpha, probe, "b")
    assert STAGE.notes.count("strict a") == 3
    assert (letter.post_id, letter.request_id, letter.failures) == (post_id, "r-1", 3)
    assert letter.operation == f"{SERVICE}/Strict"
    request = StringValue()
    assert letter.request.Unpack(request)
    assert request.value == "a"
    assert (letter.error.reason, letter.error.metadata) == ("TASK_RUNNING", {"hook": "strict"})
    assert await post(alpha.channel, probe, "Strict", "a", request_id="r-1") == post_id
    assert STAGE.notes.count("strict a") == 3


async def test_post_that_cancels_its_task_holds_up_nobody(alpha: Site, probe: str) -> None:
    """It has failed like any other, and later posts of the same caller follow."""
    post_id = await post(alpha.channel, probe, "Fail", "its task, waiting")
    await post(alpha.channel, probe, "Append", "b")
    (letter,) = await dead(alpha, probe)
    await ran(alpha, probe, "b")
    assert (letter.post_id, letter.failures, letter.error.reason) == (post_id, 3, "INTERNAL")


async def test_nobody_reads_what_an_author_raised(alpha: Site, probe: str) -> None:
    """The text of an exception that nobody foresaw stays in the log."""
    await post(alpha.channel, probe, "Fail")
    (letter,) = await dead(alpha, probe)
    assert letter.error.reason == "INTERNAL"
    assert SECRET not in str(letter.error)


async def test_replayed_letter_runs_behind_what_waits(alpha: Site, probe: str) -> None:
    """Once what it failed by is mended it runs, once; replaying it again, or another, does nothing."""
    post_id = await post(alpha.channel, probe, "Strict", "a", request_id="r-1")
    await dead(alpha, probe)
    await ask(alpha.channel, probe, "Ask", "refuse strict go on")
    STAGE.hold("slow")
    await post(alpha.channel, probe, "Hold", "slow")
    await STAGE.reached("slow")
    await post(alpha.channel, probe, "Append", "b")
    assert await alpha.client.dead_letters.replay(probe, post_id, "another") == (post_id,)
    assert await alpha.client.dead_letters.replay(probe, post_id) == ()
    STAGE.release("slow")
    await ran(alpha, probe, "slow< >slow b a")
    assert await dead(alpha, probe, 0) == []
    await post(alpha.channel, probe, "Strict", "a", request_id="r-1")
    assert (await ask(alpha.channel, probe, "Strict", "a", request_id="r-1")).replayed
    assert await alpha.host.parts.journal.posts.of(probe) == []


async def test_replayed_letter_may_die_again(alpha: Site, probe: str) -> None:
    """It has three more runs."""
    post_id = await post(alpha.channel, probe, "Strict", "a")
    await dead(alpha, probe)
    await alpha.client.dead_letters.replay(probe, post_id)
    (letter,) = await dead(alpha, probe)
    assert (letter.failures, STAGE.notes.count("strict a")) == (3, 6)


async def test_dropped_letter_is_not_run(alpha: Site, probe: str) -> None:
    """A late duplicate of a dropped post is acknowledged and not run, and a call gets the error that it failed with."""
    post_id = await post(alpha.channel, probe, "Strict", "a", request_id="r-1")
    await dead(alpha, probe)
    assert await alpha.client.dead_letters.drop(probe, post_id, "another") == (post_id,)
    assert await alpha.client.dead_letters.drop(probe, post_id) == ()
    await ask(alpha.channel, probe, "Ask", "refuse strict go on")
    assert await post(alpha.channel, probe, "Strict", "a", request_id="r-1") == post_id
    assert (await refused(ask(alpha.channel, probe, "Strict", "a", request_id="r-1"))).reason == "TASK_RUNNING"
    assert STAGE.notes.count("strict a") == 3
    assert await alpha.host.parts.journal.posts.of(probe) == []


async def test_unavailable_is_no_failure(alpha: Site) -> None:
    """It is run until it is not refused with UNAVAILABLE; posts behind it wait, and run in their order."""
    await alpha.client.create(PROBE_TYPE, paglet_id="probe", state='{"refuse": {"strict": "away"}}')
    await post(alpha.channel, "probe", "Strict", "a")
    await post(alpha.channel, "probe", "Append", "b")

    async def tried() -> bool:
        return STAGE.notes.count("strict a") > 3

    await eventually(tried)
    assert (await ask(alpha.channel, "probe", "Read")).text == ""
    assert await dead(alpha, "probe", 0) == []
    await ask(alpha.channel, "probe", "Ask", "refuse strict go on")
    await ran(alpha, "probe", "a b")


async def test_patience_ends(tmp_path: Path) -> None:
    """What meets UNAVAILABLE for longer than the host is set to bear is a dead letter."""
    async with AsyncExitStack() as stack:
        settings = HostSettings(name="alpha", data=tmp_path, posts=PostSettings(patience_s=0.3), drain_s=1.0)
        alpha = await site(stack, tmp_path, "alpha", settings=settings)
        await alpha.client.create(PROBE_TYPE, paglet_id="probe", state='{"refuse": {"strict": "away"}}')
        await post(alpha.channel, "probe", "Strict", "a")
        (letter,) = await dead(alpha, "probe")
        assert letter.error.reason == "HOST_UNREACHABLE"
        assert STAGE.notes.count("strict a") > 2


async def test_letters_move_and_outlive_restarts(tmp_path: Path) -> None:
    """They go along with their paglet, count its failures on, and are read by way of any host."""
    async with AsyncExitStack() as stack:
        alpha = await site(stack, tmp_path, "alpha")
        beta = await site(stack, tmp_path, "beta", join=alpha.running.address)
        mesh = Mesh(alpha, beta)
        probe = await mesh.probe(state='{"refuse": {"strict": "refused"}}')
        post_id = await post(alpha.channel, probe, "Strict", "a")
        (letter,) = await dead(alpha, probe)
        await alpha.client.dispatch(probe, "beta")
        for each in (alpha, beta):
            (found,) = await dead(each, probe)
            assert replace(found, error=letter.error) == letter
    async with AsyncExitStack() as stack:
        alpha = await site(stack, tmp_path, "alpha")
        beta = await site(stack, tmp_path, "beta", join=alpha.running.address)
        await dead(alpha, probe)
        await ask(beta.channel, probe, "Ask", "refuse strict go on")
        assert await alpha.client.dead_letters.replay(probe, post_id) == (post_id,)
        await ran(beta, probe, "a")


async def test_pages(alpha: Site, probe: str) -> None:
    """A list comes in pages, which end early when what is told is large; ids must be named, and not too many."""
    sizes = (10, 10, 900_000, 900_000, 900_000)
    ids = [await post(alpha.channel, probe, "Strict", "x" * size) for size in sizes]
    await dead(alpha, probe, len(ids))
    path = "/paglet.v1.OperationService/ListDeadLetters"
    pages: list[int] = []
    found: list[str] = []
    request = pb.ListDeadLettersRequest(paglet_id=probe, page_size=3)
    while True:
        page = pb.ListDeadLettersResponse.FromString(await call(alpha.channel, path, request.SerializeToString()))
        pages.append(len(page.dead_letters))
        found += [letter.post_id for letter in page.dead_letters]
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert (pages, found) == ([3, 2], ids)
    assert [letter.post_id async for letter in alpha.client.dead_letters.list(probe)] == ids
    request.page_token = "MTp4"  # noqa: S105 - no password
    for wrong in (request, pb.ListDeadLettersRequest(paglet_id=probe, page_size=-1)):
        assert (await refused(call(alpha.channel, path, wrong.SerializeToString()))).reason == "MALFORMED_REQUEST"
    for verb in ("Replay", "Drop"):
        for count in (0, 1001):
            body = pb.DropDeadLettersRequest(paglet_id=probe, post_ids=map(str, range(count))).SerializeToString()
            refusal = await refused(call(alpha.channel, f"/paglet.v1.OperationService/{verb}DeadLetters", body))
            assert (refusal.reason, refusal.fields) == ("MALFORMED_REQUEST", ["post_ids"])
