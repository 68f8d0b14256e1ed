"""Lives of one id that overlap, or follow each other closely: none harms what belongs to another."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import grpc
import pytest

from paglet.v1 import lifecycle_pb2, lifecycle_pb2_grpc
from paglets.artifacts.store import ArtifactQuery
from paglets.client.directory import RemoteDirectory
from paglets.core.events import CreationEvent
from paglets.directory.contract import PagletRow, RowWrite
from paglets.values import PagletState
from tests.host.conftest import Mesh, Site, site
from tests.host.midway import Midway, do
from tests.host.probe import Probe
from tests.host.stage import STAGE
from tests.host.support import PROBE_TYPE, ask, eventually, refused
from tests.host.unharmed import dispatch, probe_with_file


@pytest.fixture
async def late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Mesh]:
    """Two hosts, the second of which hears of the end of a probe only when the stage lets it."""
    real: Callable[[RemoteDirectory, int], AsyncIterator[PagletRow]] = RemoteDirectory.watch

    async def watch(self: RemoteDirectory, after_revision: int) -> AsyncIterator[PagletRow]:
        async for row in real(self, after_revision):
            if row.state is PagletState.DISPOSED:
                await STAGE.at(f"{row.paglet_id} ended")
            yield row

    monkeypatch.setattr(RemoteDirectory, "watch", watch)
    async with AsyncExitStack() as stack:
        alpha = await site(stack, tmp_path, "alpha")
        yield Mesh(alpha, await site(stack, tmp_path, "beta", join=alpha.running.address))
        STAGE.clear()


@pytest.mark.parametrize("where", ["told", "deleting"])
async def test_late_tombstone_spares_what_a_later_life_owns(
    late: Mesh, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """A host that is late with the end of a paglet deletes nothing of the next one of the same id, which came to it."""
    store = late.beta.host.parts.store
    deleting = Midway(monkeypatch, store, "delete_owner", which=partial(operator.eq, "probe"))
    later = Midway(monkeypatch, late.beta.host.endings, "delete_with_owner", which=partial(operator.eq, "other"))
    if where == "told":
        STAGE.hold("probe ended")
    else:
        deleting.hold()
    await late.probe()
    await late.alpha.client.dispose("probe")
    await (STAGE.reached("probe ended") if where == "told" else deleting.called())
    path = await probe_with_file(late, mode="move")
    await dispatch(late.alpha, "probe", "beta")
    await eventually(lambda: do(not path.exists()), what="the end of the source")
    STAGE.release("probe ended")
    deleting.release()
    await late.alpha.client.create(PROBE_TYPE, paglet_id="other")
    await late.alpha.client.dispose("other")
    await later.over()
    assert len((await store.list(ArtifactQuery(owner="probe"))).refs) == 1
    assert (await ask(late.beta.channel, "probe", "Append", "b")).text == "a b"


@pytest.mark.parametrize("where", ["on_creation", "directory"])
@pytest.mark.parametrize("request_id", ["", "c-1"])
async def test_creation_that_loses_leaves_the_arrived_paglet_alone(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch, request_id: str, where: str
) -> None:
    """A creation that the arrival of a paglet of its id overtakes is refused, before and after its own journal row."""

    async def birth(_probe: Probe, event: CreationEvent) -> None:
        await STAGE.at(f"birth at {event.host}")

    monkeypatch.setattr(Probe, "on_creation", birth)
    inserting = Midway(monkeypatch, mesh.alpha.host.parts.directory, "apply", which=_is_birth_at_alpha)
    if where == "directory":
        inserting.hold()
    else:
        STAGE.hold("birth at alpha")
    request = lifecycle_pb2.CreatePagletRequest(type=PROBE_TYPE, paglet_id="probe", request_id=request_id)
    alpha = mesh.alpha.host
    creating = asyncio.create_task(refused(_create(mesh.alpha, request)))
    await (inserting.called() if where == "directory" else STAGE.reached("birth at alpha"))
    await _create(mesh.beta, lifecycle_pb2.CreatePagletRequest(type=PROBE_TYPE, paglet_id="probe"))
    await ask(mesh.beta.channel, "probe", "Append", "a", request_id="r-1")
    await dispatch(mesh.beta, "probe", "alpha")
    arrived, kept = alpha.residents.get("probe"), await alpha.parts.journal.paglet("probe")
    STAGE.release("birth at alpha")
    inserting.release()
    assert (await creating).what == (grpc.StatusCode.ALREADY_EXISTS, "PAGLET_EXISTS")
    assert alpha.residents.get("probe") is arrived
    assert await alpha.parts.journal.paglet("probe") == kept
    assert (await ask(mesh.alpha.channel, "probe", "Append", "b")).text == "a b"
    assert (await ask(mesh.alpha.channel, "probe", "Append", "a", request_id="r-1")).replayed
    assert len(await alpha.parts.journal.replies("probe")) == 1


def _is_birth_at_alpha(writes: Sequence[RowWrite]) -> bool:
    return any(write.guard.absent and write.row.owner == "alpha" for write in writes)


async def _create(at: Site, request: lifecycle_pb2.CreatePagletRequest) -> None:
    await lifecycle_pb2_grpc.LifecycleServiceStub(at.channel).CreatePaglet(request, timeout=20)


async def test_late_duplicates_of_an_earlier_life_do_nothing(late: Mesh) -> None:
    """Requests that created and ended one life of an id neither create nor end another, however late they come."""
    stub = lifecycle_pb2_grpc.LifecycleServiceStub(late.alpha.channel)
    first = lifecycle_pb2.CreatePagletRequest(type=PROBE_TYPE, paglet_id="probe", request_id="c1")
    end = lifecycle_pb2.DisposePagletRequest(paglet_id="probe", request_id="d1")
    await stub.CreatePaglet(first)
    await stub.DisposePaglet(end)
    assert (await refused(stub.CreatePaglet(first))).reason == "ILLEGAL_TRANSITION"
    await stub.DisposePaglet(end)
    second = lifecycle_pb2.CreatePagletRequest(type=PROBE_TYPE, paglet_id="probe", request_id="c2")
    await stub.CreatePaglet(second)
    await stub.DisposePaglet(end)
    assert (await ask(late.alpha.channel, "probe", "Append", "a")).text == "a"
    assert (await refused(stub.CreatePaglet(first))).reason == "PAGLET_EXISTS"
    assert (await stub.CreatePaglet(second)).paglet.paglet_id == "probe"
