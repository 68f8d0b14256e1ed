"""What a paglet has open is closed in its last turn somewhere, and what cannot be closed keeps it there."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from paglets.errors import PagletError, PreconditionError
from paglets.values import PagletState
from tests.host.conftest import Mesh, Site, site
from tests.host.probe import SECRET
from tests.host.stage import STAGE
from tests.host.support import ask
from tests.host.worker import WORKER_TYPE, Worker


@pytest.fixture
async def worker(mesh: Mesh) -> str:
    """A worker on alpha with two things open."""
    await mesh.alpha.client.create(WORKER_TYPE, paglet_id="worker")
    await _ask(mesh.alpha, "open first")
    await _ask(mesh.alpha, "open second")
    return "worker"


async def _ask(alpha: Site, text: str) -> str:
    return (await ask(alpha.channel, "worker", "Ask", text)).text


async def test_core_18_closed_in_reverse_after_the_last_hook(mesh: Mesh, worker: str) -> None:
    """What was opened last is closed first, after `on_dispatching` and in its turn: what a closer writes travels."""
    await _ask(mesh.alpha, "open-thread third")
    STAGE.notes.clear()
    await mesh.alpha.client.dispatch(worker, "beta")
    assert STAGE.notes == ["on_dispatching", "closed third", "closed second", "closed first", "on_arrival"]
    assert (await ask(mesh.beta.channel, worker, "Read")).text == "closed third closed second closed first"
    assert await _ask(mesh.beta, "status") == ""


async def test_core_18_failure_gives_the_move_up(mesh: Mesh, worker: str) -> None:
    """What cannot be closed is named, keeps the paglet where it is, and is tried again at the next move."""
    await _ask(mesh.alpha, "refuse first secretly")
    await _ask(mesh.alpha, "open third")
    with pytest.raises(PreconditionError, match="could not close first") as failed:
        await mesh.alpha.client.dispatch(worker, "beta")
    assert (failed.value.reason, failed.value.metadata["resource"]) == ("HOOK_FAILED", "first")
    assert SECRET not in str(failed.value)
    assert (await ask(mesh.alpha.channel, worker, "Append", "on")).text == "aborted FAILED_PRECONDITION HOOK_FAILED on"
    assert await _ask(mesh.alpha, "status") == "first"
    await _ask(mesh.alpha, "refuse first go ")
    assert (await mesh.alpha.client.dispatch(worker, "beta")).host == "beta"
    assert STAGE.notes.count("closed third") == 1


async def test_core_18_one_without_end_gives_the_move_up(strict: Mesh) -> None:
    """A closer that does not come back is a hook that does not end in time."""
    await strict.alpha.client.create(WORKER_TYPE, paglet_id="worker")
    await _ask(strict.alpha, "open stuck")
    STAGE.hold("close stuck")
    with pytest.raises(PagletError) as late:
        await strict.alpha.client.dispatch("worker", "beta")
    assert late.value.reason == "QUIESCE_TIMEOUT"
    assert await _ask(strict.alpha, "status") == "stuck"


async def test_core_18_suppressed_failure_holds_nothing_up(
    mesh: Mesh, worker: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A failure that was said not to matter is in the log, and the paglet moves."""
    await _ask(mesh.alpha, "open-quiet third")
    await _ask(mesh.alpha, "refuse third secretly")
    assert (await mesh.alpha.client.dispatch(worker, "beta")).host == "beta"
    assert "resource third of paglet worker was not closed" in caplog.text


async def test_core_18_rest_closes_all(mesh: Mesh, worker: str) -> None:
    """A paglet that rests has nothing open; what cannot be closed keeps it awake, its last turn undone."""
    await _ask(mesh.alpha, "refuse first secretly")
    with pytest.raises(PreconditionError, match="could not close first"):
        await mesh.alpha.client.deactivate(worker)
    assert await _ask(mesh.alpha, "status") == "first"
    assert "closed second" not in (await ask(mesh.alpha.channel, worker, "Read")).text
    await _ask(mesh.alpha, "refuse first go ")
    assert (await mesh.alpha.client.deactivate(worker)).state is PagletState.INACTIVE
    assert STAGE.notes.count("closed first") == 2
    assert await _ask(mesh.alpha, "status") == ""


async def test_core_18_clone_closes_nothing(mesh: Mesh, worker: str) -> None:
    """The original keeps what it has open, of which the clone has nothing; being fetched away closes it."""
    STAGE.notes.clear()
    clone = await mesh.alpha.client.clone(worker, "beta")
    assert await _ask(mesh.alpha, "status") == "first second"
    assert (await ask(mesh.beta.channel, clone.paglet_id, "Ask", "status")).text == ""
    assert not [note for note in STAGE.notes if note.startswith("closed")]
    await mesh.beta.client.retract(worker)
    assert [note for note in STAGE.notes if note.startswith("closed")] == ["closed second", "closed first"]


async def test_core_18_end_of_the_paglet_closes_all(mesh: Mesh, worker: str) -> None:
    """A disposal tries everything, and ends the paglet whatever fails."""
    await _ask(mesh.alpha, "refuse second secretly")
    STAGE.notes.clear()
    await mesh.alpha.client.dispose(worker)
    assert STAGE.notes == ["disposing", "closed second", "closed first"]


async def test_core_18_end_of_the_host_closes_all(tmp_path: Path) -> None:
    """A host that ends closes what its paglets have open."""
    async with AsyncExitStack() as stack:
        alpha = await site(stack, tmp_path, "alpha")
        await alpha.client.create(WORKER_TYPE, paglet_id="worker")
        await _ask(alpha, "open first")
    assert STAGE.notes[-2:] == ["on_deactivating", "closed first"]


async def test_refused_creation_closes_what_it_opened(alpha: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A paglet that was never born leaves nothing open."""

    async def on_creation(found: Worker, _event: object) -> None:
        found.resources.register("first", lambda: STAGE.note("closed first"))
        raise ValueError(SECRET)

    monkeypatch.setattr(Worker, "on_creation", on_creation)
    with pytest.raises(PreconditionError, match="on_creation failed"):
        await alpha.client.create(WORKER_TYPE, paglet_id="worker")
    assert STAGE.notes == ["closed first"]


async def test_failed_activation_closes_what_it_opened(alpha: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A paglet that stays inactive leaves nothing open."""
    await alpha.client.create(WORKER_TYPE, paglet_id="worker")
    await alpha.client.deactivate("worker")
    STAGE.notes.clear()

    async def on_activation(found: Worker, _event: object) -> None:
        found.resources.register("first", lambda: STAGE.note("closed first"))
        raise ValueError(SECRET)

    monkeypatch.setattr(Worker, "on_activation", on_activation)
    with pytest.raises(PreconditionError, match="on_activation failed"):
        await alpha.client.activate("worker")
    assert STAGE.notes == ["closed first"]
