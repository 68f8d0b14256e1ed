"""Uploads to a host that is killed while their bytes come, and started again."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from pathlib import Path

from paglets.artifacts.store import ArtifactWrite, WriteOutcome
from paglets.client.artifacts import RemoteArtifactStore
from paglets.client.channel import open_channel
from paglets.digest import Digest
from paglets.testing import HostProcess
from paglets.wire.frames import MESSAGE_BYTES
from tests.artifacts.support import assert_consistent

__all__ = ["kill_uploads"]


class _Watched:
    """What the client says of one upload: it kills the host at an offset, and knows what was sent twice."""

    def __init__(self, pid: int, offset: int) -> None:
        self._pid = pid
        self._offset = offset
        self._most = 0
        self.sent_twice = 0

    def progress(self, done: int) -> None:
        """So many bytes are done."""
        if self._most < self._offset <= done:
            os.kill(self._pid, signal.SIGKILL)
        begun = done - MESSAGE_BYTES  # it is told once a message was sent: that one counts, too
        self.sent_twice = max(self.sent_twice, self._most - begun)
        self._most = max(self._most, done)


async def kill_uploads(folder: Path, dice: random.Random, *, runs: int, size: int) -> int:
    """Kills a host once in each of so many uploads of a file, at a random offset; each must end well.

    Afterwards catalogue, disk and counters agree. Gives the most bytes that any of them had to send twice, those among
    them that were on their way when the connection broke.
    """
    data, source = dice.randbytes(size), folder / "source"
    source.write_bytes(data)
    host = HostProcess(name="alpha", data=folder / "alpha")
    await host.start()
    most = 0
    try:
        for number in range(runs):
            watched = _Watched(host.pid, dice.randrange(1, size))
            write = ArtifactWrite(upload_id=f"u{number}", artifact_id=f"a{number}")
            revived = asyncio.create_task(_revive(host))
            async with open_channel(host.address) as channel:
                store = RemoteArtifactStore(channel)
                result = await store.create_from_path(write, source, progress=watched.progress)
                await revived
                assert (result.outcome, result.ref.digest) == (WriteOutcome.COMMITTED, Digest.of(data))
                assert (await store.uploads()).uploads == ()
                assert await store.delete(f"a{number}")
            most = max(most, watched.sent_twice)
    finally:
        await host.stop()
    assert_consistent(folder / "alpha" / "artifacts")
    return most


async def _revive(host: HostProcess) -> None:
    """Waits for the host's death and starts it again."""
    assert await host.ended() == -signal.SIGKILL
    await host.start()
