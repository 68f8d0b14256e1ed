"""A move to the host that the paglet is on is a journey like any other: nothing is lost of it, or left over."""

from __future__ import annotations

import asyncio

import pytest

from paglets.core.events import MobilityEvent
from paglets.testing import eventually
from paglets.values import FileMode, PagletState
from tests.host.conftest import Mesh, Site
from tests.host.midway import Midway, commits
from tests.host.probe import Probe
from tests.host.stage import STAGE
from tests.host.support import PROBE_TYPE, ask, new_request

_CONTENT = b"0123456789" * 400


def probe(at: Site) -> Probe:
    """The probe that is on a host: the object itself."""
    resident = at.host.residents.get("probe")
    assert resident is not None
    assert isinstance(resident.paglet, Probe)
    return resident.paglet


@pytest.mark.parametrize("mode", list(FileMode))
async def test_life_16_move_to_its_own_host(alpha: Site, mode: FileMode) -> None:
    """Both hooks run, the object is another one; state, outcomes of requests and files are as after any move."""
    source, request_id = alpha.files / "a.txt", new_request()
    source.write_bytes(_CONTENT)
    await alpha.client.create(PROBE_TYPE, paglet_id="probe")
    await probe(alpha).register_file("a.txt", mode=mode)
    await ask(alpha.channel, "probe", "Append", "a", request_id=request_id)
    former = probe(alpha)
    for number in (1, 2):
        STAGE.notes.clear()
        moved = await alpha.client.dispatch("probe", "alpha")
        assert (moved.host, moved.state) == ("alpha", PagletState.ACTIVE)
        assert STAGE.notes == ["on_dispatching", "on_arrival"]
        assert probe(alpha) is not former
        await eventually(lambda: _is_over(alpha), what="an end of the journey")
        assert source.exists() is (mode is FileMode.COPY), number
        assert probe(alpha).file_path("a.txt").read_bytes() == _CONTENT
        assert len((await alpha.client.artifacts.list()).refs) == 1
        assert await alpha.host.parts.journal.paglet_ids() == ["probe"]
    again = await ask(alpha.channel, "probe", "Append", "a", request_id=request_id)
    assert (again.text, again.replayed) == ("a", True)


async def test_life_16_calls_meanwhile(alpha: Site) -> None:
    """Calls that come while it goes from its host to its host run once, before or after; so does its own wish to go."""
    await alpha.client.create(PROBE_TYPE, paglet_id="probe")
    STAGE.hold("on_arrival")
    await ask(alpha.channel, "probe", "Ask", "dispatch alpha")
    await STAGE.reached("on_arrival")
    calls = [asyncio.create_task(ask(alpha.channel, "probe", "Append", str(number))) for number in range(5)]
    STAGE.release("on_arrival")
    answers = await asyncio.gather(*calls)
    assert max(len(answer.text.split()) for answer in answers) == 6
    await eventually(lambda: _is_over(alpha), what="an end of the journey")


async def test_life_16_wish_that_comes_before_the_commit_is_known(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source that hears of its commit only when the paglet has come begins then what that has asked for meanwhile."""

    async def on_arrival(found: Probe, event: MobilityEvent) -> None:
        if event.target == "alpha":
            found.dispatch("beta")

    monkeypatch.setattr(Probe, "on_arrival", on_arrival)
    await mesh.probe()
    commit = Midway(monkeypatch, mesh.alpha.host.parts.directory, "apply", which=commits, after=True).hold()
    moving = asyncio.create_task(mesh.alpha.client.dispatch("probe", "alpha"))
    await commit.called()
    await eventually(lambda: _has_come(mesh), what="its arrival")
    commit.release()
    await moving
    await eventually(lambda: _is_at(mesh, "beta"), what="what it asked for")


async def _is_at(mesh: Mesh, host: str) -> bool:
    row = await mesh.alpha.host.parts.directory.get("probe")
    return row is not None and (row.owner, row.state) == (host, PagletState.ACTIVE) and row.intent is None


async def _has_come(mesh: Mesh) -> bool:
    """Whether the paglet is at home again, or has left it already for where it wanted to go."""
    row = await mesh.alpha.host.parts.directory.get("probe")
    on_its_way = row is not None and row.intent is not None and row.intent.target == "beta"
    return on_its_way or await _is_at(mesh, "alpha") or await _is_at(mesh, "beta")


async def _is_over(at: Site) -> bool:
    journal = at.host.parts.journal
    return not [*await journal.departures(), *await journal.arrivals()]
