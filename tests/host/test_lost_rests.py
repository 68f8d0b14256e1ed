"""A rest that its journal has when the directory loses its rows: it is registered as one, and ends as it was to."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import AsyncExitStack, closing, suppress
from pathlib import Path

import grpc
import pytest

from paglet.v1 import rebuild_pb2 as pb
from paglet.v1 import rebuild_pb2_grpc
from paglets.errors import PagletError, UnavailableError
from paglets.values import DeactivationPolicy, PagletState
from tests.host.conftest import Site, site
from tests.host.midway import Midway, do
from tests.host.stage import STAGE
from tests.host.support import PROBE_TYPE, ask, eventually, refused

_KEEP = DeactivationPolicy(activate_on_message=False)


def _lose_rows(folder: Path) -> None:
    """The directory, which host alpha has, forgets the probe and its history."""
    with closing(sqlite3.connect(folder / "alpha" / "directory.db")) as directory, directory:
        directory.execute("DELETE FROM paglets")


async def _rebuild(at: Site) -> None:
    stub: rebuild_pb2_grpc.RebuildServiceAsyncStub = rebuild_pb2_grpc.RebuildServiceStub(at.channel)
    (told,) = [message async for message in stub.RebuildDirectory(pb.RebuildDirectoryRequest())]
    assert [found.outcome for found in told.paglets] == [pb.REBUILD_OUTCOME_REGISTERED]


async def test_rest_that_was_begun_before_the_loss(
    alpha: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host lives on, and the directory that answers again has no row: the rebuild says what the journal says."""
    await alpha.client.create(PROBE_TYPE, paglet_id="probe")

    async def no_answer(*_arguments: object, **_more: object) -> object:
        raise UnavailableError("DIRECTORY_UNAVAILABLE", "no answer comes")

    with monkeypatch.context() as patch:
        patch.setattr(alpha.host.parts.directory, "apply", no_answer)
        resting = asyncio.create_task(_asked(alpha))
        await eventually(lambda: _is_kept(alpha), what="the rest in the journal")
        _lose_rows(tmp_path)
    await resting
    await eventually(lambda: do(alpha.host.residents.get("probe") is None), what="the end of the rest")
    await _rebuild(alpha)
    assert (await alpha.client.get("probe")).state is PagletState.INACTIVE
    assert (await refused(ask(alpha.channel, "probe", "Read"))).reason == "PAGLET_INACTIVE"
    assert (await alpha.client.activate("probe")).state is PagletState.ACTIVE


async def test_time_that_comes_before_the_rebuild_is_kept(
    alpha: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A paglet whose time has come, and that could not be woken without a row, wakes as soon as it has one."""
    await alpha.client.create(PROBE_TYPE, paglet_id="probe")
    await alpha.client.deactivate("probe", _KEEP)
    _lose_rows(tmp_path)
    due = DeactivationPolicy(activate_at=time.time() - 1, activate_on_message=False)
    await alpha.host.parts.journal.dormant.replace("probe", due)
    looked = Midway(monkeypatch, alpha.host.parts.directory, "get", after=True)
    alpha.host.dormant.rearranged("probe")
    await looked.over()
    await _rebuild(alpha)
    await eventually(lambda: do("activated time" in STAGE.notes), what="its time")


async def test_start_that_comes_before_the_rebuild_is_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A paglet that a start brings back, and that had no row at the start, wakes as soon as it has one."""
    policy = DeactivationPolicy(activate_on_startup=True, activate_on_message=False)
    async with AsyncExitStack() as stack:
        alpha = await site(stack, tmp_path, "alpha")
        await alpha.client.create(PROBE_TYPE, paglet_id="probe")
        await alpha.client.deactivate("probe", policy)
    _lose_rows(tmp_path)
    async with AsyncExitStack() as stack:
        again = await site(stack, tmp_path, "alpha")
        await eventually(lambda: do("probe stays inactive" in caplog.text), what="a start in vain")
        await _rebuild(again)
        await eventually(lambda: do("activated startup" in STAGE.notes), what="its return")
        await again.client.deactivate("probe", policy)  # that it was to come back is over
        assert (await again.client.get("probe")).state is PagletState.INACTIVE


async def _asked(at: Site) -> None:
    with suppress(PagletError, grpc.aio.AioRpcError):
        await at.client.deactivate("probe", _KEEP)


async def _is_kept(at: Site) -> bool:
    return await at.host.parts.journal.dormant.ids() == ["probe"]
