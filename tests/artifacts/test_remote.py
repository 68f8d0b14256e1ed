"""What the store of another host does when the other side, or the way to it, misbehaves."""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from paglet.v1 import artifact_pb2
from paglets.artifacts.local import LocalArtifactStore
from paglets.artifacts.store import ArtifactWrite, ArtifactWriteResult, WriteOutcome
from paglets.client.artifacts import RemoteArtifactStore
from paglets.client.channel import open_channel
from paglets.digest import Digest
from paglets.errors import (
    CallerError,
    ConflictError,
    DataLossError,
    DeadlineError,
    InvalidArgumentError,
    PagletError,
    Resource,
    UnavailableError,
)
from paglets.services.artifact import ArtifactServicer, add_artifacts
from paglets.services.guard import GuardedServices, ServerContext
from paglets.values import ArtifactRef
from paglets.wire.artifact import result_to_message
from paglets.wire.channel_options import SERVER_OPTIONS
from paglets.wire.chunk_codec import Chunk, ReadFrame, WriteFrame
from tests.artifacts.conftest import MAX_ARTIFACT_BYTES
from tests.artifacts.support import assert_consistent, eventually, names_in, opened, pieces, put, read_all, refused

MIB = 1024 * 1024
Frames = AsyncIterator[WriteFrame]


@asynccontextmanager
async def host(
    servicer: ArtifactServicer, *, stall_timeout_s: float = 60.0, patience_s: float = 60.0
) -> AsyncGenerator[RemoteArtifactStore, None]:
    """A store on a host of this process with the given servicer."""
    services = GuardedServices()
    add_artifacts(services, servicer)
    server = grpc.aio.server(options=SERVER_OPTIONS)
    server.add_generic_rpc_handlers((services,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with open_channel(f"127.0.0.1:{port}") as channel:
        yield RemoteArtifactStore(channel, stall_timeout_s=stall_timeout_s, patience_s=patience_s)
    await server.stop(None)


class Refusing(ArtifactServicer):
    """Refuses the first uploads, each with the next of these errors."""

    def __init__(self, store: LocalArtifactStore, *errors: PagletError) -> None:
        super().__init__(store, "alpha")
        self.errors = list(errors)

    async def WriteArtifact(  # noqa: N802 - named by the proto
        self, request_iterator: Frames, context: ServerContext
    ) -> artifact_pb2.WriteArtifactResponse:
        """Refuses what is asked for, or does it."""
        if self.errors:
            await anext(request_iterator)
            raise self.errors.pop(0)
        return await super().WriteArtifact(request_iterator, context)


def shutting_down() -> PagletError:
    """An error that may pass."""
    return UnavailableError("SHUTTING_DOWN", "a moment")


def in_progress() -> PagletError:
    """What a host says that has not noticed yet that its client's first attempt is over."""
    return ConflictError("UPLOAD_IN_PROGRESS", "another stream writes it", resource=Resource("upload", "u"))


def taken() -> PagletError:
    """What a host says when another upload makes the same artifact."""
    return ConflictError("UPLOAD_IN_PROGRESS", "another stream writes it", resource=Resource("artifact", "a"))


@pytest.mark.parametrize("errors", [[shutting_down], [shutting_down, in_progress], [shutting_down] * 3])
async def test_tries_again_before_acceptance(
    local: LocalArtifactStore, root: Path, errors: list[Callable[[], PagletError]]
) -> None:
    """What fails on the way before the host has accepted is tried again; the bytes are asked for once."""
    async with host(Refusing(local, *(error() for error in errors))) as store:
        artifact_id = await put(store, b"once")
        assert await read_all(local, artifact_id) == b"once"
    assert_consistent(root)


@pytest.mark.parametrize("errors", [[taken], [shutting_down] * 40])
async def test_gives_up(local: LocalArtifactStore, errors: list[Callable[[], PagletError]]) -> None:
    """What will not pass is raised as it came."""
    expected = errors[0]()
    async with host(Refusing(local, *(error() for error in errors)), patience_s=0.5) as store:
        error = await refused(put(store, b"never"))
    assert (type(error), error.reason, error.message) == (type(expected), expected.reason, expected.message)


async def test_no_host() -> None:
    """Where nobody listens the way is at fault."""
    async with open_channel("127.0.0.1:1") as channel:
        error = await refused(put(RemoteArtifactStore(channel, timeout_s=0.2, patience_s=0.2), b"x"))
    assert (type(error), error.reason) == (UnavailableError, "TRANSPORT")


@pytest.mark.slow
async def test_refused_in_the_middle(local: LocalArtifactStore, root: Path) -> None:
    """A refusal while bytes are on their way arrives as it was sent, every time."""

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(MIB)

    async with host(ArtifactServicer(local, "alpha")) as store:
        for _ in range(12):
            error = await refused(store.create_from_chunks(ArtifactWrite(), endless()))
            assert (type(error), error.reason) == (InvalidArgumentError, "ARTIFACT_TOO_LARGE")
            assert error.metadata["limit_bytes"] == str(MAX_ARTIFACT_BYTES)
    assert_consistent(root)


async def test_progress(local: LocalArtifactStore, tmp_path: Path) -> None:
    """Progress grows up to the size, on the way there and back."""
    data = os.urandom(4 * MIB + 1)
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(data)
    there: list[int] = []
    back: list[int] = []
    async with host(ArtifactServicer(local, "alpha")) as store:
        ref = (await store.create_from_path(ArtifactWrite(), source, progress=there.append)).ref
        await store.export_to_path(ref.artifact_id, target, progress=back.append)
    assert there == [2 * MIB, 4 * MIB, len(data)]
    assert back == there


async def test_repetition_sends_no_bytes(local: LocalArtifactStore) -> None:
    """The repetition of a finished upload costs no bytes, only their digest."""
    received = 0

    class Counting(ArtifactServicer):
        async def WriteArtifact(  # noqa: N802 - named by the proto
            self, request_iterator: Frames, context: ServerContext
        ) -> artifact_pb2.WriteArtifactResponse:
            return await super().WriteArtifact(counted(request_iterator), context)

    async def counted(frames: Frames) -> Frames:
        nonlocal received
        async for frame in frames:
            received += len(frame.data) if isinstance(frame, Chunk) else 0
            yield frame

    write, data = ArtifactWrite(upload_id="u"), os.urandom(2 * MIB)
    async with host(Counting(local, "alpha")) as store:
        first = await store.create_from_chunks(write, pieces(data))
        again = await store.create_from_chunks(write, pieces(data[:MIB], data[MIB:]))
        assert (again.outcome, again.ref) == (WriteOutcome.ALREADY_COMMITTED, first.ref)
    assert received == len(data)


class Boasting(ArtifactServicer):
    """Says of an upload what it is told to say: how much it has, and what it stored."""

    def __init__(
        self, store: LocalArtifactStore, committed: str, digest: Digest, *, reads_to_the_end: bool = True
    ) -> None:
        super().__init__(store, "alpha")
        self.committed = committed
        self.digest = digest
        self.reads_to_the_end = reads_to_the_end
        self.answered = asyncio.Event()

    async def WriteArtifact(  # noqa: N802 - named by the proto
        self, request_iterator: Frames, context: ServerContext
    ) -> artifact_pb2.WriteArtifactResponse:
        """Stores nothing."""
        await anext(request_iterator)
        await context.send_initial_metadata((("paglet-committed-size", self.committed),))
        if self.reads_to_the_end:
            async for _ in request_iterator:
                pass
        self.answered.set()
        ref = ArtifactRef(host="alpha", artifact_id="a", digest=self.digest)
        return result_to_message(ArtifactWriteResult(ref, WriteOutcome.COMMITTED))


@pytest.mark.parametrize(
    ("write", "committed", "stored"),
    [
        (ArtifactWrite(), "0", b"eurt"),
        (ArtifactWrite(), "0", b""),
        (ArtifactWrite(), "4", b"eurt"),
        (ArtifactWrite(), "5", b"true"),
        (ArtifactWrite(size_bytes=4), "5", b"true"),
        (ArtifactWrite(expected_digest=Digest.of(b"true")), "5", b"true"),
        (ArtifactWrite(), "-1", b"true"),
        (ArtifactWrite(), "", b"true"),
        (ArtifactWrite(), "many", b"true"),
        (ArtifactWrite(), "1.5", b"true"),
    ],
)
async def test_boasting_host(local: LocalArtifactStore, write: ArtifactWrite, committed: str, stored: bytes) -> None:
    """A host that claims to have what it cannot have, or to have stored other bytes, is not believed."""
    async with host(Boasting(local, committed, Digest.of(stored))) as store:
        error = await refused(store.create_from_chunks(write, pieces(b"true")))
    assert (type(error), error.reason) == (CallerError, "TRANSPORT")


async def test_host_that_answers_too_early(local: LocalArtifactStore) -> None:
    """A success that comes before the bytes were sent is none."""
    hasty = Boasting(local, "0", Digest.of(b"true"), reads_to_the_end=False)

    async def endless() -> AsyncIterator[bytes]:
        await hasty.answered.wait()
        while True:
            yield b"true"

    async with host(hasty) as store:
        await refused(store.create_from_chunks(ArtifactWrite(), endless()))


async def test_host_that_needs_no_bytes_answers_at_once(local: LocalArtifactStore) -> None:
    """Of an empty artifact there is nothing to wait for: its answer may come before the client has said that it is."""
    quick = Boasting(local, "0", Digest.of(b""), reads_to_the_end=False)
    async with host(quick) as store:

        async def nothing() -> AsyncIterator[bytes]:
            await quick.answered.wait()
            await store.usage()  # whose answer comes after that one
            return
            yield b""

        write = ArtifactWrite(expected_digest=Digest.of(b""))
        result = await store.create_from_chunks(write, nothing())
    assert (result.ref.digest, result.outcome) == (Digest.of(b""), WriteOutcome.COMMITTED)


class Stalling(ArtifactServicer):
    """Accepts everything and then does nothing."""

    async def WriteArtifact(  # noqa: N802 - named by the proto
        self, request_iterator: Frames, context: ServerContext
    ) -> artifact_pb2.WriteArtifactResponse:
        """Accepts what is asked for, and reads no more."""
        await anext(request_iterator)
        await context.send_initial_metadata((("paglet-committed-size", "0"),))
        await asyncio.Event().wait()
        raise AssertionError

    async def ReadArtifact(  # noqa: N802 - named by the proto
        self, request: artifact_pb2.ReadArtifactRequest, context: ServerContext
    ) -> AsyncIterator[ReadFrame]:
        """Sends the header, and no more."""
        async for frame in super().ReadArtifact(request, context):
            yield frame
            await asyncio.Event().wait()


async def test_stalled_host(local: LocalArtifactStore, tmp_path: Path) -> None:
    """A host that takes or gives nothing any more is given up, however long an artifact may take as a whole."""
    artifact_id = await put(local, b"x")
    folder = tmp_path / "out"
    folder.mkdir()
    async with host(Stalling(local, "alpha"), stall_timeout_s=0.2, patience_s=0.1) as store:
        for call in (
            put(store, b"short"),
            put(store, bytes(32 * MIB)),
            read_all(store, artifact_id),
            store.export_to_path(artifact_id, folder / "file"),
        ):
            error = await refused(call)
            assert (type(error), error.reason) == (DeadlineError, "DEADLINE_EXCEEDED")
    assert names_in(folder) == set()


class Lying(ArtifactServicer):
    """Sends what it is told instead of what comes after the header, and ends well."""

    def __init__(self, store: LocalArtifactStore, frames: list[ReadFrame], *, with_header: bool = True) -> None:
        super().__init__(store, "alpha")
        self.frames = frames
        self.with_header = with_header

    async def ReadArtifact(  # noqa: N802 - named by the proto
        self, request: artifact_pb2.ReadArtifactRequest, context: ServerContext
    ) -> AsyncIterator[ReadFrame]:
        """Lies."""
        if self.with_header:
            async for frame in super().ReadArtifact(request, context):
                yield frame
                break
        for frame in self.frames:
            yield frame


@pytest.mark.parametrize(
    ("frames", "kind", "reason"),
    [
        ([], DataLossError, "STORED_BLOB_CORRUPT"),
        ([Chunk(0, b"tru")], DataLossError, "STORED_BLOB_CORRUPT"),
        ([Chunk(0, b"true"), Chunk(4, b"r")], DataLossError, "STORED_BLOB_CORRUPT"),
        ([Chunk(0, b"lies")], DataLossError, "STORED_BLOB_CORRUPT"),
        ([Chunk(1, b"rue")], CallerError, "TRANSPORT"),
        ([Chunk(0, b"tr"), Chunk(0, b"ue")], CallerError, "TRANSPORT"),
        ([Chunk(0, b"tr"), artifact_pb2.ReadArtifactResponse(), Chunk(2, b"ue")], CallerError, "TRANSPORT"),
        ([artifact_pb2.ReadArtifactResponse(header=artifact_pb2.ReadHeader())], CallerError, "TRANSPORT"),
    ],
)
async def test_lying_host(
    local: LocalArtifactStore, tmp_path: Path, frames: list[ReadFrame], kind: type[PagletError], reason: str
) -> None:
    """Bytes that are not the artifact's are never taken for it, however well the stream ends."""
    artifact_id = await put(local, b"true")
    folder = tmp_path / "out"
    folder.mkdir()
    async with host(Lying(local, frames)) as store:
        for call in (read_all(store, artifact_id), store.export_to_path(artifact_id, folder / "file")):
            error = await refused(call)
            assert (type(error), error.reason) == (kind, reason)
    assert names_in(folder) == set()


async def test_no_more_is_taken_than_was_announced(local: LocalArtifactStore) -> None:
    """A host that sends for ever is left at the first byte too many, and that byte is handed to nobody."""
    artifact_id = await put(local, b"true")

    class Endless(Lying):
        async def ReadArtifact(  # noqa: N802 - named by the proto
            self, request: artifact_pb2.ReadArtifactRequest, context: ServerContext
        ) -> AsyncIterator[ReadFrame]:
            async for frame in super().ReadArtifact(request, context):
                yield frame
            for offset in itertools.count(4):
                yield Chunk(offset, b"r")

    taken = b""
    async with host(Endless(local, [Chunk(0, b"true")])) as store, store.open_reader(artifact_id) as reader:

        async def take() -> None:
            nonlocal taken
            async for piece in reader:
                taken += piece

        error = await refused(take())
    assert isinstance(error, DataLossError)
    assert (error.reason, taken) == ("STORED_BLOB_CORRUPT", b"true")


@pytest.mark.parametrize("frames", [[], [Chunk(0, b"true")]])
async def test_host_without_a_header(local: LocalArtifactStore, frames: list[ReadFrame]) -> None:
    """A read that does not begin with its header is none."""
    async with host(Lying(local, frames, with_header=False)) as store:
        error = await refused(read_all(store, "a"))
    assert (type(error), error.reason) == (CallerError, "TRANSPORT")


@pytest.mark.slow
async def test_host_killed_in_the_middle(root: Path) -> None:
    """When the host dies during an upload and does not come back, the way is at fault; what it has is kept."""
    command = (sys.executable, "-m", "tests.artifacts.serve", str(root))
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    port = int(await process.stdout.readline())
    write = ArtifactWrite(upload_id="u", artifact_id="a")

    async def deadly() -> AsyncIterator[bytes]:
        yield bytes(MIB)
        await eventually(it_has_come)
        process.kill()
        await process.wait()
        while True:
            yield bytes(MIB)

    async with open_channel(f"127.0.0.1:{port}") as channel:
        store = RemoteArtifactStore(channel, timeout_s=0.2, patience_s=0.2)

        async def it_has_come() -> bool:
            return (await store.upload("u")).committed_size == MIB

        error = await refused(store.create_from_chunks(write, deadly()))
        assert (type(error), error.reason) == (UnavailableError, "TRANSPORT")
    async with opened(root) as local:
        assert (await local.upload("u")).committed_size == MIB
        result = await local.create_from_chunks(write, pieces(bytes(64 * MIB)))
        assert result.ref.digest == Digest.of(bytes(64 * MIB))
    assert_consistent(root)
