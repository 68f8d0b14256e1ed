"""The state is all of a paglet that moves and stays: what else its object has is gone with its stay."""

from __future__ import annotations

import re
from contextlib import AsyncExitStack
from pathlib import Path

from tests.host.conftest import Mesh, Site, site
from tests.host.support import PROBE_TYPE, ask
from tests.host.worker import WORKER_TYPE, Worker


def worker(at: Site) -> Worker:
    """The worker that is on a host: the object itself."""
    resident = at.host.residents.get("worker")
    assert resident is not None
    assert isinstance(resident.paglet, Worker)
    return resident.paglet


async def hear(at: Site) -> None:
    """Has the worker keep something in its state, and hear something that is not in it."""
    await ask(at.channel, "worker", "Append", "kept")
    await ask(at.channel, "worker", "Ask", "news heard")
    assert worker(at).news == "heard"


async def test_core_1_attributes_do_not_move(mesh: Mesh) -> None:
    """After a move, and after a rest, it is another object, with the state of the former one and nothing else."""
    await mesh.alpha.client.create(WORKER_TYPE, paglet_id="worker")
    await hear(mesh.alpha)
    await mesh.alpha.client.dispatch("worker", "beta")
    assert (worker(mesh.beta).news, worker(mesh.beta).state.lines) == ("", ["kept"])
    await hear(mesh.beta)
    await mesh.beta.client.deactivate("worker")
    await mesh.beta.client.activate("worker")
    assert (worker(mesh.beta).news, worker(mesh.beta).state.lines) == ("", ["kept", "kept", "rests", "woken"])


async def test_core_1_attributes_end_with_the_host(tmp_path: Path) -> None:
    """So it is after a restart of its host."""
    async with AsyncExitStack() as stack:
        alpha = await site(stack, tmp_path, "alpha")
        await alpha.client.create(WORKER_TYPE, paglet_id="worker")
        await hear(alpha)
    async with AsyncExitStack() as stack:
        alpha = await site(stack, tmp_path, "alpha")
        assert (await ask(alpha.channel, "worker", "Read")).text == "kept"
        assert worker(alpha).news == ""


async def test_core_1_begins_with_the_defaults(alpha: Site) -> None:
    """Without a word it has an id of its own, and the state that its class makes."""
    first, second = [await alpha.client.create(PROBE_TYPE) for _ in range(2)]
    assert first.paglet_id != second.paglet_id
    assert re.fullmatch("[0-9a-f]{32}", first.paglet_id)
    assert await first.state() == '{"lines":[],"refuse":{},"wild":0,"path":"","runs":false}'
