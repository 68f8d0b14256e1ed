"""A host asks for a paglet, and it comes: the same journey as of a dispatch, asked for at its other end."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import pytest

from paglets.core.events import MobilityEvent
from paglets.errors import PagletError
from paglets.values import ArrivalMode, PagletState, TransferTicket
from tests.host.conftest import Mesh
from tests.host.midway import Midway
from tests.host.probe import Probe
from tests.host.support import ask, new_request
from tests.host.unharmed import ILLEGAL, Case, assert_unharmed, nothing, probe_with_file, row_of


async def test_life_6_comes_when_asked_for(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is where it was asked for, with all it has; both hooks are told why."""
    told: list[tuple[str, str]] = []

    async def note(_probe: Probe, event: MobilityEvent) -> None:
        told.append((event.reason, event.target))

    monkeypatch.setattr(Probe, "on_dispatching", note)
    monkeypatch.setattr(Probe, "on_arrival", note)
    await probe_with_file(mesh)
    brought = await mesh.beta.client.retract("probe")
    assert (brought.host, brought.state) == ("beta", PagletState.ACTIVE)
    assert told == [("retract", "beta")] * 2
    await mesh.beta.client.dispatch("probe", "alpha")
    assert told[2:] == [("dispatch", "alpha")] * 2
    assert (await ask(mesh.beta.channel, "probe", "Append", "b")).text == "a b"


async def test_life_6_is_there_already(mesh: Mesh) -> None:
    """Nothing is done for a paglet that is where it is wanted, not even waking it."""
    await mesh.probe()
    before = await row_of(mesh)
    assert (await mesh.alpha.client.retract("probe")).host == "alpha"
    assert await row_of(mesh) == before
    await mesh.alpha.client.deactivate("probe")
    resting = await row_of(mesh)
    assert (await mesh.alpha.client.retract("probe")).state is PagletState.INACTIVE
    assert await row_of(mesh) == resting


async def test_again_with_the_same_request(mesh: Mesh) -> None:
    """The same request brings it once, and is answered as before, also if its arrival failed."""
    await mesh.probe()
    await ask(mesh.alpha.channel, "probe", "Ask", "refuse on_arrival refused")
    request_id = new_request()
    for _ in range(2):
        with pytest.raises(PagletError) as caught:
            await mesh.beta.client.retract("probe", request_id=request_id)
        assert caught.value.reason == "ARRIVAL_FAILED"


async def test_inactive_is_brought_along(mesh: Mesh) -> None:
    """One that rests comes as any other; with such a ticket it rests again."""
    await mesh.probe()
    await mesh.alpha.client.deactivate("probe")
    assert (await mesh.beta.client.proxy("probe").retract()).state is PagletState.ACTIVE
    await mesh.beta.client.deactivate("probe")
    resting = TransferTicket(arrival=ArrivalMode.INACTIVE)
    brought = await mesh.alpha.client.retract("probe", ticket=resting)
    assert (brought.host, brought.state) == ("alpha", PagletState.INACTIVE)


async def test_life_6_refusals_are_those_of_a_dispatch(mesh: Mesh, tmp_path: Path) -> None:
    """The target's own check refuses it, and it stays what it was; one that is nowhere is not found."""
    await probe_with_file(mesh)
    await ask(mesh.alpha.channel, "probe", "Ask", "refuse check_arrival refused")
    before = await row_of(mesh)
    with pytest.raises(PagletError) as caught:
        await mesh.beta.client.retract("probe")
    assert caught.value.reason == "TASK_RUNNING"
    await assert_unharmed(mesh, tmp_path, before, Case(nothing, ILLEGAL, "TASK_RUNNING"))
    with pytest.raises(PagletError) as caught:
        await mesh.beta.client.retract("nobody")
    assert (caught.value.reason, caught.value.code) == ("PAGLET_NOT_FOUND", grpc.StatusCode.NOT_FOUND.value[0])


async def test_life_6_paglet_that_is_leaving_is_fetched_back(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not told of as being here: when its journey has ended it is brought back from there."""
    await mesh.probe()
    leaving, free = asyncio.Event(), asyncio.Event()

    async def hold(_probe: Probe, event: MobilityEvent) -> None:
        if event.target == "beta":
            leaving.set()
            await free.wait()

    monkeypatch.setattr(Probe, "on_dispatching", hold)
    moving = asyncio.create_task(mesh.alpha.client.dispatch("probe", "beta"))
    await leaving.wait()
    asked = Midway(monkeypatch, mesh.alpha.host.requests, "retract")
    back = asyncio.create_task(mesh.alpha.client.retract("probe"))
    await asked.called()
    free.set()
    found = await back
    await moving
    assert (found.host, found.state) == ("alpha", PagletState.ACTIVE)
    assert (await mesh.alpha.client.get("probe")).host == "alpha"
