"""Clients that are killed in the middle of an upload: what they sent stays for a while, and then nothing of them."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from paglets.artifacts.store import ArtifactWrite, UploadInfo, WriteOutcome
from paglets.client.client import Client
from paglets.testing import HostProcess, eventually, send_signal
from tests.artifacts.support import assert_consistent, is_empty

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

MIB = 1024 * 1024
SIZE = 64 * MIB
SENDER = """
import asyncio, sys
from paglets.artifacts.store import ArtifactWrite
from paglets.client.client import Client

async def beginning():
    for _ in range(8):
        yield bytes(1024 * 1024)
    await asyncio.Event().wait()

async def send():
    async with Client(sys.argv[1]) as client:
        write = ArtifactWrite(upload_id="u", artifact_id="a", name="source", owner="ann", size_bytes=int(sys.argv[2]))
        await client.artifacts.create_from_chunks(write, beginning())

asyncio.run(send())
"""


async def _partial(host: HostProcess, client: Client) -> UploadInfo:
    """What the host has of an upload whose client was killed after at least a MiB."""
    sender = await asyncio.create_subprocess_exec(sys.executable, "-c", SENDER, host.address, str(SIZE))

    async def some_came() -> bool:
        uploads = (await client.artifacts.uploads()).uploads
        return bool(uploads) and uploads[0].committed_size >= MIB

    async def rests() -> bool:
        return not (await client.artifacts.upload("u")).writing

    await eventually(some_came, 30.0, "a MiB at the host")
    send_signal(sender, signal.SIGKILL)
    await sender.wait()
    await eventually(rests, 30.0, "the host to notice")
    return await client.artifacts.upload("u")


async def test_what_it_sent_expires(tmp_path: Path) -> None:
    """A partial counts with all that was declared, to the byte, as long as it rests; then nothing of it does."""
    root = tmp_path / "alpha" / "artifacts"
    host = HostProcess(name="alpha", data=tmp_path / "alpha")
    await host.start()
    async with Client(host.address) as client:
        info = await _partial(host, client)
        assert MIB <= info.committed_size < SIZE
        assert await _counted(client) == [(0, SIZE)] * 2
    await host.stop()
    host.arguments = ("--artifact-partial-ttl", "1")
    await host.start()
    async with Client(host.address) as client:

        async def gone() -> bool:
            return not (await client.artifacts.uploads()).uploads

        await eventually(gone, 30.0, "the partial to expire")
        assert await _counted(client) == [(0, 0)] * 2
        assert is_empty(root)
    assert await host.stop() == 0
    assert_consistent(root)


async def _counted(client: Client) -> list[tuple[int, int]]:
    """What counts as used and as reserved, of the host and of ann."""
    usage = await client.artifacts.usage(owner="ann")
    return [(each.used, each.reserved) for each in (usage.host, *usage.owners)]


async def test_another_goes_on(tmp_path: Path) -> None:
    """Another client sends the rest, and no byte of what is there."""
    host = HostProcess(name="alpha", data=tmp_path / "alpha")
    await host.start()
    source = tmp_path / "source"
    source.write_bytes(bytes(SIZE))
    async with Client(host.address) as client:
        info = await _partial(host, client)
        told = list[int]()
        write = ArtifactWrite(upload_id="u", artifact_id="a", owner="ann")
        result = await client.artifacts.create_from_path(write, source, progress=told.append)
        assert result.outcome is WriteOutcome.COMMITTED
        assert info.committed_size < told[0] <= info.committed_size + 2 * MIB
        assert await _counted(client) == [(SIZE, 0)] * 2
    assert await host.stop() == 0
    assert_consistent(tmp_path / "alpha" / "artifacts")
