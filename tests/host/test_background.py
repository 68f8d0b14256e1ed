"""Work beside the turns: it sees what is durable, writes in short turns, and ends with its paglet's stay."""

from __future__ import annotations

import asyncio

import pytest

from paglets.errors import PreconditionError
from paglets.values import PagletState
from tests.host.conftest import Mesh, Site
from tests.host.midway import Midway
from tests.host.probe import SECRET, Probe
from tests.host.slow_disk import HeldCommits
from tests.host.stage import STAGE
from tests.host.support import PROBE_TYPE, ask, eventually, refused


@pytest.fixture
async def probe(alpha: Site) -> str:
    """A probe."""
    return (await alpha.client.create(PROBE_TYPE, paglet_id="probe")).paglet_id


@pytest.mark.parametrize("word", ["body append", "thread"])
async def test_core_2_background_writes_in_a_turn_of_its_own(alpha: Site, probe: str, word: str) -> None:
    """A section of the background waits for its turn, keeps others out while it lasts, and is durable at its end."""
    STAGE.hold("in section")
    await ask(alpha.channel, probe, "Ask", f"{word} line")
    await STAGE.reached("in section")
    after = asyncio.create_task(ask(alpha.channel, probe, "Append", "after"))
    assert (await ask(alpha.channel, probe, "Read")).text == ""
    assert not after.done()
    STAGE.release("in section")
    assert (await after).text == "line after"


async def test_core_2_section_that_fails_changes_nothing(
    alpha: Site, probe: str, caplog: pytest.LogCaptureFixture
) -> None:
    """An exception in a section rolls it back; the log has it, and the paglet goes on."""
    await ask(alpha.channel, probe, "Ask", "body break")
    await eventually(lambda: _is("the background of paglet probe failed" in caplog.text))
    assert SECRET in caplog.text
    assert (await ask(alpha.channel, probe, "Append", "a")).text == "a"


async def test_body_begins_when_its_turn_has_ended(alpha: Site, probe: str) -> None:
    """A body that a failing turn asked for never begins."""
    await ask(alpha.channel, probe, "Append", "a")
    await ask(alpha.channel, probe, "Ask", "body append b")
    await eventually(lambda: _reads(alpha, probe, "a b"))


async def test_life_3_run_begins_and_ends_with_the_stay(mesh: Mesh) -> None:
    """`run()` begins after creation and after arrival, and is cancelled and awaited when the paglet leaves."""
    probe = await mesh.probe(state='{"runs": true}')
    await eventually(lambda: _is(STAGE.notes == ["on_creation", "run"]))
    await mesh.alpha.client.dispatch(probe, "beta")
    await eventually(
        lambda: _is(STAGE.notes == ["on_creation", "run", "run ended", "on_dispatching", "on_arrival", "run"])
    )
    await mesh.beta.client.dispose(probe)
    assert STAGE.notes[-2:] == ["run ended", "disposing"]


async def test_life_2_run(mesh: Mesh, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """It begins after creation, arrival, the arrival of a clone, and activation; if it fails, that is in the log."""

    async def run(found: Probe) -> None:
        STAGE.note(f"runs {'here' if found.paglet_id == 'probe' else 'as a clone'} on {found.context.host}")
        raise ValueError(SECRET)

    monkeypatch.setattr(Probe, "run", run)
    client, runs = mesh.alpha.client, ["runs here on alpha"]
    await mesh.probe()
    assert await _ran(runs)
    await client.clone("probe", "beta")
    assert await _ran(runs := [*runs, "runs as a clone on beta"])
    await client.deactivate("probe")
    assert (await ask(mesh.alpha.channel, "probe", "Append", "on")).text.endswith("woken on")
    assert await _ran(runs := [*runs, "runs here on alpha"])
    await client.dispatch("probe", "beta")
    assert await _ran([*runs, "runs here on beta"])
    assert (await ask(mesh.alpha.channel, "probe", "Append", "still")).text.endswith("on still")
    assert caplog.text.count("the background of paglet probe failed") == 3


async def test_life_2_failure_of_run_is_told(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every host says why it ended, in no more words than any caller is told, until it begins anew."""

    async def run(found: Probe) -> None:
        if found.context.host == "alpha":
            raise ValueError(SECRET)
        raise PreconditionError("TASK_RUNNING", "not on beta")

    async def told(words: str) -> str:
        async def look() -> bool:
            return words in (await mesh.beta.client.get("probe")).run_error

        await eventually(look, what=words)
        info = await mesh.alpha.client.get("probe")
        assert (info.state, info.error) == (PagletState.ACTIVE, "")
        return info.run_error

    monkeypatch.setattr(Probe, "run", run)
    await mesh.probe()
    assert SECRET not in await told("incident")
    assert ["incident" in info.run_error async for info in mesh.alpha.client.list()] == [True]
    await mesh.alpha.client.dispatch("probe", "beta")
    assert await told("not on beta") == "not on beta"
    monkeypatch.undo()
    await mesh.alpha.client.deactivate("probe")
    await mesh.alpha.client.activate("probe")
    assert (await mesh.alpha.client.get("probe")).run_error == ""


async def _ran(wanted: list[str]) -> bool:
    """Waits until `run()` has begun so often, and there."""
    return await eventually(lambda: _is([note for note in STAGE.notes if note.startswith("runs ")] == wanted))


async def test_life_2_run_begins_after_the_commit(alpha: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not before the directory has the paglet, from when on its creator is told of it."""
    STAGE.clear()
    held = Midway(monkeypatch, alpha.host.parts.directory, "apply").hold()
    creating = asyncio.create_task(alpha.client.create(PROBE_TYPE, paglet_id="probe", state='{"runs": true}'))
    await held.called()
    assert STAGE.notes == ["on_creation"]
    held.release()
    await creating
    await eventually(lambda: _is(STAGE.notes == ["on_creation", "run"]))


async def test_what_the_last_turn_begins_is_ended_too(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that a turn begins just before a move, while its commit is under way, does not go on where it was."""
    probe = await mesh.probe()
    STAGE.hold("body")
    held = HeldCommits(mesh.alpha.host.parts.journal, monkeypatch)
    asked = asyncio.create_task(ask(mesh.alpha.channel, probe, "Ask", "body append late", request_id="r-1"))
    await eventually(lambda: _is(held.count == 1))
    moving = asyncio.create_task(mesh.alpha.client.dispatch(probe, "beta"))
    await eventually(lambda: _is(mesh.alpha.host.journey(probe) is not None))
    held.release()
    await asked
    await moving
    STAGE.release("body")
    assert (await ask(mesh.beta.channel, probe, "Append", "there")).text == "there"
    assert not [task for task in asyncio.all_tasks() if "_run_body" in repr(task)]


async def test_background_ends_with_a_paglet_that_cannot_be_quieted(strict: Mesh) -> None:
    """A paglet that is disposed of in the middle of a turn without end leaves no `run()` behind."""
    await strict.probe(state='{"runs": true}')
    await eventually(lambda: _is("run" in STAGE.notes))
    STAGE.hold("long")
    stuck = asyncio.create_task(refused(ask(strict.alpha.channel, "probe", "Hold", "long")))
    await STAGE.reached("long")
    await strict.alpha.client.dispose("probe")
    await eventually(lambda: _is("run ended" in STAGE.notes))
    STAGE.release("long")
    assert (await stuck).code is not None


async def test_life_4_turn_moves_its_paglet(mesh: Mesh) -> None:
    """`self.dispatch()` in a turn moves the paglet once the turn has been answered; its state goes along."""
    probe = await mesh.probe()
    assert (await ask(mesh.alpha.channel, probe, "Ask", "dispatch beta")).text == probe
    await eventually(lambda: _lives(mesh, probe, "beta"))
    assert (await ask(mesh.alpha.channel, probe, "Read")).text == "asked"


async def test_life_4_body_moves_its_paglet(mesh: Mesh) -> None:
    """`self.dispatch()` in a body moves the paglet when the body has ended, not before."""
    probe = await mesh.probe()
    STAGE.hold("body end")
    await ask(mesh.alpha.channel, probe, "Ask", "body dispatch beta")
    await STAGE.reached("body end")
    assert (await ask(mesh.alpha.channel, probe, "Read")).text == "from the body"
    assert "on_dispatching" not in STAGE.notes
    assert mesh.alpha.host.journey(probe) is None
    STAGE.release("body end")
    await eventually(lambda: _lives(mesh, probe, "beta"))


async def test_life_4_failed_turn_takes_its_move_back(mesh: Mesh) -> None:
    """A turn that asked for a move and then failed moves nobody."""
    probe = await mesh.probe()
    with pytest.raises(Exception, match="incident"):
        await ask(mesh.alpha.channel, probe, "Ask", "fail-dispatch beta")
    assert (await ask(mesh.alpha.channel, probe, "Append", "a")).text == "a"
    assert "on_dispatching" not in STAGE.notes


@pytest.mark.parametrize(("target", "reason"), [("nowhere", "NOT_FOUND HOST_NOT_FOUND"), ("No Host", "INVALID_ID")])
async def test_life_4_own_move_that_is_refused_is_told(mesh: Mesh, target: str, reason: str) -> None:
    """A bad name fails the turn at once; a host that is not there comes back as `on_dispatch_aborted`."""
    probe = await mesh.probe()
    if reason == "INVALID_ID":
        with pytest.raises(Exception, match="target must match"):
            await ask(mesh.alpha.channel, probe, "Ask", f"dispatch {target}")
        return
    await ask(mesh.alpha.channel, probe, "Ask", f"dispatch {target}")
    await eventually(lambda: _reads(mesh.alpha, probe, f"asked aborted {reason}"))


async def test_life_11_paglet_ends_itself(alpha: Site, probe: str) -> None:
    """`self.dispose()` ends the paglet once its turn has been answered."""
    await ask(alpha.channel, probe, "Ask", "dispose")
    await eventually(lambda: _is(alpha.host.residents.get(probe) is None))
    assert STAGE.notes[-1] == "disposing"


async def _is(found: bool) -> bool:  # noqa: FBT001 - what was looked at
    return found


async def _reads(site: Site, paglet_id: str, text: str) -> bool:
    return (await ask(site.channel, paglet_id, "Read")).text == text


async def _lives(mesh: Mesh, paglet_id: str, host: str) -> bool:
    info = await mesh.alpha.client.get(paglet_id)
    return (info.host, info.state) == (host, "active")
