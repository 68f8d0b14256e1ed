"""Readers that stand still, come in crowds or leave: what a host keeps for them is bounded."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TypeAlias

import grpc
import psutil
import pytest

from paglet.v1 import artifact_pb2, artifact_pb2_grpc
from paglets.artifacts.store import ArtifactWrite
from paglets.client.artifacts import RemoteArtifactStore
from paglets.client.channel import open_channel
from paglets.services.message_size import FULL_SIZE_READS
from paglets.wire.frames import MESSAGE_BYTES
from tests.artifacts.serve import serving
from tests.artifacts.support import eventually, opened, pieces
from tests.artifacts.test_wire import refusal

MIB = 1024 * 1024
SIZE = 64 * MIB  # more than gRPC takes on its own account for a reader that stands still
Stub: TypeAlias = "artifact_pb2_grpc.ArtifactServiceAsyncStub"
Call: TypeAlias = "grpc.aio.UnaryStreamCall[artifact_pb2.ReadArtifactRequest, artifact_pb2.ReadArtifactResponse]"


@asynccontextmanager
async def served(root: Path, *, reader_timeout_s: float = 60.0, max_open_reads: int = 128) -> AsyncGenerator[Stub]:
    """A large artifact `a` on a host of this process."""
    async with opened(root) as store:
        await store.create_from_chunks(
            ArtifactWrite(artifact_id="a"), pieces(*(bytes(MIB) for _ in range(SIZE // MIB)))
        )
        host = serving(store, reader_timeout_s=reader_timeout_s, max_open_reads=max_open_reads)
        async with host as port, open_channel(f"127.0.0.1:{port}") as channel:
            yield artifact_pb2_grpc.ArtifactServiceStub(channel)


def read(stub: Stub) -> Call:
    """A read of the artifact, of which nothing was taken yet."""
    return stub.ReadArtifact(artifact_pb2.ReadArtifactRequest(artifact_id="a"))


async def take(call: Call) -> int:
    """Takes what comes, to the end; how many bytes it was."""
    size = 0
    while isinstance(frame := await call.read(), artifact_pb2.ReadArtifactResponse):
        size += len(frame.chunk.data)
    return size


async def begin(call: Call) -> int:
    """Takes the header; what size of messages it announces."""
    frame = await call.read()
    assert isinstance(frame, artifact_pb2.ReadArtifactResponse)
    assert frame.header.artifact.artifact_id == "a"
    return frame.header.message_bytes


def open_blobs(root: Path) -> int:
    """How many descriptors of this process are of blobs."""
    blobs = str(root / "blobs")
    found = 0
    for link in Path("/proc/self/fd").iterdir():
        try:
            found += str(link.readlink()).startswith(blobs)
        except FileNotFoundError:  # the one that lists them
            continue
    return found


async def test_a_reader_that_stands_still_is_ended(root: Path) -> None:
    """The host lets go of the file when its reader took nothing for too long; the reader is told when he goes on."""
    async with served(root, reader_timeout_s=0.3) as stub:
        call = read(stub)
        await begin(call)
        assert open_blobs(root) == 1

        async def let_go() -> bool:
            return open_blobs(root) == 0

        await eventually(let_go)
        found = await refusal(take(call))
        assert (found.code, found.reason) == ("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED")


async def test_a_reader_that_goes_on_has_all(root: Path) -> None:
    """Who reads by the SDK, and stood still for so long that his read was ended, has the rest when he goes on."""

    async def let_go() -> bool:
        return open_blobs(root) == 0

    size = 0
    async with opened(root) as local:
        await local.create_from_chunks(ArtifactWrite(artifact_id="a"), pieces(*[bytes(MIB)] * (SIZE // MIB)))
        async with (
            serving(local, reader_timeout_s=0.3) as port,
            open_channel(f"127.0.0.1:{port}") as channel,
            RemoteArtifactStore(channel).open_reader("a") as reader,
        ):
            async for piece in reader:
                if not size:
                    await eventually(let_go)
                size += len(piece)
    assert size == SIZE


@pytest.mark.slow
async def test_too_many_reads(root: Path) -> None:
    """No more reads are open than there may be; the next one is told when to come again, and may when one has ended."""
    async with served(root, max_open_reads=2) as stub:
        calls = [read(stub) for _ in range(2)]
        for call in calls:
            await begin(call)
        found = await refusal(take(read(stub)))
        assert (found.code, found.reason, found.metadata) == ("RESOURCE_EXHAUSTED", "TOO_MANY_READS", {"limit": "2"})
        assert found.retry.retry_delay.ToMilliseconds() == 1000
        assert await take(calls[0]) == SIZE
        calls[1].cancel()
        for _ in range(3):  # of which each takes the place of one that has ended
            assert await take(read(stub)) == SIZE


@pytest.mark.slow
async def test_readers_that_stand_still_hold_up_nobody(root: Path) -> None:
    """More readers than the store has threads stand still; another gets all of its bytes meanwhile."""
    async with served(root) as stub:
        calls = [read(stub) for _ in range(24)]
        for call in calls:
            await begin(call)
        assert await take(read(stub)) == SIZE
        assert open_blobs(root) == len(calls)
        for call in calls:
            call.cancel()


@pytest.mark.slow
@pytest.mark.parametrize("readers", [4, 32])
async def test_memory(root: Path, readers: int) -> None:
    """What a host takes for readers, most of which stand still, is bounded by 64 MiB and 4 MiB for each of them."""
    async with opened(root) as store:
        await store.create_from_chunks(
            ArtifactWrite(artifact_id="a"), pieces(*(bytes(MIB) for _ in range(SIZE // MIB)))
        )
    command = (sys.executable, "-m", "tests.artifacts.serve", str(root))
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    port = int(await process.stdout.readline())
    host = psutil.Process(process.pid)
    async with AsyncExitStack() as stack:
        stubs: list[Stub] = []
        for _ in range(readers):
            channel = await stack.enter_async_context(open_channel(f"127.0.0.1:{port}"))
            stubs.append(artifact_pb2_grpc.ArtifactServiceStub(channel))
        idle = host.memory_info().rss
        calls = [read(stub) for stub in stubs[1:]]
        for call in calls:
            await begin(call)
        most = 0
        for _ in range(4):
            assert await take(read(stubs[0])) == SIZE
            most = max(most, host.memory_info().rss)
        assert most - idle <= 64 * MIB + 4 * MIB * readers
    process.terminate()
    await process.wait()


async def test_messages_shrink_as_readers_crowd(root: Path) -> None:
    """Each read keeps to the size of messages that it was told, which is less for those who came late."""
    async with served(root) as stub:
        calls: list[Call] = []
        announced: list[int] = []
        for _ in range(FULL_SIZE_READS + 1):
            calls.append(read(stub))
            announced.append(await begin(calls[-1]))
        assert announced == [MESSAGE_BYTES] * FULL_SIZE_READS + [MESSAGE_BYTES // 2]
        for call, size in zip(calls, announced, strict=True):
            for _ in range(3):
                frame = await call.read()
                assert isinstance(frame, artifact_pb2.ReadArtifactResponse)
                assert len(frame.chunk.data) == size
            call.cancel()


async def test_a_reader_that_leaves_is_no_news(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever leaves in the middle of a read, or after having stood still, leaves no line in the host's log."""
    async with served(root, reader_timeout_s=0.3) as stub:
        for number in range(24):
            call = read(stub)
            for _ in range(1 + number % 3):
                await call.read()
            call.cancel()
        calls = [read(stub) for _ in range(4)]
        for call in calls:
            await begin(call)

        async def let_go() -> bool:
            return open_blobs(root) == 0

        await eventually(let_go)
        for call in calls:
            call.cancel()
        assert await take(read(stub)) == SIZE
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
