"""A paglet whose ticket says so arrives at rest: kept whole, no hook is run, and its policy brings it back."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from paglets.values import ArrivalMode, DeactivationPolicy, PagletState, TransferTicket
from tests.host.conftest import Mesh
from tests.host.midway import Midway
from tests.host.posts import closed, post
from tests.host.stage import STAGE
from tests.host.support import ask, eventually, new_request, refused
from tests.host.unharmed import CONTENT, probe_with_file

_AT_REST = TransferTicket(arrival=ArrivalMode.INACTIVE)
_KEPT = TransferTicket(arrival=ArrivalMode.INACTIVE, policy=DeactivationPolicy(activate_on_message=False))


async def test_tick_4_arrives_at_rest(mesh: Mesh) -> None:
    """It is INACTIVE at the target with state and files, the moved source is gone; then a call wakes it."""
    path = await probe_with_file(mesh, "move")
    moved = await mesh.alpha.client.dispatch("probe", "beta", ticket=_AT_REST)
    assert (moved.host, moved.state) == ("beta", PagletState.INACTIVE)
    assert mesh.beta.host.residents.get("probe") is None
    assert [note for note in STAGE.notes if note.startswith("on_")] == ["on_creation", "on_dispatching"]
    await eventually(lambda: _is_gone(path), what="the end of the moved source")
    (file,) = (await mesh.beta.host.parts.journal.belongings("probe")).files
    assert await asyncio.to_thread(Path(file.path).read_bytes) == CONTENT
    assert (await ask(mesh.alpha.channel, "probe", "Append", "b")).text == "a woken b"
    assert STAGE.notes[-3:] == ["activated message", "on_activation", "append b"]

    async def is_forgotten() -> bool:
        return await mesh.alpha.host.parts.journal.paglet("probe") is None

    await eventually(is_forgotten, what="the source's forgetting")


async def test_tick_4_policy_comes_along(mesh: Mesh) -> None:
    """What the ticket says, and nothing else, brings it back."""
    await mesh.probe()
    await mesh.alpha.client.dispatch("probe", "beta", ticket=_KEPT)
    refusal = await refused(ask(mesh.alpha.channel, "probe", "Read"))
    assert refusal.reason == "PAGLET_INACTIVE"
    assert await mesh.beta.host.parts.journal.dormant.policy("probe") == _KEPT.policy
    assert (await mesh.alpha.client.activate("probe")).state is PagletState.ACTIVE


@pytest.mark.parametrize("ticket", [_AT_REST, _KEPT])
async def test_tick_4_posts_that_came_along(mesh: Mesh, ticket: TransferTicket) -> None:
    """Posts that waited for it at the source bring it back at the target, if its policy there lets posts do that."""
    await mesh.probe()
    STAGE.hold("a")
    calling = asyncio.create_task(ask(mesh.alpha.channel, "probe", "Hold", "a"))
    await STAGE.reached("a")
    await post(mesh.alpha.channel, "probe", "Append", "b")
    moving = asyncio.create_task(mesh.alpha.client.dispatch("probe", "beta", ticket=ticket))
    await closed(mesh.alpha, "probe")
    STAGE.release("a")
    await asyncio.gather(calling, moving)
    if ticket is _KEPT:
        assert (await mesh.beta.client.get("probe")).state is PagletState.INACTIVE
        return

    async def has_run() -> bool:
        return '"b"' in await mesh.beta.client.state("probe")  # which wakes nobody

    await eventually(has_run, what="the post")


async def test_tick_4_time_that_has_come(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """A time that has passed brings it back at once, but not before the directory knows that it rests."""
    await mesh.probe()
    ticket = TransferTicket(arrival=ArrivalMode.INACTIVE, policy=DeactivationPolicy(activate_at=time.time() - 1))
    settling = Midway(monkeypatch, mesh.beta.host.parts.journal, "settle_arrival", after=True).hold()
    moving = asyncio.create_task(mesh.alpha.client.dispatch("probe", "beta", ticket=ticket))
    await settling.called()
    mesh.beta.host.dormant.rearranged("probe")
    settling.release()
    await moving
    await eventually(lambda: _is_active(mesh), what="its time")
    assert STAGE.notes[-2:] == ["activated time", "on_activation"]


async def test_tick_4_repeated_request_lets_it_rest(mesh: Mesh) -> None:
    """The same move asked for again is answered as before, and wakes nobody."""
    await mesh.probe()
    request_id = new_request()
    for client in (mesh.alpha.client, mesh.beta.client):
        moved = await client.dispatch("probe", "beta", ticket=_AT_REST, request_id=request_id)
        assert (moved.host, moved.state) == ("beta", PagletState.INACTIVE)
    assert (await mesh.alpha.client.dispatch("probe", "alpha")).state is PagletState.ACTIVE


async def _is_gone(path: Path) -> bool:
    return not await asyncio.to_thread(path.exists)


async def _is_active(mesh: Mesh) -> bool:
    return (await mesh.alpha.client.get("probe")).state is PagletState.ACTIVE
