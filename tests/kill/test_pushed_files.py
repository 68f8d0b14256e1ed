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
