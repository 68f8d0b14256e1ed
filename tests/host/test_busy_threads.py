"""Authors may wait in the threads of `asyncio.to_thread` as long as they like: nothing of the host waits with them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from paglets.artifacts.store import ArtifactWrite
from tests.host.conftest import Mesh
from tests.host.stage import STAGE
from tests.host.support import PROBE_TYPE, ask
from tests.host.worker import SAVER_TYPE


@pytest.fixture
async def busy(mesh: Mesh) -> AsyncIterator[Mesh]:
    """Two hosts of one event loop; whatever threads it gives authors, a probe waits in them."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    await mesh.alpha.client.create(PROBE_TYPE, paglet_id="waiting")
    STAGE.hold("wait")
    waiting = asyncio.create_task(ask(mesh.alpha.channel, "waiting", "HoldInWorker", "wait"))
    await STAGE.reached("wait")
    yield mesh
    assert not waiting.done()
    STAGE.release("wait")
    await waiting


async def test_files_and_folders_are_at_hand(busy: Mesh) -> None:
    """Paglets register files, keep small ones, and have their folders, and artifacts are stored, small and large."""
    channel, client = busy.alpha.channel, busy.alpha.client
    await client.create(SAVER_TYPE, paglet_id="saver")
    for name, size in (("small", 10), ("large", 3_000_000)):
        (busy.alpha.files / name).write_bytes(b"x" * size)
        stored = await client.artifacts.create_from_path(ArtifactWrite(), busy.alpha.files / name)
        assert stored.ref.size_bytes == size
        await ask(channel, "saver", "Ask", f"copy {name}")
    await ask(channel, "saver", "Ask", "keep file text")
    await ask(channel, "saver", "Ask", "scratch text")
    assert (await ask(channel, "saver", "Ask", "scratched")).text == "text"


async def test_paglets_leave_and_end(busy: Mesh) -> None:
    """A paglet with a file, a folder and a large state moves there and back, and ends."""
    channel, client = busy.alpha.channel, busy.alpha.client
    await client.create(SAVER_TYPE, paglet_id="saver")
    (busy.alpha.files / "a.txt").write_bytes(b"a")
    for wish in ("move a.txt", "scratch text", "fill x"):
        await ask(channel, "saver", "Ask", wish)
    assert (await client.dispatch("saver", "beta")).host == "beta"
    assert (await client.retract("saver")).host == "alpha"
    await client.dispose("saver")
