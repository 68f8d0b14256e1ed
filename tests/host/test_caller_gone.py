"""Callers who go away: what they began is finished without them, and their duplicates are none the worse."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from paglet.v1 import lifecycle_pb2, lifecycle_pb2_grpc
from paglets.core.events import DisposalEvent
from paglets.directory.contract import PagletRow
from paglets.host import push
from paglets.values import PagletState
from tests.host.conftest import Mesh, Site
from tests.host.midway import Midway, do
from tests.host.probe import Probe
from tests.host.stage import STAGE
from tests.host.support import PROBE_TYPE, ask, eventually, refused
from tests.host.unharmed import dispatch, row_of


@pytest.mark.parametrize("where", ["on_creation", "directory"])
@pytest.mark.parametrize("request_id", ["", "c-1"])
async def test_life_1_create_is_finished_without_its_caller(
    alpha: Site, monkeypatch: pytest.MonkeyPatch, where: str, request_id: str
) -> None:
    """A paglet whose creator went away during its first turn, or after the commit, is served and kept all the same."""
    creating = Midway(monkeypatch, alpha.host, "create")
    applied = Midway(monkeypatch, alpha.host.parts.directory, "apply", after=True)
    if where == "directory":
        applied.hold()
    else:
        STAGE.hold("on_creation")
    request = lifecycle_pb2.CreatePagletRequest(type=PROBE_TYPE, paglet_id="probe", request_id=request_id)
    caller = _lifecycle(alpha).CreatePaglet(request)
    await (applied.called() if where == "directory" else STAGE.reached("on_creation"))
    caller.cancel()
    await creating.gone()
    applied.release()
    STAGE.release("on_creation")
    await eventually(lambda: do(alpha.host.residents.get("probe") is not None), what="the paglet")
    assert (await ask(alpha.channel, "probe", "Append", "a", timeout_s=5)).text == "a"
    kept, row = await alpha.host.parts.journal.paglet("probe"), await alpha.host.parts.directory.get("probe")
    assert kept is not None
    assert row is not None
    assert kept.epoch == row.epoch > 0
    if request_id:
        assert (await _lifecycle(alpha).CreatePaglet(request)).paglet.epoch == row.epoch


@pytest.mark.parametrize("where", ["on_disposing", "directory"])
async def test_life_11_dispose_is_finished_without_its_caller(
    alpha: Site, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """A paglet whose end was asked for by somebody who went away ends: nobody waits for it for good."""

    async def last_turn(_probe: Probe, _event: DisposalEvent) -> None:
        await STAGE.at("on_disposing")

    monkeypatch.setattr(Probe, "on_disposing", last_turn)
    await alpha.client.create(PROBE_TYPE, paglet_id="probe")
    ending = Midway(monkeypatch, alpha.host.endings, "end")
    applied = Midway(monkeypatch, alpha.host.parts.directory, "apply", after=True)
    if where == "directory":
        applied.hold()
    else:
        STAGE.hold("on_disposing")
    caller = _lifecycle(alpha).DisposePaglet(lifecycle_pb2.DisposePagletRequest(paglet_id="probe"))
    await (applied.called() if where == "directory" else STAGE.reached("on_disposing"))
    waiting = asyncio.create_task(refused(ask(alpha.channel, "probe", "Append", "a", timeout_s=5)))
    caller.cancel()
    await ending.gone()
    applied.release()
    STAGE.release("on_disposing")
    assert (await waiting).what == (grpc.StatusCode.NOT_FOUND, "PAGLET_NOT_FOUND")
    assert alpha.host.residents.get("probe") is None
    assert (await refused(ask(alpha.channel, "probe", "Read"))).reason == "PAGLET_NOT_FOUND"
    await eventually(lambda: _forgotten(alpha), what="an empty journal")


async def test_retry_joins_the_move_of_a_caller_who_went_away(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """A move goes on without the caller who began it, and its retry has the outcome."""
    await mesh.probe()
    moving = Midway(monkeypatch, mesh.alpha.host.requests, "dispatch")
    looking = Midway(monkeypatch, mesh.alpha.host.parts.peers, "online").hold()
    first = asyncio.create_task(dispatch(mesh.alpha, "probe", "beta", request_id="m-1"))
    await looking.called()
    retry = asyncio.create_task(dispatch(mesh.alpha, "probe", "beta", request_id="m-1"))
    await moving.called(2)
    first.cancel()
    await moving.gone(0)
    looking.release()
    await retry
    assert (await mesh.alpha.client.get("probe")).host == "beta"
    assert STAGE.notes.count("on_arrival") == 1


async def test_offer_whose_source_gave_up_is_not_kept(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """An offer that becomes durable after its journey was given up is dropped by the target itself."""
    await mesh.probe()
    monkeypatch.setattr(push, "_PEER_S", 0.3)
    beta = mesh.beta.host
    preparing = Midway(monkeypatch, beta.arrivals, "prepare")
    keeping = Midway(monkeypatch, beta.parts.journal, "put_arrival").hold()
    aborted = Midway(monkeypatch, beta.arrivals, "abort")
    told: list[PagletState] = []
    changed = beta.arrivals.row_changed

    def row_changed(row: PagletRow) -> None:
        told.append(row.state)
        changed(row)

    monkeypatch.setattr(beta.arrivals, "row_changed", row_changed)
    refusal = await refused(dispatch(mesh.alpha, "probe", "beta"))
    assert refusal.what == (grpc.StatusCode.UNAVAILABLE, "HOST_UNREACHABLE")
    await preparing.gone()
    await aborted.over()
    assert (await row_of(mesh)).intent is None
    await eventually(lambda: do(told[-1:] == [PagletState.ACTIVE]), what="the row without the intent")
    keeping.release()
    await keeping.over()
    await eventually(lambda: _nothing_arrives(mesh.beta), what="an end of the offer")
    assert beta.arrivals.of_paglet("probe") is None
    assert (await ask(mesh.alpha.channel, "probe", "Read")).text == "aborted UNAVAILABLE HOST_UNREACHABLE"


async def test_thread_keeps_its_turn_when_its_caller_went_away(alpha: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A `def` handler whose caller went away is alone until its thread ends; then the next turn begins."""
    await alpha.client.create(PROBE_TYPE, paglet_id="probe")
    resident = alpha.host.residents.get("probe")
    assert resident is not None
    calls = Midway(monkeypatch, resident.calls, "answer")
    STAGE.hold("first")
    first = asyncio.create_task(ask(alpha.channel, "probe", "HoldInThread", "first"))
    await STAGE.reached("first")
    first.cancel()
    await calls.gone()
    second = asyncio.create_task(ask(alpha.channel, "probe", "HoldInThread", "second"))
    await eventually(lambda: do(resident.gate.waiting == 1 or second.done()))
    assert not second.done()
    STAGE.release("first")
    assert (await second).text == "second< >second"


async def test_duplicate_has_a_deadline_of_its_own(alpha: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A duplicate that joined a request which waits gets its turn after the first caller's deadline has passed."""
    await alpha.client.create(PROBE_TYPE, paglet_id="probe")
    resident = alpha.host.residents.get("probe")
    assert resident is not None
    calls, entered = Midway(monkeypatch, resident.calls, "answer"), Midway(monkeypatch, resident.gate, "enter")
    STAGE.hold("long")
    turn = asyncio.create_task(ask(alpha.channel, "probe", "Hold", "long"))
    await STAGE.reached("long")
    first = asyncio.create_task(refused(ask(alpha.channel, "probe", "Append", "a", request_id="r-1", timeout_s=0.6)))
    await calls.called(2)
    retry = asyncio.create_task(ask(alpha.channel, "probe", "Append", "a", request_id="r-1"))
    await calls.called(3)
    assert (await first).what[0] is grpc.StatusCode.DEADLINE_EXCEEDED
    await eventually(lambda: do(len(entered.callers) == 3 or retry.done()), what="a turn for the retry")
    STAGE.release("long")
    assert (await retry).text == "long< >long a"
    await turn
    assert STAGE.notes.count("append a") == 1


def _lifecycle(at: Site) -> lifecycle_pb2_grpc.LifecycleServiceAsyncStub:
    return lifecycle_pb2_grpc.LifecycleServiceStub(at.channel)


async def _forgotten(at: Site) -> bool:
    return await at.host.parts.journal.paglet("probe") is None


async def _nothing_arrives(at: Site) -> bool:
    return not await at.host.parts.journal.arrivals()
