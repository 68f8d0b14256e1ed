"""A host that is killed in the middle of uploads."""

from __future__ import annotations

import asyncio
import random
import signal
from pathlib import Path

import pytest

from paglets.artifacts.steps import Step
from paglets.artifacts.store import ArtifactWrite, UploadState, WriteOutcome
from paglets.client.artifacts import RemoteArtifactStore
from paglets.client.channel import open_channel
from paglets.digest import Digest
from paglets.testing import HostProcess
from paglets.wire.frames import MESSAGE_BYTES
from tests.kill.uploads import kill_uploads

pytestmark = pytest.mark.slow


@pytest.mark.timeout(180)
async def test_killed_at_random_offsets(tmp_path: Path, seed: int) -> None:
    """Each upload goes on with the host that comes back, ends with its digest, and leaves nothing else.

    Sent twice is at most one message: the one that the host had and had not written.
    """
    sent_twice = await kill_uploads(tmp_path, random.Random(seed), runs=6, size=16 * 1024**2)
    assert sent_twice <= MESSAGE_BYTES


@pytest.mark.timeout(60)
async def test_what_was_written_is_not_sent_twice(tmp_path: Path, seed: int) -> None:
    """A host that is killed with three messages written, and perhaps the next one there, has three afterwards."""
    data, source = random.Random(seed).randbytes(8 * MESSAGE_BYTES), tmp_path / "source"
    source.write_bytes(data)
    host = HostProcess(name="alpha", data=tmp_path / "alpha")
    await host.start({"PAGLETS_FAULT": f"{Step.WRITE_AFTER}:3"})
    write = ArtifactWrite(upload_id="u", artifact_id="a")
    try:
        async with open_channel(host.address) as channel:
            sending = asyncio.create_task(RemoteArtifactStore(channel).create_from_path(write, source))
            assert await host.ended() == -signal.SIGKILL
            sending.cancel()
            await asyncio.wait([sending])
        await host.start()
        async with open_channel(host.address) as channel:
            store = RemoteArtifactStore(channel)
            found = await store.upload("u")
            written = data[: 3 * MESSAGE_BYTES]
            assert (found.state, found.prefix) == (UploadState.OPEN, Digest.of(written))
            result = await store.create_from_path(write, source)
            assert (result.outcome, result.ref.digest) == (WriteOutcome.COMMITTED, Digest.of(data))
    finally:
        await host.stop()
