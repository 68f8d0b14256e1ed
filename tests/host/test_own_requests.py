"""What a paglet asks to be done with itself is as durable as the turn in which it asked, and is done once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import pytest

from paglets.client.client import Client
from paglets.core.events import MobilityEvent
from paglets.directory.contract import PagletRow
from paglets.errors import NotFoundError, PagletError, UnavailableError
from paglets.testing import HostProcess
from paglets.values import PagletState, TransferTicket
from tests.host.conftest import Mesh, Site
from tests.host.midway import Midway, do
from tests.host.probe import Probe
from tests.host.stage import STAGE
from tests.host.support import PROBE_MODULE, PROBE_TYPE, ask, eventually, refused
from tests.host.unharmed import dispatch, row_of

_ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("wanted", ["dispose", "dispatch alpha"])
async def test_asked_while_another_move_begins(mesh: Mesh, wanted: str) -> None:
    """Its last turn before a move that somebody else began may ask for more: that is done where it arrives."""
    await mesh.probe()
    STAGE.hold("held")
    asking = asyncio.create_task(ask(mesh.alpha.channel, "probe", "Ask", f"held {wanted}"))
    await STAGE.reached("held")
    moving = asyncio.create_task(dispatch(mesh.alpha, "probe", "beta"))
    await eventually(lambda: do(mesh.alpha.host.journey("probe") is not None), what="the other move")
    STAGE.release("held")
    await asking
    await asyncio.wait([moving])
    if wanted == "dispose":
        await eventually(lambda: _is_gone(mesh), what="its end")
        assert (await row_of(mesh)).owner == "beta"
    else:
        await eventually(lambda: _arrivals(2), what="the second arrival")
        await eventually(lambda: _is_at(mesh.beta.client, "alpha"), what="its return")


async def test_life_4_there_and_back_again(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each arrival may ask for the next move: the paglet goes there and back, is always one, and leaves nothing."""
    went: list[str] = []

    async def on_arrival(found: Probe, event: MobilityEvent) -> None:
        went.append(f"{event.source} {event.target} {event.attempt}")
        found.state.lines.append(event.target)
        if len(found.state.lines) < 4:
            found.dispatch(event.source)

    monkeypatch.setattr(Probe, "on_arrival", on_arrival)
    await mesh.probe()
    await mesh.alpha.client.dispatch("probe", "beta")
    await eventually(lambda: _has_come(mesh, "beta alpha beta alpha"), what="the last arrival")
    assert went == ["alpha beta 1", "beta alpha 1", "alpha beta 1", "beta alpha 1"]
    assert (await mesh.beta.client.get("probe")).host == "alpha"
    for at, ids in ((mesh.alpha, ["probe"]), (mesh.beta, [])):
        await eventually(lambda at=at, ids=ids: _keeps(at, ids), what="an end of all journeys")


async def _has_come(mesh: Mesh, lines: str) -> bool:
    return (await ask(mesh.beta.channel, "probe", "Read")).text == lines


async def _keeps(at: Site, paglet_ids: list[str]) -> bool:
    """Whether a host has these paglets, and nothing of a journey."""
    journal = at.host.parts.journal
    under_way = [*await journal.departures(), *await journal.arrivals()]
    return not under_way and await journal.paglet_ids() == paglet_ids


async def test_asked_while_another_move_is_given_up(mesh: Mesh) -> None:
    """When the other move is refused, what it asked for meanwhile is done after all."""
    await mesh.probe()
    await ask(mesh.alpha.channel, "probe", "Ask", "refuse check_arrival refused")
    STAGE.hold("held")
    asking = asyncio.create_task(ask(mesh.alpha.channel, "probe", "Ask", "held dispose"))
    await STAGE.reached("held")
    moving = asyncio.create_task(refused(dispatch(mesh.alpha, "probe", "beta")))
    await eventually(lambda: do(mesh.alpha.host.journey("probe") is not None), what="the other move")
    STAGE.release("held")
    await asking
    assert (await moving).code is grpc.StatusCode.FAILED_PRECONDITION
    await eventually(lambda: _is_gone(mesh), what="its end")
    assert (await row_of(mesh)).owner == "alpha"


async def test_refused_request_is_told_once(mesh: Mesh) -> None:
    """A move to nowhere is told to the paglet, and is not tried again, also not by a later life of the host."""
    await mesh.probe()
    await ask(mesh.alpha.channel, "probe", "Ask", "dispatch nowhere")
    told = "aborted NOT_FOUND HOST_NOT_FOUND"
    await ask(mesh.alpha.channel, "probe", "WaitFor", told)
    assert (await ask(mesh.alpha.channel, "probe", "Read")).text == f"asked {told}"
    assert (await mesh.alpha.host.parts.journal.belongings("probe")).own_request is None


@pytest.mark.parametrize("wanted", ["dispatch", "clone"])
async def test_tick_1_ticket_that_is_none_is_refused_at_once(mesh: Mesh, wanted: str) -> None:
    """Nothing is kept that could not be read again: such a paglet would never come back after a restart."""
    await mesh.probe()
    await ask(mesh.alpha.channel, "probe", "Ask", f"haggle {wanted}")
    assert (await mesh.alpha.host.parts.journal.belongings("probe")).own_request is None
    assert (await ask(mesh.alpha.channel, "probe", "Append", "a")).text == "a"


async def test_what_a_restart_reads_is_what_was_asked_for(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is done is dropped by its bytes: a time that was kept as an int and is read as a float is the same one."""
    await mesh.probe()
    journal = mesh.alpha.host.parts.journal
    resting = Midway(monkeypatch, mesh.alpha.host.rests, "rest").hold()
    await ask(mesh.alpha.channel, "probe", "Ask", "rest-until 4000000000")
    await resting.called()
    wanted = (await journal.belongings("probe")).own_request
    assert wanted is not None
    await journal.drop_own_request("probe", wanted)
    assert (await journal.belongings("probe")).own_request is None
    resting.release()
    await eventually(lambda: _is_at_rest(mesh), what="its rest")


async def test_post_of_no_operation_is_refused_at_once(mesh: Mesh) -> None:
    """One that could not be read again would keep its sender from ever coming back."""
    await mesh.probe()
    await ask(mesh.alpha.channel, "probe", "Ask", "mispost")
    assert (await ask(mesh.alpha.channel, "probe", "Append", "a")).text == "a"


async def _is_at_rest(mesh: Mesh) -> bool:
    return (await row_of(mesh)).state is PagletState.INACTIVE


@pytest.fixture
async def hosts(tmp_path: Path) -> AsyncIterator[tuple[HostProcess, HostProcess]]:
    """Two hosts as processes, the second of one mesh with the first."""
    async with AsyncExitStack() as stack:
        alpha, beta = (
            HostProcess(name=name, data=tmp_path / name, allow=[PROBE_MODULE], python_path=[_ROOT])
            for name in ("alpha", "beta")
        )
        for host in (alpha, beta):
            beta.join = alpha.address
            await host.start()
            stack.push_async_callback(host.kill)
        yield alpha, beta


@pytest.mark.slow
async def test_acknowledged_move_outlives_a_kill(hosts: tuple[HostProcess, HostProcess]) -> None:
    """A host that was killed before it began what a turn asked for begins it when it is started again."""
    alpha, beta = hosts
    await alpha.kill()
    await alpha.start({"PAGLETS_FAULT": "journey.quiesce.before"})
    async with Client(alpha.address) as client, Client(beta.address) as other:
        await client.create(PROBE_TYPE, paglet_id="probe")
        await ask(client.channel, "probe", "Ask", "dispatch beta")
        await alpha.ended()
        await alpha.start()
        await eventually(lambda: _is_at(other, "beta"), what="its arrival")
        assert (await ask(other.channel, "probe", "Read")).text == "asked"


@pytest.mark.slow
@pytest.mark.parametrize("point", ["arrival.settle.after", "arrival.record.after"])
async def test_move_that_an_arrival_asks_for_outlives_a_kill(
    hosts: tuple[HostProcess, HostProcess], point: str
) -> None:
    """What `on_arrival` asked for is kept with the arrival: killed right after, the target does it when it is back."""
    alpha, beta = hosts
    await beta.kill()
    await beta.start({"PAGLETS_FAULT": point})
    async with Client(alpha.address) as client:
        await client.create(PROBE_TYPE, paglet_id="probe")
        await ask(client.channel, "probe", "Ask", "refuse on_arrival go alpha")
        moving = asyncio.create_task(client.dispatch("probe", "beta"))
        await beta.ended()
        before = (await client.get("probe")).epoch
        await beta.start()
        await moving
        await eventually(lambda: _is_at(client, "alpha", after=before), what="its return")


@pytest.mark.slow
async def test_failed_paglet_is_failed_again_after_a_kill(hosts: tuple[HostProcess, HostProcess]) -> None:
    """One whose arrival failed is so still when its next journey is cut by a kill, and can be moved again."""
    alpha, beta = hosts
    async with Client(alpha.address) as client, Client(beta.address) as other:
        await client.create(PROBE_TYPE, paglet_id="probe")
        await ask(client.channel, "probe", "Ask", "refuse on_arrival@beta refused")
        with pytest.raises(PagletError, match="its arrival failed"):
            await client.dispatch("probe", "beta")
        await beta.kill()
        await beta.start({"PAGLETS_FAULT": "journey.intent.after"})
        moving = asyncio.create_task(other.dispatch("probe", "alpha", ticket=TransferTicket(state_version=9)))
        await beta.ended()
        await beta.start()
        with pytest.raises(PagletError):
            await moving
        found = await client.get("probe")
        assert (found.host, found.state, found.error) == ("beta", PagletState.FAILED, "on_arrival@beta says no")
        assert (await client.dispatch("probe", "alpha")).state is PagletState.ACTIVE


@pytest.mark.slow
@pytest.mark.parametrize("point", ["clone.journal.before", "clone.intent.after", "clone.commit.after"])
async def test_acknowledged_clone_outlives_a_kill(hosts: tuple[HostProcess, HostProcess], point: str) -> None:
    """A clone that a turn asked for is made once, or its original is told that there is none."""
    alpha, beta = hosts
    await alpha.kill()
    await alpha.start({"PAGLETS_FAULT": point})
    async with Client(alpha.address) as client, Client(beta.address) as other:
        await client.create(PROBE_TYPE, paglet_id="probe")
        clone = (await ask(client.channel, "probe", "Ask", "clone beta")).text
        await alpha.ended()
        await alpha.start()
        await eventually(lambda: _is_made_or_told(other, clone), 20, what="the clone, or the word that there is none")
        made = [info.paglet_id async for info in other.list()]
        assert made in ([clone, "probe"], ["probe", clone], ["probe"])


async def _is_made_or_told(client: Client, clone: str) -> bool:
    try:
        if (await client.get(clone)).state is PagletState.ACTIVE:
            return True
    except NotFoundError:
        return " aborted " in (await ask(client.channel, "probe", "Read")).text  # whatever kept it from being made
    return False


async def _is_at(client: Client, host: str, after: int = 0) -> bool:
    found = await client.get("probe")
    return (found.host, found.state) == (host, PagletState.ACTIVE) and found.epoch > after


async def _is_gone(mesh: Mesh) -> bool:
    return (await row_of(mesh)).state is PagletState.DISPOSED


async def _arrivals(count: int) -> bool:
    return STAGE.notes.count("on_arrival") >= count


async def test_own_move_waits_for_a_directory_that_its_target_cannot_ask_yet(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The source has just heard from it: soon after its restart the others have yet to find it again."""
    await mesh.probe()
    directory, silent = mesh.beta.host.parts.directory, [True, True]
    get = directory.get

    async def hindered(paglet_id: str) -> PagletRow | None:
        if silent:
            silent.pop()
            raise UnavailableError("DIRECTORY_UNAVAILABLE", "it is not back yet")
        return await get(paglet_id)

    monkeypatch.setattr(directory, "get", hindered)
    await ask(mesh.alpha.channel, "probe", "Ask", "dispatch beta")
    await eventually(lambda: _is_at(mesh.beta.client, "beta"), what="its arrival")
    assert not silent
