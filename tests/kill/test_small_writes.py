"""Hosts that are killed while small artifacts come: nothing that was acknowledged is lost, and repeating works."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from paglets.artifacts.store import ArtifactWrite, ArtifactWriteResult, SmallWrite
from paglets.client.artifacts import RemoteArtifactStore
from paglets.client.client import Client
from paglets.errors import PagletError
from paglets.testing import HostProcess
from paglets.values import new_id
from tests.artifacts.support import assert_consistent, pieces

ROUNDS = 3


@dataclass
class Writer:
    """Writes batches and single small artifacts by turns; remembers what was acknowledged, and what it tried last."""

    random: random.Random
    acknowledged: dict[str, bytes] = field(default_factory=dict[str, bytes])
    tried: list[SmallWrite] = field(default_factory=list[SmallWrite])

    async def write(self, store: RemoteArtifactStore) -> None:
        """Goes on until he is cancelled."""
        while True:
            if not self.tried:
                self.tried = [self._next() for _ in range(self.random.choice((1, 2, 40)))]
            await self.repeat(store)

    async def repeat(self, store: RemoteArtifactStore) -> None:
        """Sends what was tried last, for the first time or again."""
        tried = self.tried
        if len(tried) == 1:
            result = await store.create_from_chunks(tried[0].write, pieces(tried[0].data))
            self.acknowledged[result.ref.artifact_id] = tried[0].data
        else:
            for item, each in zip(tried, await store.create_batch(tried), strict=True):
                assert isinstance(each, ArtifactWriteResult)
                self.acknowledged[each.ref.artifact_id] = item.data
        self.tried = []

    def _next(self) -> SmallWrite:
        write = ArtifactWrite(upload_id=new_id(), artifact_id=new_id(), owner=self.random.choice(("", "ann")))
        return SmallWrite(write, self.random.randbytes(self.random.choice((0, 1, 1, 4096, 16 * 1024))))


@pytest.mark.slow
async def test_killed_while_small_artifacts_come(tmp_path: Path, seed: int) -> None:
    """After each kill what was acknowledged is there, and what was not is stored by repeating it, once."""
    source = random.Random(seed)
    writers = [Writer(random.Random(source.random())) for _ in range(3)]
    arguments = ("--artifact-keep-events", "1000000")  # all are looked for in the end
    host = HostProcess(name="alpha", data=tmp_path / "alpha", arguments=arguments)
    for _ in range(ROUNDS):
        await host.start()
        async with Client(host.address) as client:
            await asyncio.gather(*(writer.repeat(client.artifacts) for writer in writers if writer.tried))
            writing = [asyncio.create_task(writer.write(client.artifacts)) for writer in writers]
            ended, _ = await asyncio.wait(writing, timeout=source.uniform(0.05, 0.6))
            assert not ended
            await host.kill()
            for task in writing:
                task.cancel()
            await asyncio.wait(writing)
    await host.start()
    async with Client(host.address) as client:
        await asyncio.gather(*(writer.repeat(client.artifacts) for writer in writers if writer.tried))
        for writer in writers:
            names = list(writer.acknowledged)
            found = await client.artifacts.read_batch(names)
            assert [each for each in found if isinstance(each, PagletError)] == []
            assert [each.data for each in found if not isinstance(each, PagletError)] == [
                writer.acknowledged[name] for name in names
            ]
    assert await host.stop() == 0
    assert_consistent(tmp_path / "alpha" / "artifacts")
