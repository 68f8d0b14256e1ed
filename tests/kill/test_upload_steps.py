"""A host that is killed at every step of its store, while clients write to it all the time and go on by themselves."""

from __future__ import annotations

import asyncio
import random
import signal
from pathlib import Path

import pytest

from paglets.artifacts.steps import Step
from paglets.client.artifacts import RemoteArtifactStore
from paglets.client.channel import open_channel
from paglets.digest import Digest
from paglets.testing import HostProcess
from tests.artifacts.support import assert_consistent, cancel_all, opened, read_all, refused
from tests.kill.busy_clients import BusyClients

pytestmark = pytest.mark.slow

CLIENTS = 6

# Exports are for paglets; what a recovery does is killed where it is killed by itself.
OTHERS = {
    Step.EXPORT_SYNC_AFTER,
    Step.EXPORT_PLACE_AFTER,
    Step.EXPORT_FOLDER_AFTER,
    Step.CUT_AFTER,
    Step.LEFT_AFTER,
    Step.ROLL_FORWARD_BEFORE,
    Step.ROLL_FORWARD_AFTER,
}
STEPS = [step for step in Step if step not in OTHERS]


@pytest.mark.timeout(240)
async def test_killed_at_each_step(tmp_path: Path, seed: int) -> None:
    """Every upload ends well in the end; then files, rows and counters are those of what was acknowledged."""
    dice = random.Random(seed)
    host = HostProcess(name="alpha", data=tmp_path / "alpha")
    await host.start({"PAGLETS_FAULT": f"{STEPS[0]}:2"})
    async with open_channel(host.address) as channel:
        clients = BusyClients(RemoteArtifactStore(channel), dice)
        async with asyncio.TaskGroup() as working:
            for _ in range(CLIENTS):
                working.create_task(clients.work())
            for step in STEPS[1:]:
                await _killed_and_started(host, f"{step}:{dice.randint(1, 2)}")
            await _killed_and_started(host, "")
            clients.end()
    await host.stop()
    root = tmp_path / "alpha" / "artifacts"
    async with opened(root) as store:
        await store.sweep()
        assert await cancel_all(store) == 0
        for artifact_id, digest in clients.stored.items():
            assert Digest.of(await read_all(store, artifact_id)) == digest
        for artifact_id in clients.gone:
            assert (await refused(store.ref(artifact_id))).reason == "ARTIFACT_NOT_FOUND"
    assert_consistent(root)


async def _killed_and_started(host: HostProcess, fault: str) -> None:
    assert await host.ended() == -signal.SIGKILL
    await host.launch({"PAGLETS_FAULT": fault})
    try:
        await host.wait_ready()
    except RuntimeError:  # it passed the step before it served
        assert fault
