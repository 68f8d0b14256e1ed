"""Uploads over a way that breaks: they end well, and nothing is sent twice but what was on its way."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TypeAlias

import grpc
import pytest

from paglet.v1 import artifact_pb2, artifact_pb2_grpc
from paglets.artifacts.local import LocalArtifactStore
from paglets.artifacts.store import ArtifactWrite, WriteOutcome
from paglets.client.artifacts import RemoteArtifactStore
from paglets.client.channel import open_channel
from paglets.digest import Digest
from paglets.errors import PreconditionError, UnavailableError
from tests.artifacts.relay import Relay
from tests.artifacts.serve import serving
from tests.artifacts.support import assert_consistent, opened, pieces, read_all, refused

MIB = 1024 * 1024
Frame = artifact_pb2.WriteArtifactRequest
Stub: TypeAlias = "artifact_pb2_grpc.ArtifactServiceAsyncStub"


@pytest.fixture
async def roomy(root: Path) -> AsyncIterator[LocalArtifactStore]:
    """A store without bounds."""
    async with opened(root) as store:
        yield store


@pytest.mark.slow
async def test_goes_on_over_a_cut_connection(roomy: LocalArtifactStore, root: Path, tmp_path: Path) -> None:
    """A file arrives whole over a connection that is cut again and again; what was there is not sent again."""
    data, source = os.urandom(24 * MIB), tmp_path / "source"
    source.write_bytes(data)
    async with serving(roomy) as port, Relay(port) as relay, open_channel(relay.address) as channel:
        relay.cut_after(5 * MIB, times=3)
        store = RemoteArtifactStore(channel)
        result = await store.create_from_path(ArtifactWrite(), source)
        assert result.ref.digest == Digest.of(data)
        assert relay.cuts == 3
        assert relay.sent < len(data) + 3 * 12 * MIB
    assert await read_all(roomy, result.ref.artifact_id) == data
    assert_consistent(root)


@pytest.mark.slow
async def test_a_stream_of_bytes_goes_on_too(roomy: LocalArtifactStore, root: Path) -> None:
    """Bytes that cannot be had again are held until the host has them, and not longer."""
    data = os.urandom(40 * MIB)

    async def once() -> AsyncIterator[bytes]:
        for offset in range(0, len(data), 700_001):
            yield data[offset : offset + 700_001]

    async with serving(roomy) as port, Relay(port) as relay, open_channel(relay.address) as channel:
        relay.cut_after(7 * MIB, times=3)
        result = await RemoteArtifactStore(channel).create_from_chunks(ArtifactWrite(), once())
        assert relay.cuts == 3
    assert result.ref.digest == Digest.of(data)
    assert await read_all(roomy, result.ref.artifact_id) == data
    assert_consistent(root)


async def test_a_source_that_changed_is_never_spliced(local: LocalArtifactStore, root: Path, tmp_path: Path) -> None:
    """A file that was changed between two attempts is refused by its first bytes."""
    source, write = tmp_path / "source", ArtifactWrite(upload_id="u", artifact_id="a")
    source.write_bytes(b"first" * 1000)
    async with await local.open_upload(_of(write, source)) as upload:
        await upload.write(0, source.read_bytes()[:2000])
    source.write_bytes(b"other" * 1000)
    async with serving(local) as port, open_channel(f"127.0.0.1:{port}") as channel:
        store = RemoteArtifactStore(channel)
        error = await refused(store.create_from_path(write, source))
        assert (type(error), error.reason) == (PreconditionError, "PREFIX_MISMATCH")
        assert error.metadata["committed_size"] == "2000"
        source.write_bytes(b"first" * 1000)
        await store.create_from_path(write, source)
    assert await read_all(local, "a") == b"first" * 1000
    assert_consistent(root)


def _of(write: ArtifactWrite, source: Path) -> ArtifactWrite:
    """The write as it is made of a file."""
    return ArtifactWrite(
        upload_id=write.upload_id,
        artifact_id=write.artifact_id,
        name=source.name,
        size_bytes=source.stat().st_size,
    )


async def test_what_fails_for_good_leaves_nothing_without_a_name(local: LocalArtifactStore, root: Path) -> None:
    """An upload that nobody could go on with is cancelled by who began it."""

    async def breaks() -> AsyncIterator[bytes]:
        yield bytes(3 * MIB)
        raise OSError(5, "the tape broke")

    async with serving(local) as port, open_channel(f"127.0.0.1:{port}") as channel:
        with pytest.raises(OSError, match="the tape broke"):
            await RemoteArtifactStore(channel).create_from_chunks(ArtifactWrite(size_bytes=4 * MIB), breaks())
    assert_consistent(root)


async def test_a_source_that_fails_like_a_connection_is_no_end(local: LocalArtifactStore, root: Path) -> None:
    """An error of the source that looks as if it might pass is raised, and the bytes so far are no artifact."""

    async def breaks() -> AsyncIterator[bytes]:
        yield b"some"
        raise UnavailableError("TRANSPORT", "the host that the bytes come from is gone")

    async with serving(local) as port, open_channel(f"127.0.0.1:{port}") as channel:
        error = await refused(RemoteArtifactStore(channel).create_from_chunks(ArtifactWrite(), breaks()))
        assert "bytes come from" in error.message
    assert (await local.list()).refs == ()
    assert_consistent(root)


async def test_the_second_writer_takes_over(local: LocalArtifactStore, root: Path) -> None:
    """While one writer stands still another sends the same upload, and it ends well."""
    write, data = ArtifactWrite(upload_id="u", artifact_id="a"), os.urandom(3 * MIB)
    half_way = asyncio.Event()

    async def stuck() -> AsyncIterator[bytes]:
        yield data[:MIB]
        half_way.set()
        await asyncio.Event().wait()

    async with (
        serving(local) as port,
        open_channel(f"127.0.0.1:{port}") as one,
        open_channel(f"127.0.0.1:{port}") as other,
    ):
        first = asyncio.create_task(RemoteArtifactStore(one).create_from_chunks(write, stuck()))
        await half_way.wait()
        second = await RemoteArtifactStore(other).create_from_chunks(write, pieces(data))
        assert second.outcome is WriteOutcome.COMMITTED
        first.cancel()
        await asyncio.wait((first,))
    assert await read_all(local, "a") == data
    assert_consistent(root)


async def test_a_fenced_writer_is_told_at_once(local: LocalArtifactStore) -> None:
    """A stream whose upload was taken over ends with WRITER_FENCED, though it waits for its client."""
    async with serving(local) as port, open_channel(f"127.0.0.1:{port}") as channel:
        stub: Stub = artifact_pb2_grpc.ArtifactServiceStub(channel)
        call = stub.WriteArtifact()
        await call.write(Frame(header=artifact_pb2.WriteHeader(upload_id="u", writer_epoch=1)))
        metadata = await call.initial_metadata()
        assert (metadata["paglet-committed-size"], metadata["paglet-writer-epoch"]) == ("0", "1")
        async with await local.open_upload(ArtifactWrite(upload_id="u"), writer_epoch=2):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
        assert caught.value.code() is grpc.StatusCode.ABORTED


async def test_a_stream_without_finish_is_a_partial(local: LocalArtifactStore) -> None:
    """It is answered with what is durable, and no error."""
    async with serving(local) as port, open_channel(f"127.0.0.1:{port}") as channel:
        stub: Stub = artifact_pb2_grpc.ArtifactServiceStub(channel)
        frames = [
            Frame(header=artifact_pb2.WriteHeader(upload_id="u")),
            Frame(chunk=artifact_pb2.WriteChunk(offset=0, data=b"so far")),
        ]
        reply = await stub.WriteArtifact(iter(frames))
        assert (reply.outcome, reply.committed_size) == (artifact_pb2.WRITE_OUTCOME_PARTIAL, 6)
        assert not reply.HasField("artifact")
        got = await stub.GetUpload(artifact_pb2.GetUploadRequest(upload_id="u"))
        assert got.upload.prefix_digest.value == Digest.of(b"so far").value
        await stub.CancelUpload(artifact_pb2.CancelUploadRequest(upload_id="u"))
        for call, code in (
            (stub.CancelUpload(artifact_pb2.CancelUploadRequest(upload_id="u")), grpc.StatusCode.NOT_FOUND),
            (stub.GetUpload(artifact_pb2.GetUploadRequest(upload_id="u")), grpc.StatusCode.NOT_FOUND),
            (stub.GetUpload(artifact_pb2.GetUploadRequest(upload_id="U")), grpc.StatusCode.INVALID_ARGUMENT),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
            assert caught.value.code() is code
        await stub.CancelUpload(artifact_pb2.CancelUploadRequest(upload_id="u", allow_missing=True))


async def test_known_bytes_are_not_sent(local: LocalArtifactStore, root: Path) -> None:
    """A digest that the owner may read costs no bytes; the source is not even asked for them."""
    await local.create_from_chunks(ArtifactWrite(owner="o"), pieces(b"known"))

    async def never() -> AsyncIterator[bytes]:
        raise AssertionError
        yield b""

    async with serving(local) as port, open_channel(f"127.0.0.1:{port}") as channel:
        write = ArtifactWrite(owner="o", expected_digest=Digest.of(b"known"))
        result = await RemoteArtifactStore(channel).create_from_chunks(write, never())
        assert result.outcome is WriteOutcome.DEDUPLICATED
    assert_consistent(root)
