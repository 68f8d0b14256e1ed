"""Journeys that are given up late, asked for twice, or end badly at the target."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from paglets.directory.contract import Guard, JourneyRecord, PagletRow, RowWrite
from paglets.host.resident import Resident
from paglets.values import PagletState
from tests.host.conftest import Mesh
from tests.host.probe import SECRET
from tests.host.stage import STAGE
from tests.host.support import ask, eventually, refused
from tests.host.unharmed import CONTENT, ILLEGAL, Case, assert_unharmed, dispatch, nothing, probe_with_file, row_of


async def test_life_3_turn_that_does_not_end_keeps_its_paglet(strict: Mesh, tmp_path: Path) -> None:
    """A turn that outlives the quiesce time gives the move up, and is itself untouched; the paglet is told after it."""
    await probe_with_file(strict)
    before = await row_of(strict)
    STAGE.hold("long")
    turn = asyncio.create_task(ask(strict.alpha.channel, "probe", "Hold", "long"))
    await STAGE.reached("long")
    refusal = await refused(dispatch(strict.alpha, "probe", "beta"))
    assert refusal.what == (grpc.StatusCode.DEADLINE_EXCEEDED, "QUIESCE_TIMEOUT")
    STAGE.release("long")
    assert (await turn).text == "a long< >long"
    await ask(strict.alpha.channel, "probe", "WaitFor", "aborted DEADLINE_EXCEEDED QUIESCE_TIMEOUT")
    case = Case(nothing, refusal.code, refusal.reason, intended=False)
    await assert_unharmed(strict, tmp_path, before, case, lines="a long< >long")


async def test_own_move_that_cannot_be_quiet_is_told(strict: Mesh) -> None:
    """A paglet that asked for the move itself hears that a later turn did not end in time."""
    await strict.probe()
    resident = strict.alpha.host.residents.get("probe")
    assert resident is not None
    STAGE.hold("first", "long")
    calls = [asyncio.create_task(ask(strict.alpha.channel, "probe", "Hold", "first"))]
    await STAGE.reached("first")
    for count, (operation, text) in enumerate((("Ask", "dispatch beta"), ("Hold", "long")), 1):
        calls.append(asyncio.create_task(ask(strict.alpha.channel, "probe", operation, text)))
        await eventually(lambda wanted=count: _waits(resident, wanted))
    STAGE.release("first")
    await eventually(lambda: _quiet_failed(strict))
    STAGE.release("long")
    await asyncio.gather(*calls)
    await eventually(lambda: _noted("aborted QUIESCE_TIMEOUT"))
    lines = (await ask(strict.alpha.channel, "probe", "Look")).text
    assert lines.endswith(">long aborted DEADLINE_EXCEEDED QUIESCE_TIMEOUT")


async def test_refusal_is_replayed_to_its_request(mesh: Mesh) -> None:
    """A move that was refused has run: its request id gives the same refusal, a new one tries again."""
    await probe_with_file(mesh)
    await ask(mesh.alpha.channel, "probe", "Ask", "refuse check_arrival refused")
    first = await refused(dispatch(mesh.alpha, "probe", "beta", request_id="m-1"))
    again = await refused(dispatch(mesh.beta, "probe", "beta", request_id="m-1"))
    assert (first.what, first.message) == (again.what, again.message)
    assert STAGE.notes.count("on_dispatching") == 1
    await ask(mesh.alpha.channel, "probe", "Ask", "refuse check_arrival no more")
    other = await refused(dispatch(mesh.alpha, "probe", "alpha", request_id="m-1"))
    assert other.what == (ILLEGAL, "REQUEST_ID_REUSED")


async def test_second_move_waits_for_nobody(mesh: Mesh) -> None:
    """A paglet on a journey takes no second one: state and event say why."""
    await mesh.probe()
    STAGE.hold("on_dispatching")
    first = asyncio.create_task(dispatch(mesh.alpha, "probe", "beta"))
    await STAGE.reached("on_dispatching")
    refusal = await refused(dispatch(mesh.beta, "probe", "beta"))
    assert refusal.what == (ILLEGAL, "ILLEGAL_TRANSITION")
    assert refusal.metadata == {"state": "departing", "event": "depart"}
    STAGE.release("on_dispatching")
    await first


@pytest.mark.parametrize("how", ["refused", "broken"])
async def test_life_3_failed_arrival_is_the_callers_error(mesh: Mesh, how: str) -> None:
    """A paglet whose arrival turn fails is at the target, FAILED: it reads, refuses turns, and keeps its source."""
    path = await probe_with_file(mesh, mode="move")
    await ask(mesh.alpha.channel, "probe", "Ask", f"refuse on_arrival {how}")
    refusal = await refused(dispatch(mesh.alpha, "probe", "beta", request_id="m-1"))
    assert refusal.what == (ILLEGAL, "ARRIVAL_FAILED")
    assert refusal.metadata["host"] == "beta"
    assert refusal.metadata["cause"] == ("TASK_RUNNING" if how == "refused" else "INTERNAL")
    assert SECRET not in repr(refusal)
    info = await mesh.alpha.client.get("probe")
    assert (info.host, info.state) == ("beta", "failed")
    assert path.read_bytes() == CONTENT
    assert (await ask(mesh.alpha.channel, "probe", "Read")).text == "a"
    turned_away = await refused(ask(mesh.alpha.channel, "probe", "Append", "b"))
    assert turned_away.what == (ILLEGAL, "ARRIVAL_FAILED")
    again = await refused(dispatch(mesh.alpha, "probe", "beta", request_id="m-1"))
    assert again.what == refusal.what
    await mesh.alpha.client.dispose("probe")


async def test_row_that_was_taken_ends_the_journey(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source whose row somebody else changed before the commit lets go of the paglet, and serves it no more."""
    await mesh.probe()
    directory = mesh.alpha.host.parts.directory
    apply = directory.apply

    async def taken(
        writes: Sequence[RowWrite], *, journeys: Sequence[JourneyRecord] = (), forget: Sequence[str] = ()
    ) -> Sequence[PagletRow]:
        """Somebody is a moment faster than the commit."""
        if any(write.row.owner == "beta" for write in writes):
            row = await row_of(mesh)
            wanted = replace(row, owner="gamma", state=PagletState.ACTIVE, intent=None, epoch=row.epoch + 1)
            await apply([RowWrite(Guard.on(row), wanted, "abort")])
        return await apply(writes, journeys=journeys, forget=forget)

    monkeypatch.setattr(directory, "apply", taken)
    refusal = await refused(dispatch(mesh.alpha, "probe", "beta"))
    assert refusal.what == (grpc.StatusCode.ABORTED, "EPOCH_FENCED")
    assert mesh.alpha.host.residents.get("probe") is None
    assert await mesh.alpha.host.parts.journal.paglet("probe") is None
    assert mesh.alpha.host.journey("probe") is None


async def _waits(resident: Resident, count: int) -> bool:
    return resident.gate.waiting == count


async def _quiet_failed(mesh: Mesh) -> bool:
    """Whether the paglet waits for the turn in which it is told."""
    resident = mesh.alpha.host.residents.get("probe")
    return resident is not None and resident.gate.waiting == 1 and mesh.alpha.host.journey("probe") is None


async def _noted(text: str) -> bool:
    return text in STAGE.notes
