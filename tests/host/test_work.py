"""A paglet's work folder: its own, kept while it stays, and never found by anybody after it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from paglets.errors import ConflictError
from paglets.host.work import WorkFolders
from tests.host.conftest import Mesh, Site, site
from tests.host.midway import do
from tests.host.support import ask, eventually, refused
from tests.host.worker import WORKER_TYPE, Worker


@pytest.fixture
async def worker(mesh: Mesh) -> str:
    """A worker on alpha that left something in its folder."""
    await mesh.alpha.client.create(WORKER_TYPE, paglet_id="worker")
    await _ask(mesh.alpha, "scratch mine")
    return "worker"


async def _ask(site: Site, text: str) -> str:
    return (await ask(site.channel, "worker", "Ask", text)).text


def _left(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "work").iterdir())


async def test_goes_when_the_paglet_leaves(mesh: Mesh, worker: str, tmp_path: Path) -> None:
    """A folder does not travel, and a paglet that comes back finds it gone."""
    await mesh.alpha.client.dispatch(worker, "beta")
    assert await _ask(mesh.beta, "scratched") == "nothing"
    await _ask(mesh.beta, "scratch other")
    await mesh.beta.client.dispatch(worker, "alpha")
    assert await _ask(mesh.alpha, "scratched") == "nothing"
    await eventually(lambda: do(_left(tmp_path / "alpha") == ["worker"]))
    await eventually(lambda: do(_left(tmp_path / "beta") == []))


async def test_stays_when_a_move_is_given_up(mesh: Mesh, worker: str) -> None:
    """A paglet whose move came to nothing has its folder as it was."""
    await _ask(mesh.alpha, "refuse check_arrival refused")
    with pytest.raises(Exception, match="check_arrival says no"):
        await mesh.alpha.client.dispatch(worker, "beta")
    assert await _ask(mesh.alpha, "scratched") == "mine"


async def test_goes_when_the_paglet_ends(mesh: Mesh, worker: str, tmp_path: Path) -> None:
    """A later paglet of the same id does not find it."""
    await mesh.alpha.client.dispose(worker)
    await mesh.alpha.client.create(WORKER_TYPE, paglet_id=worker)
    assert await _ask(mesh.alpha, "scratched") == "nothing"
    await mesh.alpha.client.deactivate(worker)
    await mesh.alpha.client.dispose(worker)
    await eventually(lambda: do(_left(tmp_path / "alpha") == []))


async def test_stays_over_rest_and_restart(tmp_path: Path) -> None:
    """A paglet that rests, or whose host is started again, has its folder as it was."""
    async with AsyncExitStack() as first:
        alpha = await site(first, tmp_path, "alpha")
        await alpha.client.create(WORKER_TYPE, paglet_id="worker")
        await _ask(alpha, "scratch mine")
        await alpha.client.deactivate("worker")
        assert await _ask(alpha, "scratched") == "mine"
        await alpha.client.deactivate("worker")
    async with AsyncExitStack() as second:
        alpha = await site(second, tmp_path, "alpha")
        assert await _ask(alpha, "scratched") == "mine"
    async with AsyncExitStack() as third:
        alpha = await site(third, tmp_path, "alpha")
        assert await _ask(alpha, "scratched") == "mine"
        await alpha.client.dispose("worker")
        await eventually(lambda: do(_left(tmp_path / "alpha") == []))


async def test_life_1_refused_creation_leaves_none(
    alpha: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A paglet that was never born leaves nothing behind."""

    async def on_creation(found: Worker, _event: object) -> None:
        (await found.work_folder() / "scratch").write_text("never")
        raise ValueError

    with monkeypatch.context() as patch:
        patch.setattr(Worker, "on_creation", on_creation)
        with pytest.raises(Exception, match="on_creation failed"):
            await alpha.client.create(WORKER_TYPE, paglet_id="worker")
    await alpha.client.create(WORKER_TYPE, paglet_id="worker")
    assert await _ask(alpha, "scratched") == "nothing"
    await eventually(lambda: do(_left(tmp_path / "alpha") == ["worker"]))


@pytest.mark.parametrize("mode", ["copy", "move"])
async def test_file_of_the_folder_travels_when_registered(mesh: Mesh, worker: str, mode: str) -> None:
    """A file of the folder can be registered like any other, and one that came be put there."""
    await _ask(mesh.alpha, f"take-scratch {mode}")
    await mesh.alpha.client.dispatch(worker, "beta")
    await _ask(mesh.beta, "give-scratch")
    assert await _ask(mesh.beta, "scratched") == "mine"


async def test_only_its_own(mesh: Mesh, worker: str, tmp_path: Path) -> None:
    """The folder of another paglet is no more open than any other place."""
    await mesh.alpha.client.create(WORKER_TYPE, paglet_id="thief")
    path = tmp_path / "alpha" / "work" / worker / "scratch"
    for way in (str(path), str(path.parent.parent / "thief" / ".." / worker / "scratch")):
        refusal = await refused(ask(mesh.alpha.channel, "thief", "Ask", f"copy {way}"))
        assert refusal.reason == "PATH_OUTSIDE_ROOTS"


@pytest.fixture
async def killed(tmp_path: Path) -> AsyncIterator[WorkFolders]:
    """The folders of a host that was killed while it was decided whether `here` is to leave; `there` just stayed."""
    before = WorkFolders(tmp_path / "work")
    for paglet_id in ("here", "there"):
        (await before.make(paglet_id) / "scratch").write_text(paglet_id)
    async with before.leaving("here"):
        after = WorkFolders(tmp_path / "work")
        yield after
        await after.close()


async def test_killed_while_it_was_decided(killed: WorkFolders, tmp_path: Path) -> None:
    """After a kill in the middle of a commit a paglet that stayed has its folder back."""
    await killed.recover(lambda _: True)
    assert _left(tmp_path) == ["here", "there"]
    assert (await killed.make("here") / "scratch").read_text() == "here"


async def test_killed_when_it_was_decided(killed: WorkFolders, tmp_path: Path) -> None:
    """After a kill just after a commit the folders of paglets that have left are removed."""
    await killed.recover(lambda found: found == "there")
    await eventually(lambda: do(_left(tmp_path) == ["there"]))
    await killed.recover(lambda _: False)
    await eventually(lambda: do(_left(tmp_path) == []))


async def test_decision_that_fails(tmp_path: Path) -> None:
    """While it is decided the folder is nobody's; a paglet that stays has it back."""
    folders = WorkFolders(tmp_path / "work")
    (await folders.make("p") / "scratch").write_text("mine")

    async def decide() -> None:
        async with folders.leaving("p"):
            assert not folders.where("p").exists()
            raise ConflictError("EPOCH_FENCED", "of the test")

    with pytest.raises(ConflictError):
        await decide()
    assert (await folders.make("p") / "scratch").read_text() == "mine"
    async with folders.leaving("p"):
        pass
    assert list((await folders.make("p")).iterdir()) == []
    await folders.drop("p")
    await folders.drop("p")
    await folders.close()
    assert _left(tmp_path) == []
