"""An end that the directory knows of, and that a kill cut before its host had forgotten the paglet."""

from __future__ import annotations

import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from paglets import faults
from paglets.artifacts.store import ArtifactQuery
from paglets.client.directory import RemoteDirectory
from paglets.directory.contract import PagletRow, RowWrite
from paglets.errors import ConflictError, UnavailableError
from paglets.values import DeactivationPolicy, PagletState
from tests.host.conftest import Mesh, Site, site
from tests.host.midway import do
from tests.host.posts import post, ran
from tests.host.support import PROBE_TYPE, ask, eventually
from tests.host.unharmed import dispatch, probe_with_file
from tests.host.worker import WORKER_TYPE

_KEEP = DeactivationPolicy(activate_on_message=False)


@pytest.fixture
async def alpha(tmp_path: Path) -> AsyncIterator[Site]:
    """The directory's host."""
    async with AsyncExitStack() as stack:
        yield await site(stack, tmp_path, "alpha")


@asynccontextmanager
async def _beta(folder: Path, alpha: Site) -> AsyncGenerator[Site]:
    async with AsyncExitStack() as stack:
        yield await site(stack, folder, "beta", join=alpha.running.address)


async def _cut_end(at: Site, folder: Path, paglet_id: str, where: str = "directory.apply.after") -> None:
    """Ends a paglet; what a kill at a point would leave of its host is what the next host of `folder` begins with."""
    now, left = folder / "beta", folder / "left"

    def passed(name: str) -> None:
        if name == where and not left.exists():
            shutil.copytree(now, left)

    faults.arm(passed)
    await at.client.dispose(paglet_id)
    faults.arm(None)


@asynccontextmanager
async def _dying(folder: Path, alpha: Site) -> AsyncGenerator[Site]:
    """Host beta, which its directory does not tell of ends: it is to be killed before it could hear of them."""
    real: Callable[[RemoteDirectory, int], AsyncIterator[PagletRow]] = RemoteDirectory.watch

    async def watch(directory: RemoteDirectory, after_revision: int) -> AsyncIterator[PagletRow]:
        async for row in real(directory, after_revision):
            if row.state is not PagletState.DISPOSED:
                yield row

    with pytest.MonkeyPatch().context() as patch:
        patch.setattr(RemoteDirectory, "watch", watch)
        async with _beta(folder, alpha) as beta:
            yield beta
    shutil.rmtree(folder / "beta")
    (folder / "left").rename(folder / "beta")


async def _has_nothing(at: Site, paglet_id: str) -> None:
    async def look() -> bool:
        kept = await at.host.parts.journal.paglet_ids()
        return paglet_id not in [*kept, *await at.host.parts.journal.dormant.ids()]

    await eventually(look, what=f"nothing of {paglet_id}")


async def test_resting_paglet_is_not_taken_for_a_later_one(alpha: Site, tmp_path: Path) -> None:
    """What is asked of the later one by way of the host that had the earlier comes to the later one."""
    async with _dying(tmp_path, alpha) as beta:
        await beta.client.create(PROBE_TYPE, paglet_id="probe")
        await ask(beta.channel, "probe", "Append", "earlier")
        await beta.client.deactivate("probe", _KEEP)
        await _cut_end(beta, tmp_path, "probe")
    await alpha.client.create(PROBE_TYPE, paglet_id="probe")
    async with _beta(tmp_path, alpha) as beta:
        assert "earlier" not in await beta.client.state("probe")
        await post(beta.channel, "probe", "Append", "later")
        await ran(alpha, "probe", "later")
        assert (await beta.client.deactivate("probe")).state is PagletState.INACTIVE
        await _has_nothing(beta, "probe")


@pytest.mark.parametrize("again", [False, True])
async def test_resting_paglet_is_forgotten(alpha: Site, tmp_path: Path, *, again: bool) -> None:
    """Though nobody asks for it, and also where its id is used again."""
    async with _dying(tmp_path, alpha) as beta:
        await beta.client.create(PROBE_TYPE, paglet_id="probe")
        await beta.client.deactivate("probe", _KEEP)
        await _cut_end(beta, tmp_path, "probe")
    if again:
        await alpha.client.create(PROBE_TYPE, paglet_id="probe")
    async with _beta(tmp_path, alpha) as beta:
        await _has_nothing(beta, "probe")


@pytest.mark.parametrize("back", [False, True])
async def test_later_paglet_finds_no_work_folder(alpha: Site, tmp_path: Path, *, back: bool) -> None:
    """One that is created where the earlier one rested, or comes there, finds nothing that it left."""
    async with _dying(tmp_path, alpha) as beta:
        await beta.client.create(WORKER_TYPE, paglet_id="worker")
        await ask(beta.channel, "worker", "Ask", "scratch earlier")
        await beta.client.deactivate("worker", _KEEP)
        await _cut_end(beta, tmp_path, "worker")
    async with _beta(tmp_path, alpha) as beta:
        await (alpha if back else beta).client.create(WORKER_TYPE, paglet_id="worker")
        if back:
            await dispatch(alpha, "worker", "beta")
        assert (await ask(beta.channel, "worker", "Ask", "scratched")).text == "nothing"


@pytest.mark.parametrize("where", ["directory.apply.after", "dispose.directory.after", "dispose.journal.after"])
async def test_files_that_came_along_go(alpha: Site, tmp_path: Path, where: str) -> None:
    """Also where the id is used again before the host is back: nobody else knows their names."""
    async with _dying(tmp_path, alpha) as beta:
        await probe_with_file(Mesh(alpha, beta))
        await dispatch(alpha, "probe", "beta")
        await _cut_end(beta, tmp_path, "probe", where)
    await alpha.client.create(PROBE_TYPE, paglet_id="probe")
    async with _beta(tmp_path, alpha) as beta:
        await _has_nothing(beta, "probe")
        await eventually(lambda: _has_no_artifacts(beta), what="no artifacts")


async def _has_no_artifacts(at: Site) -> bool:
    return not (await at.host.parts.store.list(ArtifactQuery())).refs


@pytest.mark.parametrize("rests", [False, True])
async def test_end_without_an_answer_leaves_nothing(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch, *, rests: bool
) -> None:
    """Where the id is used again before the host can find out that the end was written, it forgets what it had."""
    alpha, beta, apply = mesh.alpha, mesh.beta, mesh.beta.host.parts.directory.apply
    await beta.client.create(WORKER_TYPE, paglet_id="worker")
    await ask(beta.channel, "worker", "Ask", "scratch earlier")
    if rests:
        await beta.client.deactivate("worker", _KEEP)

    async def lost(writes: Sequence[RowWrite], **_more: object) -> Sequence[PagletRow]:
        await apply(writes)
        monkeypatch.setattr(beta.host.parts.directory, "apply", apply)
        await alpha.client.create(WORKER_TYPE, paglet_id="worker")
        raise UnavailableError("DIRECTORY_UNAVAILABLE", "no answer comes")

    monkeypatch.setattr(beta.host.parts.directory, "apply", lost)
    with pytest.raises(ConflictError):
        await beta.client.dispose("worker")
    await _has_nothing(beta, "worker")
    await eventually(lambda: do(not beta.host.parts.work.where("worker").exists()), what="no work folder")
    await dispatch(alpha, "worker", "beta")
    assert (await ask(beta.channel, "worker", "Ask", "scratched")).text == "nothing"
