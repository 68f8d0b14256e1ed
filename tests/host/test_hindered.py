"""Handlers, hooks and arrivals that hinder a host: answers about others, threads and hooks without end, lost bytes."""

from __future__ import annotations

import asyncio
import sys

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue

from paglet.v1 import transfer_pb2
from paglets.errors import NotFoundError, PagletError, Resource, UnavailableError
from paglets.values import clone_id
from tests.host.conftest import Mesh
from tests.host.midway import do
from tests.host.probe import Probe
from tests.host.stage import STAGE
from tests.host.support import PROBE_TYPE, ask, eventually, refused
from tests.host.unharmed import dispatch, probe_with_file

_QUIESCE_TIMEOUT = (grpc.StatusCode.DEADLINE_EXCEEDED, "QUIESCE_TIMEOUT")


@pytest.mark.parametrize("kind", [NotFoundError, UnavailableError])
async def test_answer_about_another_paglet_is_given_once(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch, kind: type[PagletError]
) -> None:
    """A handler that reports another paglet as lost or moved has run: it runs once, also when it was forwarded."""
    reason = "PAGLET_NOT_FOUND" if kind is NotFoundError else "PAGLET_MOVED"

    async def report(_probe: Probe, request: StringValue) -> StringValue:
        STAGE.note(f"run {request.value}")
        raise kind(reason, "of the helper", resource=Resource("paglet", "helper"))

    monkeypatch.setattr(Probe, "append", report)
    await mesh.probe()
    for at, text in ((mesh.alpha, "here"), (mesh.beta, "forwarded")):
        refusal = await refused(ask(at.channel, "probe", "Append", text))
        assert (refusal.reason, refusal.resource) == (reason, ("paglet", "helper"))
        assert STAGE.notes.count(f"run {text}") == 1


async def test_thread_of_run_is_awaited_before_a_move(strict: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """A `def run()` that goes on in its thread keeps the paglet where it is; once it has ended, the paglet moves."""

    def run(_probe: Probe) -> None:
        STAGE.note("run")
        STAGE.at_in_thread("run")
        STAGE.note("run ended")

    monkeypatch.setattr(Probe, "run", run)
    STAGE.hold("run")
    await strict.probe()
    await STAGE.reached("run")
    refusal = await refused(dispatch(strict.alpha, "probe", "beta"))
    assert refusal.what == _QUIESCE_TIMEOUT
    assert (await strict.alpha.client.get("probe")).host == "alpha"
    assert STAGE.notes.count("run") == 1
    STAGE.release("run")
    await eventually(lambda: do("run ended" in STAGE.notes), what="the end of the thread")
    await dispatch(strict.alpha, "probe", "beta")
    await eventually(lambda: do(STAGE.notes.count("run") == 2), what="a run at the target")
    assert STAGE.notes.index("run ended") < STAGE.notes.index("on_dispatching")


async def test_last_turn_that_does_not_end_keeps_its_paglet(strict: Mesh) -> None:
    """An `on_dispatching` that outlives the quiesce time gives the move up: the paglet is told and goes on."""
    await strict.probe()
    STAGE.hold("on_dispatching")
    refusal = await refused(dispatch(strict.alpha, "probe", "beta"))
    assert refusal.what == _QUIESCE_TIMEOUT
    told = "aborted DEADLINE_EXCEEDED QUIESCE_TIMEOUT"
    assert (await ask(strict.alpha.channel, "probe", "Append", "a")).text == f"{told} a"
    assert await strict.alpha.host.parts.journal.departures() == []
    STAGE.release("on_dispatching")
    await dispatch(strict.alpha, "probe", "beta")


async def test_check_that_would_end_the_process_refuses(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """A `check_arrival` that exits refuses the paglet; the target lives on."""

    def leave(_cls: type[Probe], *_: object) -> None:
        sys.exit(3)

    monkeypatch.setattr(Probe, "check_arrival", classmethod(leave))
    await mesh.probe()
    refusal = await refused(dispatch(mesh.alpha, "probe", "beta"))
    assert refusal.what == (grpc.StatusCode.FAILED_PRECONDITION, "ARRIVAL_REFUSED")
    assert (await mesh.beta.client.reach()).name == "beta"


async def test_check_that_takes_long_keeps_nobody_waiting(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """A `check_arrival` that waits for its disk does so in a thread: the target answers meanwhile."""

    def wait(_cls: type[Probe], *_: object) -> None:
        STAGE.at_in_thread("check")

    monkeypatch.setattr(Probe, "check_arrival", classmethod(wait))
    await mesh.probe()
    STAGE.hold("check")
    moved = asyncio.create_task(dispatch(mesh.alpha, "probe", "beta"))
    await STAGE.reached("check")
    assert (await mesh.beta.client.reach()).name == "beta"
    STAGE.release("check")
    await moved


@pytest.mark.parametrize("hook", ["on_arrival", "on_clone"])
async def test_arrival_without_end_can_be_disposed_of(strict: Mesh, hook: str) -> None:
    """A first turn may take its time, but not for ever once its paglet is to end: the arrival has failed then."""
    await strict.beta.client.create(PROBE_TYPE, paglet_id="probe")
    STAGE.hold(hook)
    client = strict.beta.client
    paglet_id = clone_id("probe", "r-1") if hook == "on_clone" else "probe"
    if hook == "on_clone":
        coming = asyncio.create_task(client.clone("probe", "alpha", request_id="r-1"))
    else:
        coming = asyncio.create_task(client.dispatch("probe", "alpha"))
    await STAGE.reached(hook)
    async with asyncio.timeout(10):
        await client.dispose(paglet_id)
        with pytest.raises(PagletError) as failed:
            await coming
    assert (failed.value.reason, failed.value.metadata["cause"]) == ("ARRIVAL_FAILED", "QUIESCE_TIMEOUT")
    with pytest.raises(NotFoundError):
        await client.get(paglet_id)


async def test_arrival_whose_bytes_were_deleted_ends(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """A paglet whose file somebody deleted before it landed is kept, answers nothing, and can be disposed of."""
    path = await probe_with_file(mesh, mode="move")
    beta = mesh.beta.host
    seal = beta.arrivals.seal

    async def robbed(transfer_id: str) -> transfer_pb2.TransferPhase.ValueType:
        phase = await seal(transfer_id)
        for found in (await beta.parts.store.list()).refs:
            await beta.parts.store.delete(found.artifact_id)
        return phase

    monkeypatch.setattr(beta.arrivals, "seal", robbed)
    refusal = await refused(dispatch(mesh.alpha, "probe", "beta"))
    assert refusal.what == (grpc.StatusCode.FAILED_PRECONDITION, "ARRIVAL_FAILED")
    assert refusal.metadata["cause"] == "ARTIFACT_NOT_FOUND"
    info = await mesh.alpha.client.get("probe")
    assert (info.host, info.state) == ("beta", "quarantined")
    assert path.exists()
    await eventually(lambda: _nothing_arrives(mesh), what="the end of the arrival")
    await mesh.alpha.client.dispose("probe")
    assert (await refused(ask(mesh.alpha.channel, "probe", "Read"))).reason == "PAGLET_NOT_FOUND"


async def _nothing_arrives(mesh: Mesh) -> bool:
    return not await mesh.beta.host.parts.journal.arrivals()
