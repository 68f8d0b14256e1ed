"""A host that is killed while a paglet's files come to it: what it had of them is not sent again."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from paglets.artifacts.steps import Step
from paglets.client.client import Client
from paglets.values import new_id
from paglets.wire.frames import MESSAGE_BYTES
from tests.kill import audit
from tests.kill.ledger import Ledger, LedgerState
from tests.kill.mesh import PATIENCE_S, running_mesh

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
MESSAGES = 8
BATCH_STEPS = (Step.INTENT_AFTER, Step.SYNC_AFTER, Step.FOLDER_AFTER, Step.COMMIT_AFTER)


async def test_what_came_is_not_pushed_again(tmp_path: Path, seed: int) -> None:
    """Killed with a small file and four messages of a large one, the target takes the other four when it is back."""
    async with running_mesh(tmp_path / "mesh", directory="alpha") as mesh:
        large, small = mesh.files / "moved", mesh.files / "copied"
        data = random.Random(seed).randbytes(MESSAGES * MESSAGE_BYTES)
        large.write_bytes(data)
        small.write_bytes(b"small")
        mesh.arm(mesh.target, f"{Step.WRITE_AFTER}:5")
        async with Client(mesh.address(mesh.source), timeout_s=PATIENCE_S) as client:
            paglet_id, log = new_id(), tmp_path / "passed"
            await client.create(Ledger, state=LedgerState(moved=large.name, copied=small.name), paglet_id=paglet_id)
            moving = asyncio.create_task(client.dispatch(paglet_id, mesh.target, timeout_s=PATIENCE_S))
            await mesh.died(mesh.target)
            await mesh.hosts[mesh.target].start({"PAGLETS_FAULT_LOG": str(log)})
            await moving
            assert log.read_text().split().count(Step.WRITE_AFTER) == MESSAGES + 1 - 5
            files = {file.name: Path(file.path) for file in audit.registered_files(mesh.hosts[mesh.target].data)}
            assert files[large.name].read_bytes() == data
            assert files[small.name].read_bytes() == b"small"
            await client.dispose(paglet_id)


@pytest.mark.parametrize("step", BATCH_STEPS)
async def test_small_files_that_came_together(tmp_path: Path, step: Step) -> None:
    """Killed while small files become its own, the target has them when it is back, each once; the move goes on."""
    async with running_mesh(tmp_path / "mesh", directory="alpha") as mesh:
        contents = {"moved": b"one", "copied": b"another"}
        for name, content in contents.items():
            (mesh.files / name).write_bytes(content)
        mesh.arm(mesh.target, f"{step}:1")
        async with Client(mesh.address(mesh.source), timeout_s=PATIENCE_S) as client:
            paglet_id, log = new_id(), tmp_path / "passed"
            await client.create(Ledger, state=LedgerState(moved="moved", copied="copied"), paglet_id=paglet_id)
            moving = asyncio.create_task(client.dispatch(paglet_id, mesh.target, timeout_s=PATIENCE_S))
            await mesh.died(mesh.target)
            await mesh.hosts[mesh.target].start({"PAGLETS_FAULT_LOG": str(log)})
            await moving
            assert Step.ADMIT_BEFORE not in log.read_text().split()  # the message that is sent again is enough
            files = {file.name: Path(file.path) for file in audit.registered_files(mesh.hosts[mesh.target].data)}
            assert {name: path.read_bytes() for name, path in files.items()} == contents
        async with Client(mesh.address(mesh.target), timeout_s=PATIENCE_S) as client:
            assert len((await client.artifacts.list()).refs) == len(contents)
            await client.dispose(paglet_id)
