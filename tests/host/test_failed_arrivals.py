"""A paglet whose arrival failed is not stuck: it moves on, or back, and its arrival is tried there."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from paglets.directory.rules import MAX_ERROR_CHARS
from paglets.errors import PagletError, PreconditionError
from paglets.values import PagletState, TransferTicket
from tests.host.conftest import Mesh
from tests.host.probe import Probe
from tests.host.support import ask, eventually
from tests.host.unharmed import CONTENT, probe_with_file, row_of


async def _failed_at_beta(mesh: Mesh) -> Path:
    path = await probe_with_file(mesh, "move")
    await ask(mesh.alpha.channel, "probe", "Ask", "refuse on_arrival@beta refused")
    with pytest.raises(PagletError, match="its arrival failed"):
        await mesh.alpha.client.dispatch("probe", "beta")
    assert (await row_of(mesh)).state is PagletState.FAILED
    return path


@pytest.mark.parametrize("how", ["dispatch", "retract"])
async def test_moves_on(mesh: Mesh, how: str) -> None:
    """Its arrival turn is run where it comes to, and it takes turns again; the error is gone, the file is not."""
    await _failed_at_beta(mesh)
    client = mesh.alpha.client
    moved = await (client.dispatch("probe", "alpha") if how == "dispatch" else client.retract("probe"))
    assert (moved.host, moved.state, moved.error) == ("alpha", PagletState.ACTIVE, "")
    assert (await ask(mesh.beta.channel, "probe", "Append", "b")).text == "a b"
    (file,) = (await mesh.alpha.host.parts.journal.belongings("probe")).files
    assert await asyncio.to_thread(Path(file.path).read_bytes) == CONTENT
    await eventually(lambda: _is_forgotten(mesh), what="the end of it at beta")


async def test_fails_again(mesh: Mesh) -> None:
    """Where its arrival fails too it is FAILED there, with the new error."""
    await _failed_at_beta(mesh)
    await mesh.alpha.client.retract("probe")
    await ask(mesh.alpha.channel, "probe", "Ask", "refuse on_arrival@alpha refused")
    for target in ("beta", "alpha"):
        with pytest.raises(PagletError) as caught:
            await mesh.alpha.client.dispatch("probe", target)
        assert caught.value.metadata["host"] == target
    row = await row_of(mesh)
    assert (row.owner, row.state, row.error) == ("alpha", PagletState.FAILED, "on_arrival@alpha says no")


@pytest.mark.parametrize("message", ["x" * 5_000_000, "no text \ud800", 5], ids=["long", "broken", "none"])
@pytest.mark.parametrize("clone", [False, True], ids=["moved", "cloned"])
async def test_error_that_no_message_holds(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch, message: str, *, clone: bool
) -> None:
    """Whatever an author says of the failure, every host is told of it, by as much of that as can be told."""

    async def first_turn(_probe: Probe, _event: object) -> None:
        raise PreconditionError("TASK_RUNNING", message, metadata={"why": message})

    monkeypatch.setattr(Probe, "on_clone" if clone else "on_arrival", first_turn)
    await mesh.probe()
    client = mesh.alpha.client
    with pytest.raises(PagletError) as caught:
        await (client.clone if clone else client.dispatch)("probe", "beta")
    assert (caught.value.reason, caught.value.metadata["host"]) == ("ARRIVAL_FAILED", "beta")
    (failed,) = [found async for found in client.list(host="beta")]
    assert failed.state is PagletState.FAILED
    assert 0 < len(failed.error) <= MAX_ERROR_CHARS
    await mesh.beta.client.dispose(failed.paglet_id)


async def test_journey_that_is_given_up_leaves_it_failed(mesh: Mesh) -> None:
    """Refused at the target it is what it was: FAILED with its error, it reads, and refuses turns."""
    await _failed_at_beta(mesh)
    before = await row_of(mesh)
    with pytest.raises(PagletError) as caught:
        await mesh.alpha.client.dispatch("probe", "alpha", ticket=TransferTicket(state_version=9))
    assert caught.value.reason == "STATE_VERSION_UNSUPPORTED"
    after = await row_of(mesh)
    assert (after.owner, after.state, after.error) == ("beta", PagletState.FAILED, before.error)
    assert after.epoch == before.epoch + 1
    assert (await ask(mesh.alpha.channel, "probe", "Read")).text.startswith("a")
    with pytest.raises(PagletError) as caught:
        await mesh.alpha.client.dispatch("probe", "alpha", ticket=TransferTicket(required_types=("shop.Cart",)))
    assert (await row_of(mesh)).state is PagletState.FAILED
    assert (await mesh.beta.client.activate("probe")).state is PagletState.ACTIVE


async def _is_forgotten(mesh: Mesh) -> bool:
    return await mesh.beta.host.parts.journal.paglet("probe") is None
