"""A request with an id runs once, whatever becomes of its caller, its host or its paglet's place."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue

from paglets.config import HostSettings
from paglets.errors import UnavailableError
from tests.host.conftest import Mesh, Site, site
from tests.host.probe import Probe
from tests.host.slow_disk import HeldCommits
from tests.host.stage import STAGE
from tests.host.support import PROBE_TYPE, ask, eventually, refused


@pytest.fixture
async def probe(alpha: Site) -> str:
    """A probe."""
    return (await alpha.client.create(PROBE_TYPE, paglet_id="probe")).paglet_id


async def test_repeated_request_runs_once(alpha: Site, probe: str) -> None:
    """The second call gets the first one's reply, and is told so."""
    first = await ask(alpha.channel, probe, "Append", "a", request_id="r-1")
    second = await ask(alpha.channel, probe, "Append", "a", request_id="r-1")
    assert (first.text, first.replayed) == ("a", False)
    assert (second.text, second.replayed) == ("a", True)
    assert STAGE.notes.count("append a") == 1
    assert (await ask(alpha.channel, probe, "Append", "a", request_id="r-2")).text == "a a"


async def test_call_without_an_id_is_never_replayed(alpha: Site, probe: str) -> None:
    """Without an id two equal calls are two calls."""
    await ask(alpha.channel, probe, "Append", "a")
    assert (await ask(alpha.channel, probe, "Append", "a")).text == "a a"


@pytest.mark.parametrize(("operation", "text"), [("Append", "b"), ("AppendInThread", "a")])
async def test_id_of_another_request_is_refused(alpha: Site, probe: str, operation: str, text: str) -> None:
    """An id that was used with other bytes, or for another operation, is refused and nothing is run."""
    await ask(alpha.channel, probe, "Append", "a", request_id="r-1")
    refusal = await refused(ask(alpha.channel, probe, operation, text, request_id="r-1"))
    assert refusal.what == (grpc.StatusCode.FAILED_PRECONDITION, "REQUEST_ID_REUSED")
    assert refusal.metadata == {"request_id": "r-1"}
    assert (await ask(alpha.channel, probe, "Read")).text == "a"


async def test_duplicate_joins_the_running_call(alpha: Site, probe: str) -> None:
    """A duplicate that comes while the request runs waits for the same outcome; another request is refused at once."""
    STAGE.hold("slow")
    first = asyncio.create_task(ask(alpha.channel, probe, "Hold", "slow", request_id="r-1"))
    await STAGE.reached("slow")
    second = asyncio.create_task(ask(alpha.channel, probe, "Hold", "slow", request_id="r-1"))
    refusal = await refused(ask(alpha.channel, probe, "Hold", "other", request_id="r-1"))
    assert refusal.what == (grpc.StatusCode.FAILED_PRECONDITION, "REQUEST_ID_REUSED")
    STAGE.release("slow")
    assert [(reply.text, reply.replayed) for reply in (await first, await second)] == [
        ("slow< >slow", False),
        ("slow< >slow", True),
    ]


async def test_duplicate_waits_for_the_commit(alpha: Site, probe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A duplicate gets no reply that is not durable yet."""
    held = HeldCommits(alpha.host.parts.journal, monkeypatch)
    calls = [asyncio.create_task(ask(alpha.channel, probe, "Append", "a", request_id="r-1")) for _ in range(2)]
    await eventually(lambda: _is(held.count, 1))
    assert (await ask(alpha.channel, probe, "Read")).text == ""
    assert not any(running.done() for running in calls)
    held.release()
    assert {reply.text for reply in await asyncio.gather(*calls)} == {"a"}


async def test_request_outlives_its_caller(alpha: Site, probe: str) -> None:
    """A caller with a request id may go away: the request runs to its end, and its reply waits for him."""
    STAGE.hold("slow")
    first = asyncio.create_task(ask(alpha.channel, probe, "Hold", "slow", request_id="r-1"))
    await STAGE.reached("slow")
    first.cancel()
    STAGE.release("slow")
    assert (await ask(alpha.channel, probe, "Look")).text == "slow< >slow"
    assert (await ask(alpha.channel, probe, "Hold", "slow", request_id="r-1")).replayed


@pytest.mark.parametrize("how", ["refused", "unexpected"])
async def test_error_is_replayed(alpha: Site, probe: str, how: str) -> None:
    """A request that failed has run: its duplicate gets the very same error."""
    first = await refused(ask(alpha.channel, probe, "Fail", how, request_id="r-1"))
    second = await refused(ask(alpha.channel, probe, "Fail", how, request_id="r-1"))
    assert replace(first, trailing={}) == replace(second, trailing={})
    assert STAGE.notes.count(f"fail {how}") == 1


async def test_unavailable_is_no_outcome(alpha: Site, probe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A handler that asks its caller to come again is run again by the same request."""
    away = [True]

    async def append(found: Probe, request: StringValue) -> StringValue:
        found.state.lines.append(request.value)
        if away.pop():
            away.append(False)
            raise UnavailableError("HOST_UNREACHABLE", "somebody is away")
        away.append(False)
        return StringValue(value=" ".join(found.state.lines))

    monkeypatch.setattr(Probe, "append", append)
    refusal = await refused(ask(alpha.channel, probe, "Append", "a", request_id="r-1"))
    assert refusal.what == (grpc.StatusCode.UNAVAILABLE, "HOST_UNREACHABLE")
    first, second = [await ask(alpha.channel, probe, "Append", "a", request_id="r-1") for _ in range(2)]
    assert (first.text, first.replayed) == ("a", False)
    assert (second.text, second.replayed) == ("a", True)


async def test_reply_too_large_to_keep_is_never_run_again(tmp_path: Path) -> None:
    """A reply that is larger than what is kept is given once; after that the request is refused, not run."""
    async with AsyncExitStack() as stack:
        settings = HostSettings(name="alpha", data=tmp_path, dedupe_max_bytes=1000, drain_s=1.0)
        alpha = await site(stack, tmp_path, "alpha", settings=settings)
        probe = (await alpha.client.create(PROBE_TYPE)).paglet_id
        assert len((await ask(alpha.channel, probe, "Repeat", "2000", request_id="r-1")).text) == 2000
        refusal = await refused(ask(alpha.channel, probe, "Repeat", "2000", request_id="r-1"))
        assert refusal.what == (grpc.StatusCode.FAILED_PRECONDITION, "REPLY_NOT_KEPT")
        assert refusal.metadata == {"request_id": "r-1"}
        assert STAGE.notes.count("repeat") == 1
        assert (await ask(alpha.channel, probe, "Read")).text == "repeated"


async def test_oldest_replies_make_room(tmp_path: Path) -> None:
    """No more replies are kept than the host is set to keep; the newest stay."""
    async with AsyncExitStack() as stack:
        settings = HostSettings(name="alpha", data=tmp_path, dedupe_max_replies=2, drain_s=1.0)
        alpha = await site(stack, tmp_path, "alpha", settings=settings)
        probe = (await alpha.client.create(PROBE_TYPE)).paglet_id
        for text in "abc":
            await ask(alpha.channel, probe, "Append", text, request_id=text)
        assert (await ask(alpha.channel, probe, "Append", "b", request_id="b")).replayed
        assert (await ask(alpha.channel, probe, "Append", "c", request_id="c")).replayed
        assert len(await alpha.host.parts.journal.replies(probe)) == 2


async def test_replies_survive_a_restart(tmp_path: Path) -> None:
    """A host that was started again replays what it answered before, errors too."""
    async with AsyncExitStack() as stack:
        alpha = await site(stack, tmp_path, "alpha")
        await alpha.client.create(PROBE_TYPE, paglet_id="probe")
        await ask(alpha.channel, "probe", "Append", "a", request_id="r-1")
        failed = await refused(ask(alpha.channel, "probe", "Fail", "refused", request_id="r-2"))
    async with AsyncExitStack() as stack:
        again = await site(stack, tmp_path, "alpha")
        reply = await ask(again.channel, "probe", "Append", "a", request_id="r-1")
        assert (reply.text, reply.replayed) == ("a", True)
        replayed = await refused(ask(again.channel, "probe", "Fail", "refused", request_id="r-2"))
        assert replace(replayed, trailing={}) == replace(failed, trailing={})
        assert STAGE.notes[-1] == "activated restart"


async def test_replies_move_along(mesh: Mesh) -> None:
    """A request that ran before a move is replayed after it, whichever host is asked; so is the move itself."""
    probe = await mesh.probe()
    await ask(mesh.alpha.channel, probe, "Append", "a", request_id="r-1")
    await mesh.alpha.client.dispatch(probe, "beta", request_id="m-1")
    for channel in (mesh.alpha.channel, mesh.beta.channel):
        reply = await ask(channel, probe, "Append", "a", request_id="r-1")
        assert (reply.text, reply.replayed) == ("a", True)
    for client in (mesh.alpha.client, mesh.beta.client):
        assert (await client.dispatch(probe, "beta", request_id="m-1")).host == "beta"
    assert STAGE.notes.count("on_arrival") == 1


async def test_waiting_request_runs_where_the_paglet_went(mesh: Mesh) -> None:
    """A request that waits while its paglet leaves runs once, at the other host; its duplicate joins or replays it."""
    probe = await mesh.probe()
    STAGE.hold("on_arrival")
    move = asyncio.create_task(mesh.alpha.client.dispatch(probe, "beta"))
    await STAGE.reached("on_arrival")
    calls = [asyncio.create_task(ask(mesh.alpha.channel, probe, "Append", "a", request_id="r-1")) for _ in range(2)]
    STAGE.release("on_arrival")
    replies = await asyncio.gather(*calls)
    assert {reply.text for reply in replies} == {"a"}
    assert {reply.trailing["paglet-host"] for reply in replies} == {"beta"}
    assert STAGE.notes.count("append a") == 1
    await move


async def _is(found: object, wanted: object) -> bool:
    return found == wanted
