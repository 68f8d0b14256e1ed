"""A paglet that is saved now and then: what counts at once, what a crash leaves, and what is forgotten with it."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, closing
from pathlib import Path

import pytest

from paglets.config import HostSettings
from paglets.core.paglet import Paglet
from paglets.errors import InvalidArgumentError
from paglets.values import PagletState
from tests.core.test_paglet import First
from tests.host.conftest import Mesh, Site, site
from tests.host.crash import fallen
from tests.host.midway import do
from tests.host.probe import Probe
from tests.host.slow_disk import HeldCommits, HeldSaves
from tests.host.stage import STAGE
from tests.host.support import PROBE_TYPE, ask, eventually, refused
from tests.host.worker import SAVER_TYPE, WORKER_TYPE, Saver


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    """Whatever a test starts ends with it."""
    async with AsyncExitStack() as opened:
        yield opened
        STAGE.clear()


@pytest.fixture
async def saver(alpha: Site) -> str:
    """A paglet that is saved now and then."""
    return (await alpha.client.create(SAVER_TYPE, paglet_id="saver")).paglet_id


async def _lines(site: Site, paglet_id: str = "saver") -> str:
    return (await ask(site.channel, paglet_id, "Read")).text


async def test_turns_count_at_once(alpha: Site, saver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A turn is answered, seen by reads and replayed without a wait for the disk."""
    held = HeldCommits(alpha.host.parts.journal, monkeypatch)
    assert (await ask(alpha.channel, saver, "Append", "a", request_id="r-1")).text == "a"
    assert await _lines(alpha) == "a"
    assert (await ask(alpha.channel, saver, "WaitFor", "a")).text == "True"
    again = await ask(alpha.channel, saver, "Append", "a", request_id="r-1")
    assert (again.text, again.replayed, held.count) == ("a", True, 0)


async def test_life_12_saved_before_any_last_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever keeps a host that ends from anything else, as by a loop without end, costs nobody what he did."""
    found: list[bytes] = []

    async def on_deactivating(_probe: Probe, _event: object) -> None:
        with closing(sqlite3.connect(tmp_path / "alpha" / "journal.db")) as journal:  # whatever else is under way
            (state,) = journal.execute("SELECT state FROM paglets WHERE paglet_id = 'saver'").fetchone()
        found.append(state)

    async with AsyncExitStack() as opened:
        alpha = await site(opened, tmp_path, "alpha")
        await alpha.client.create(PROBE_TYPE, paglet_id="probe")
        await alpha.client.create(SAVER_TYPE, paglet_id="saver")
        await ask(alpha.channel, "saver", "Append", "a-line")
        monkeypatch.setattr(Probe, "on_deactivating", on_deactivating)
    assert b"a-line" in found[0]


async def test_crash_forgets_state_and_replies_together(
    alpha: Site, saver: str, stack: AsyncExitStack, tmp_path: Path
) -> None:
    """After a crash the state is as it was saved, with the replies of then; all that came later runs anew."""
    await ask(alpha.channel, saver, "Append", "a", request_id="r-1")
    await ask(alpha.channel, saver, "Ask", "save b", request_id="r-2")
    await ask(alpha.channel, saver, "Append", "c", request_id="r-3")
    await refused(ask(alpha.channel, saver, "Fail", "x", request_id="r-4"))
    epoch = (await ask(alpha.channel, saver, "Read")).trailing["paglet-epoch"]
    again = await fallen(stack, tmp_path)
    assert await _lines(again) == "a b"
    assert (await ask(again.channel, saver, "Append", "a", request_id="r-1")).replayed
    assert (await ask(again.channel, saver, "Ask", "save b", request_id="r-2")).replayed
    STAGE.notes.clear()
    anew = await ask(again.channel, saver, "Append", "c", request_id="r-3")
    assert (anew.text, anew.replayed) == ("a b c", False)
    await refused(ask(again.channel, saver, "Fail", "x", request_id="r-4"))
    assert STAGE.notes == ["append c", "fail x"]
    assert int(str(anew.trailing["paglet-epoch"])) > int(str(epoch))


async def test_checkpoint_of_the_background(alpha: Site, saver: str, stack: AsyncExitStack, tmp_path: Path) -> None:
    """A body saves what all turns did that have ended, not its own section alone."""
    await ask(alpha.channel, saver, "Append", "a")
    await ask(alpha.channel, saver, "Ask", "save-beside b")
    await eventually(lambda: do("saved" in STAGE.notes))
    await ask(alpha.channel, saver, "Append", "c")
    assert await _lines(await fallen(stack, tmp_path)) == "a b"


async def test_regular_end_of_the_host_saves(stack: AsyncExitStack, tmp_path: Path) -> None:
    """A host that is stopped keeps everything."""
    async with AsyncExitStack() as first:
        alpha = await site(first, tmp_path, "alpha")
        await alpha.client.create(SAVER_TYPE, paglet_id="saver")
        await ask(alpha.channel, "saver", "Append", "a", request_id="r-1")
    alpha = await site(stack, tmp_path, "alpha")
    assert await _lines(alpha) == "a"
    assert (await ask(alpha.channel, "saver", "Append", "a", request_id="r-1")).replayed


@pytest.mark.parametrize("spot", ["long", "close first"])
async def test_end_of_the_host_saves_first(alpha: Site, saver: str, spot: str) -> None:
    """A turn or a closer that does not end with its host keeps nothing from being saved that had ended before."""
    await ask(alpha.channel, saver, "Append", "a")
    await ask(alpha.channel, saver, "Ask", "open first")
    STAGE.hold(spot)
    turn = asyncio.create_task(ask(alpha.channel, saver, "Hold", "long"))
    await STAGE.reached("long")
    resident = alpha.host.residents.get(saver)
    assert resident is not None
    ending = asyncio.create_task(resident.stop(5.0))
    await eventually(lambda: _has_saved(alpha), what="the save")
    assert not ending.done()
    STAGE.release(spot)
    await asyncio.gather(turn, ending)


async def test_rest_saves(alpha: Site, saver: str) -> None:
    """A paglet that rests is as it was left, with the outcomes of its requests."""
    await ask(alpha.channel, saver, "Append", "a", request_id="r-1")
    assert (await alpha.client.deactivate(saver)).state is PagletState.INACTIVE
    assert (await ask(alpha.channel, saver, "Append", "a", request_id="r-1")).replayed
    assert await _lines(alpha) == "a rests woken"


async def test_move_carries_everything(mesh: Mesh) -> None:
    """A paglet arrives as it left, with the outcomes of its requests."""
    await mesh.alpha.client.create(SAVER_TYPE, paglet_id="saver")
    await ask(mesh.alpha.channel, "saver", "Append", "a", request_id="r-1")
    await mesh.alpha.client.dispatch("saver", "beta")
    assert (await ask(mesh.beta.channel, "saver", "Append", "a", request_id="r-1")).replayed
    assert await _lines(mesh.beta) == "a"


async def test_move_that_is_given_up_has_saved(mesh: Mesh, stack: AsyncExitStack, tmp_path: Path) -> None:
    """Before a paglet is asked for its last turn all that it did is durable, whatever becomes of the move."""
    await mesh.alpha.client.create(SAVER_TYPE, paglet_id="saver")
    await ask(mesh.alpha.channel, "saver", "Append", "a", request_id="r-1")
    await ask(mesh.alpha.channel, "saver", "Ask", "refuse on_dispatching refused")
    with pytest.raises(Exception, match="on_dispatching says no"):
        await mesh.alpha.client.dispatch("saver", "beta")
    assert await _lines(await fallen(stack, tmp_path)) == "a"


async def test_turn_that_asks_for_a_move_is_saved(
    alpha: Site, saver: str, stack: AsyncExitStack, tmp_path: Path
) -> None:
    """What a paglet asks for is as durable as the turn that asked, so that turn is saved."""
    await ask(alpha.channel, saver, "Append", "a")
    await ask(alpha.channel, saver, "Ask", "dispatch nowhere")
    await eventually(lambda: _told(alpha))
    assert (await _lines(await fallen(stack, tmp_path))).startswith("a asked")


async def test_turn_waits_for_the_save_before_it(alpha: Site, saver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes while a save is under way is answered after it, and never replaced by what that save had."""
    held = HeldSaves(alpha.host.parts.journal.saves, monkeypatch)
    first = asyncio.create_task(ask(alpha.channel, saver, "Ask", "save a"))
    await eventually(lambda: do(held.count == 1))
    second = asyncio.create_task(ask(alpha.channel, saver, "Append", "b"))
    await eventually(lambda: do("append b" in STAGE.notes))
    assert await _lines(alpha) == ""
    held.release()
    assert (await second).text == "a b"
    await first
    assert await _lines(alpha) == "a b"


async def test_state_and_outcomes_never_part(tmp_path: Path, stack: AsyncExitStack, seed: int) -> None:
    """Whatever was done in which order, a crash leaves the outcome of exactly those requests that are in the state."""
    chance = random.Random(seed)
    settings = HostSettings(name="alpha", data=tmp_path, drain_s=1.0, dedupe_max_replies=12)
    alpha = await site(stack, tmp_path, "alpha", settings=settings)
    await alpha.client.create(SAVER_TYPE, paglet_id="saver")
    for number in range(40):
        if chance.random() < 0.15:
            await ask(alpha.channel, "saver", "Ask", "save saved")
        await ask(alpha.channel, "saver", "Append", f"l{number}", request_id=f"r-{number}")
    again = await fallen(stack, tmp_path)
    lines = (await _lines(again)).split()
    replies = await again.host.parts.journal.replies("saver")
    kept = sorted(f"l{reply.request_id.removeprefix('r-')}" for reply in replies)
    assert kept == sorted([line for line in lines if line != "saved"][-12:])


async def test_larger_states_are_for_those_that_are_saved(mesh: Mesh) -> None:
    """A state of 3 MB cannot be kept after every turn; saved now and then it can, and travels."""
    await mesh.alpha.client.create(WORKER_TYPE, paglet_id="worker")
    await mesh.alpha.client.create(SAVER_TYPE, paglet_id="saver")
    assert (await refused(ask(mesh.alpha.channel, "worker", "Ask", "fill x"))).reason == "STATE_INVALID"
    await ask(mesh.alpha.channel, "saver", "Ask", "fill x")
    await mesh.alpha.client.dispatch("saver", "beta")
    assert (await ask(mesh.beta.channel, "saver", "Append", "there")).text == "there"


async def test_bound_of_a_saved_state(alpha: Site, saver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is a bound for those too."""
    resident = alpha.host.residents.get(saver)
    assert resident is not None
    monkeypatch.setattr(resident.runner.cell, "_max_bytes", 1_000_000)
    with pytest.raises(InvalidArgumentError):
        resident.runner.cell.check_size(b"x" * 1_000_001)
    assert (await refused(ask(alpha.channel, saver, "Ask", "fill x"))).reason == "STATE_INVALID"


def test_durability_is_one_of_two() -> None:
    """A class that says anything else is refused when it is defined."""
    with pytest.raises(TypeError, match="durability is 'never'"):
        type("Odd", (Paglet,), {"State": First, "durability": "never"})


async def _has_saved(alpha: Site) -> bool:
    stored = await alpha.host.parts.journal.required("saver")
    return "a" in Saver.codec.load(stored.state, stored.state_version).lines


async def _told(alpha: Site) -> bool:
    return "aborted" in await _lines(alpha)
