"""Nothing leaves a turn before it is durable: no reply, no event, no move, and nothing that only looked at it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import grpc
import pytest

from tests.host.conftest import Mesh, Site
from tests.host.slow_disk import HeldCommits
from tests.host.stage import STAGE
from tests.host.support import PROBE_TYPE, ask, eventually, refused


@pytest.fixture
async def probe(alpha: Site) -> str:
    """A probe with a line."""
    paglet_id = (await alpha.client.create(PROBE_TYPE, paglet_id="probe")).paglet_id
    await ask(alpha.channel, paglet_id, "Append", "a")
    return paglet_id


@pytest.fixture
def held(alpha: Site, probe: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[HeldCommits]:
    """The commits of alpha, held from now on."""
    assert probe
    found = HeldCommits(alpha.host.parts.journal, monkeypatch)
    yield found
    found.release()


async def test_reply_waits_for_the_commit(alpha: Site, probe: str, held: HeldCommits) -> None:
    """A turn that has ended is not answered, and not seen, until it is on the disk."""
    turn = asyncio.create_task(ask(alpha.channel, probe, "Append", "b"))
    await _commits(held, 1)
    assert (await ask(alpha.channel, probe, "Read")).text == "a"
    assert not turn.done()
    held.release()
    assert (await turn).text == "a b"
    assert (await ask(alpha.channel, probe, "Read")).text == "a b"


async def test_turns_do_not_wait_for_each_others_commits(alpha: Site, probe: str, held: HeldCommits) -> None:
    """The next turn begins while the commit of the last one is under way; replies come in order."""
    turns = [asyncio.create_task(ask(alpha.channel, probe, "Append", text)) for text in "bcd"]
    await _commits(held, 3)
    assert not any(turn.done() for turn in turns)
    held.release()
    replies = await asyncio.gather(*turns)
    assert sorted(len(reply.text) for reply in replies) == [3, 5, 7]
    assert (await ask(alpha.channel, probe, "Read")).text == max((reply.text for reply in replies), key=len)


async def test_turn_that_only_looked_waits_for_what_it_saw(alpha: Site, probe: str, held: HeldCommits) -> None:
    """A turn that changes nothing has seen the turns before it: its reply waits until those are durable."""
    turn = asyncio.create_task(ask(alpha.channel, probe, "Append", "b"))
    await _commits(held, 1)
    look = asyncio.create_task(ask(alpha.channel, probe, "Look"))
    await _idle(alpha, probe)
    assert (await ask(alpha.channel, probe, "Read")).text == "a"
    assert not look.done()
    held.release()
    assert (await look).text == (await turn).text == "a b"


async def test_error_waits_for_what_its_turn_saw(alpha: Site, probe: str, held: HeldCommits) -> None:
    """An error tells of the state too, so it waits as a reply does."""
    turn = asyncio.create_task(ask(alpha.channel, probe, "Append", "b"))
    await _commits(held, 1)
    failing = asyncio.create_task(refused(ask(alpha.channel, probe, "Fail", "refused")))
    await eventually(lambda: _noted("fail refused"))
    assert (await ask(alpha.channel, probe, "Read")).text == "a"
    assert not failing.done()
    held.release()
    assert (await failing).what == (grpc.StatusCode.FAILED_PRECONDITION, "TASK_RUNNING")
    await turn


async def test_move_waits_for_the_commit(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """A move that a turn asks for begins when that turn is durable."""
    probe = await mesh.probe()
    held = HeldCommits(mesh.alpha.host.parts.journal, monkeypatch)
    asked = asyncio.create_task(ask(mesh.alpha.channel, probe, "Ask", "dispatch beta"))
    await _commits(held, 1)
    assert mesh.alpha.host.journey(probe) is None
    assert "on_dispatching" not in STAGE.notes
    held.release()
    assert (await asked).text == probe
    await eventually(lambda: _owned_by(mesh, probe, "beta"))


async def _owned_by(mesh: Mesh, paglet_id: str, host: str) -> bool:
    info = await mesh.alpha.client.get(paglet_id)
    return (info.host, info.state) == (host, "active")


async def _noted(text: str) -> bool:
    return text in STAGE.notes


async def _commits(held: HeldCommits, count: int) -> None:
    async def look() -> bool:
        return held.count >= count

    await eventually(look, what=f"{count} commits")


async def _idle(site: Site, paglet_id: str) -> None:
    """Waits until all calls that came have had their turns."""
    resident = site.host.residents.get(paglet_id)
    assert resident is not None
    await ask(site.channel, paglet_id, "Read")

    async def look() -> bool:
        return resident.gate.waiting == 0

    await eventually(look)
