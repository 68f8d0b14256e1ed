"""Clients that break off whatever they do: their host lets go of all that it held for them."""

from __future__ import annotations

import asyncio
import gc
import random
from pathlib import Path

import pytest

from paglets.artifacts.store import ArtifactWrite
from paglets.client.client import Client
from paglets.testing import HostProcess, eventually
from tests.artifacts.support import assert_consistent

pytestmark = pytest.mark.slow

BROKEN = 200
AT_ONCE = 10
SIZE = 8 * 1024 * 1024


@pytest.mark.timeout(240)
async def test_descriptors(tmp_path: Path, seed: int) -> None:
    """After 200 uploads and downloads that were broken off it has as many descriptors as before, and what came."""
    dice = random.Random(seed)
    source, targets = tmp_path / "source", tmp_path / "targets"
    source.write_bytes(dice.randbytes(SIZE))
    host = HostProcess(name="alpha", data=tmp_path / "alpha")
    await host.start()
    async with Client(host.address) as client:
        await client.artifacts.create_from_path(ArtifactWrite(artifact_id="a"), source)
        await client.artifacts.export_to_path("a", targets / "first")

    async def break_off(number: int) -> None:
        async with Client(host.address) as client:
            store = client.artifacts
            work = [
                store.create_from_path(ArtifactWrite(upload_id=f"u{number}"), source),
                store.create_from_path(ArtifactWrite(), source),
                store.export_to_path("a", targets / str(number)),
            ]
            tasks = [asyncio.create_task(each) for each in work]
            await asyncio.wait(tasks, timeout=dice.uniform(0.0, 0.2))
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    def held() -> int:
        gc.collect()  # gRPC's client keeps a connection until its calls are collected
        return sum(1 for _ in Path(f"/proc/{host.pid}/fd").iterdir())

    async def as_before() -> bool:
        return held() <= before

    before = held()
    for start in range(0, BROKEN // 3, AT_ONCE):
        await asyncio.gather(*(break_off(start + each) for each in range(AT_ONCE)))
    await eventually(as_before, 30.0, f"no more than {before} descriptors")
    async with Client(host.address) as client:
        for info in (await client.artifacts.uploads(page_size=1000)).uploads:
            assert await client.artifacts.cancel_upload(info.upload_id)
        assert (await client.artifacts.usage()).host.reserved == 0
    assert await host.stop() == 0
    assert_consistent(tmp_path / "alpha" / "artifacts")
