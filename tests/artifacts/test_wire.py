"""What a client without our SDK sees: frames, statuses and their details, by the generated stub alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from operator import methodcaller
from pathlib import Path
from typing import TypeAlias

import grpc
import pytest
from google.rpc.error_details_pb2 import (
    BadRequest,
    ErrorInfo,
    PreconditionFailure,
    QuotaFailure,
    ResourceInfo,
    RetryInfo,
)
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from paglet.v1 import artifact_pb2, artifact_pb2_grpc, types_pb2
from paglets.artifacts import refusals
from paglets.artifacts.local import LocalArtifactStore
from paglets.artifacts.store import ArtifactWrite, Usage
from paglets.artifacts.upload import LocalUpload
from paglets.client.channel import open_channel
from paglets.digest import Digest
from tests.artifacts.conftest import MAX_ARTIFACT_BYTES, QUOTA_BYTES
from tests.artifacts.serve import serving
from tests.artifacts.support import assert_consistent, cancel_all, eventually, is_empty, put, read_all

MIB = 1024 * 1024
Frame = artifact_pb2.WriteArtifactRequest
Stub: TypeAlias = "artifact_pb2_grpc.ArtifactServiceAsyncStub"


@pytest.fixture
async def stub(local: LocalArtifactStore) -> AsyncIterator[Stub]:
    """The generated stub on a host of this process, so that the test can look behind it."""
    async with serving(local) as port, open_channel(f"127.0.0.1:{port}") as channel:
        yield artifact_pb2_grpc.ArtifactServiceStub(channel)


def digest_of(data: bytes) -> types_pb2.Digest:
    """A digest as it goes over the wire."""
    return types_pb2.Digest(
        function=types_pb2.DIGEST_FUNCTION_BLAKE3_256, value=Digest.of(data).value, size_bytes=len(data)
    )


def header(**fields: str | int) -> Frame:
    """The first frame of upload `u`."""
    found = artifact_pb2.WriteHeader(upload_id="u", artifact_id="a")
    for name, value in fields.items():
        setattr(found, name, value)
    return Frame(header=found)


def chunk(offset: int, data: bytes) -> Frame:
    """A frame with bytes."""
    return Frame(chunk=artifact_pb2.WriteChunk(offset=offset, data=data))


def finish(data: bytes) -> Frame:
    """The last frame of these bytes."""
    return Frame(finish=artifact_pb2.WriteFinish(total_size=len(data), digest=digest_of(data)))


async def send(stub: Stub, frames: Sequence[Frame]) -> artifact_pb2.WriteArtifactResponse:
    """Sends frames one after the other, waiting for nothing."""

    async def stream() -> AsyncIterator[Frame]:
        for frame in frames:
            yield frame

    return await stub.WriteArtifact(stream(), timeout=20)


class Refusal:
    """A status, taken apart."""

    def __init__(self, error: grpc.aio.AioRpcError) -> None:
        # The stubs know the function for the calls of threads alone; it takes these errors as well.
        status: Status | None = methodcaller("from_call", error)(rpc_status)
        assert status is not None
        assert status.code == error.code().value[0]
        self.code = error.code().name
        self.message = status.message
        info, bad = ErrorInfo(), BadRequest()
        self.retry, self.resource = RetryInfo(), ResourceInfo()
        self.quota, self.precondition = QuotaFailure(), PreconditionFailure()
        for detail in status.details:
            for kind in (info, bad, self.retry, self.resource, self.quota, self.precondition):
                detail.Unpack(kind)
        assert info.domain == "paglet"
        self.reason, self.metadata = info.reason, dict(info.metadata)
        self.fields = [violation.field for violation in bad.field_violations]


async def refusal(call: Awaitable[object]) -> Refusal:
    """How a call is refused."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return Refusal(caught.value)


async def read(stub: Stub, artifact_id: str) -> list[artifact_pb2.ReadArtifactResponse]:
    """All frames of a read."""
    return [frame async for frame in stub.ReadArtifact(artifact_pb2.ReadArtifactRequest(artifact_id=artifact_id))]


async def test_write_and_read(stub: Stub) -> None:
    """An artifact goes in as frames and comes out as frames."""
    data = bytes(range(256)) * 10_000
    reply = await send(
        stub,
        [
            header(name="n"),
            chunk(0, data[:5]),
            chunk(5, data[5 : 2 * MIB]),
            chunk(2 * MIB, data[2 * MIB :]),
            finish(data),
        ],
    )
    assert reply.outcome == artifact_pb2.WRITE_OUTCOME_COMMITTED
    assert reply.committed_size == len(data)
    assert (reply.artifact.artifact_id, reply.artifact.name, reply.artifact.host) == ("a", "n", "alpha")
    assert reply.artifact.digest == digest_of(data)
    assert reply.artifact.owner_policy == artifact_pb2.OWNER_POLICY_KEEP
    assert reply.artifact.create_time.ToMicroseconds() == 1_700_000_000_123_456
    assert not reply.artifact.HasField("expire_time")
    reply.artifact.verified_time.CopyFrom(reply.artifact.create_time)
    first, *rest = await read(stub, "a")
    described = (await stub.GetArtifact(artifact_pb2.GetArtifactRequest(artifact_id="a"))).artifact
    assert first.header.artifact == described
    assert b"".join(frame.chunk.data for frame in rest) == data
    assert [frame.chunk.offset for frame in rest] == [0, 2 * MIB]
    assert described == reply.artifact


async def test_acceptance_comes_before_the_bytes(stub: Stub) -> None:
    """A client that waits is told that it is accepted before it has sent a byte, or refused without sending any."""
    call = stub.WriteArtifact()
    await call.write(header(expected_size=3))
    metadata = await call.initial_metadata()
    assert metadata["paglet-committed-size"] == "0"
    await call.write(chunk(0, b"abc"))
    await call.write(finish(b"abc"))
    await call.done_writing()
    assert (await call).outcome == artifact_pb2.WRITE_OUTCOME_COMMITTED
    again = stub.WriteArtifact()
    await again.write(header(expected_size=3))
    assert (await again.initial_metadata())["paglet-committed-size"] == "3"
    await again.write(finish(b"abc"))
    await again.done_writing()
    assert (await again).outcome == artifact_pb2.WRITE_OUTCOME_ALREADY_COMMITTED
    refused = stub.WriteArtifact()
    await refused.write(header(expected_size=4))
    assert "paglet-committed-size" not in await refused.initial_metadata()
    assert (await refusal(refused)).reason == "REQUEST_ID_REUSED"


UNKNOWN_FUNCTION = types_pb2.Digest(value=bytes(32), size_bytes=0)
SHORT_DIGEST = types_pb2.Digest(function=types_pb2.DIGEST_FUNCTION_BLAKE3_256, value=b"short", size_bytes=3)
BROKEN_STREAMS: list[tuple[list[Frame], str, str, list[str]]] = [
    ([], "INVALID_ARGUMENT", "MALFORMED_REQUEST", ["header"]),
    ([Frame()], "INVALID_ARGUMENT", "MALFORMED_REQUEST", ["header"]),
    ([chunk(0, b"x")], "INVALID_ARGUMENT", "MALFORMED_REQUEST", ["header"]),
    ([finish(b"")], "INVALID_ARGUMENT", "MALFORMED_REQUEST", ["header"]),
    ([header(), header()], "INVALID_ARGUMENT", "MALFORMED_REQUEST", ["header"]),
    ([header(), Frame()], "INVALID_ARGUMENT", "MALFORMED_REQUEST", ["frame"]),
    ([header(), chunk(0, b"")], "INVALID_ARGUMENT", "MALFORMED_REQUEST", ["chunk.data"]),
    ([header(), chunk(-1, b"x")], "INVALID_ARGUMENT", "MALFORMED_REQUEST", ["chunk.offset"]),
    ([header(), chunk(0, bytes(2 * MIB + 1))], "INVALID_ARGUMENT", "MALFORMED_REQUEST", ["chunk.data"]),
    ([header(), finish(b""), finish(b"")], "INVALID_ARGUMENT", "MALFORMED_REQUEST", ["frame"]),
    ([header(), finish(b""), chunk(0, b"x")], "INVALID_ARGUMENT", "MALFORMED_REQUEST", ["frame"]),
    ([header(), Frame(finish=artifact_pb2.WriteFinish())], "INVALID_ARGUMENT", "MALFORMED_REQUEST", ["finish.digest"]),
    (
        [header(), Frame(finish=artifact_pb2.WriteFinish(digest=UNKNOWN_FUNCTION))],
        "INVALID_ARGUMENT",
        "MALFORMED_REQUEST",
        ["digest.function"],
    ),
    (
        [header(), Frame(finish=artifact_pb2.WriteFinish(total_size=3, digest=SHORT_DIGEST))],
        "INVALID_ARGUMENT",
        "MALFORMED_REQUEST",
        ["digest"],
    ),
    (
        [header(), Frame(finish=artifact_pb2.WriteFinish(total_size=-1, digest=digest_of(b"")))],
        "INVALID_ARGUMENT",
        "MALFORMED_REQUEST",
        ["finish.total_size"],
    ),
    ([header(upload_id="")], "INVALID_ARGUMENT", "INVALID_ID", ["upload_id"]),
    ([header(upload_id="../u")], "INVALID_ARGUMENT", "INVALID_ID", ["upload_id"]),
    ([header(owner_policy=9)], "INVALID_ARGUMENT", "MALFORMED_REQUEST", ["owner_policy"]),
    ([header(expected_size=-1)], "INVALID_ARGUMENT", "MALFORMED_REQUEST", ["expected_size"]),
    ([header(writer_epoch=-1)], "INVALID_ARGUMENT", "MALFORMED_REQUEST", ["writer_epoch"]),
    ([header(), chunk(1, b"x"), finish(b"x")], "OUT_OF_RANGE", "OFFSET_MISMATCH", []),
    ([header(), chunk(0, b"xx"), chunk(1, b"x"), finish(b"xx")], "OUT_OF_RANGE", "OFFSET_MISMATCH", []),
    ([header(), chunk(0, b"xy"), finish(b"yx")], "INVALID_ARGUMENT", "DIGEST_MISMATCH", []),
    ([header(), chunk(0, b"xy"), finish(b"x")], "INVALID_ARGUMENT", "SIZE_MISMATCH", []),
    ([header(), finish(b"x")], "INVALID_ARGUMENT", "SIZE_MISMATCH", []),
]


@pytest.mark.parametrize(("frames", "code", "reason", "fields"), BROKEN_STREAMS)
async def test_broken_streams(
    stub: Stub, local: LocalArtifactStore, root: Path, frames: list[Frame], code: str, reason: str, fields: list[str]
) -> None:
    """A stream that breaks a rule is refused with its code, reason and field; what came before that may stay."""
    found = await refusal(send(stub, frames))
    assert (found.code, found.reason, found.fields) == (code, reason, fields)
    assert await cancel_all(local) <= 1
    assert (await local.usage()).host == Usage(limit=QUOTA_BYTES, used=0, reserved=0)
    assert_consistent(root)
    assert (await send(stub, [header(), finish(b"")])).outcome == artifact_pb2.WRITE_OUTCOME_COMMITTED


async def test_wrong_size_says_how_wrong(stub: Stub) -> None:
    """The numbers are in the metadata."""
    found = await refusal(send(stub, [header(expected_size=3), chunk(0, b"abcd")]))
    assert (found.code, found.reason) == ("INVALID_ARGUMENT", "SIZE_MISMATCH")
    assert found.metadata == {"expected": "3", "actual": "4"}
    found = await refusal(send(stub, [header(), chunk(7, b"abcd")]))
    assert found.metadata == {"expected_offset": "0", "provided_offset": "7"}
    found = await refusal(send(stub, [header(), chunk(0, b"ab"), finish(b"ba")]))
    assert found.metadata == {"expected": str(Digest.of(b"ba")), "actual": str(Digest.of(b"ab"))}


async def test_too_large(stub: Stub) -> None:
    """An artifact beyond the limit is refused with the limit."""
    found = await refusal(send(stub, [header(expected_size=MAX_ARTIFACT_BYTES + 1)]))
    assert (found.code, found.reason) == ("INVALID_ARGUMENT", "ARTIFACT_TOO_LARGE")
    assert found.metadata == {"limit_bytes": str(MAX_ARTIFACT_BYTES), "requested_bytes": str(MAX_ARTIFACT_BYTES + 1)}
    assert found.fields == ["expected_size"]
    told = types_pb2.Digest(function=types_pb2.DIGEST_FUNCTION_BLAKE3_256, value=bytes(32), size_bytes=1 << 40)
    found = await refusal(send(stub, [Frame(header=artifact_pb2.WriteHeader(upload_id="u", expected_digest=told))]))
    assert (found.reason, found.fields) == ("ARTIFACT_TOO_LARGE", ["expected_digest"])
    chunks = [chunk(offset, bytes(2 * MIB)) for offset in range(0, MAX_ARTIFACT_BYTES + 1, 2 * MIB)]
    found = await refusal(send(stub, [header(), *chunks]))
    assert (found.reason, found.fields) == ("ARTIFACT_TOO_LARGE", ["chunk.data"])


async def test_message_that_grpc_refuses(stub: Stub, root: Path) -> None:
    """A message beyond what a host takes is refused by gRPC, without a word of ours; it makes no upload."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await send(stub, [header(), chunk(0, bytes(4 * MIB))])
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert methodcaller("from_call", caught.value)(rpc_status) is None

    async def dropped() -> bool:
        return is_empty(root)

    await eventually(dropped)


async def test_closing_store(stub: Stub, local: LocalArtifactStore) -> None:
    """An upload that is under way when its store closes is told so, and not that it was at fault."""
    call = stub.WriteArtifact()
    await call.write(header())
    await call.initial_metadata()
    await local.close()
    found = await refusal(call)
    assert (found.code, found.reason) == ("UNAVAILABLE", "SHUTTING_DOWN")


async def test_upload_that_is_lost_while_it_is_accepted(
    stub: Stub, local: LocalArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer is told so, though the answer that accepts him is on its way."""
    open_upload = local.open_upload

    async def open_and_lose(write: ArtifactWrite, *, writer_epoch: int, prefix: Digest | None) -> LocalUpload:
        upload = await open_upload(write, writer_epoch=writer_epoch, prefix=prefix)
        assert isinstance(upload, LocalUpload)
        await upload.lose(refusals.shutting_down())
        return upload

    monkeypatch.setattr(local, "open_upload", open_and_lose)
    call = stub.WriteArtifact(timeout=10)
    await call.write(header())
    found = await refusal(call)
    assert (found.code, found.reason) == ("UNAVAILABLE", "SHUTTING_DOWN")


async def test_quota_exceeded(stub: Stub, local: LocalArtifactStore) -> None:
    """A full quota says so in numbers, and in the standard detail."""
    uploads = [await local.open_upload(ArtifactWrite(size_bytes=MAX_ARTIFACT_BYTES)) for _ in range(4)]
    found = await refusal(send(stub, [header(expected_size=1000)]))
    assert (found.code, found.reason) == ("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED")
    assert found.metadata == {
        "subject": "host",
        "limit_bytes": "25165824",
        "used_bytes": "0",
        "reserved_bytes": "25165824",
        "requested_bytes": "1000",
    }
    assert [violation.subject for violation in found.quota.violations] == ["host"]
    for upload in uploads:
        await upload.drop()


async def test_writers_in_each_others_way(stub: Stub, local: LocalArtifactStore) -> None:
    """Upload ids and artifact ids that are taken are refused each in its own way."""
    await put(local, b"there", artifact_id="taken")
    found = await refusal(send(stub, [header(artifact_id="taken")]))
    assert (found.code, found.reason) == ("ALREADY_EXISTS", "ARTIFACT_EXISTS")
    assert (found.resource.resource_type, found.resource.resource_name) == ("artifact", "taken")
    async with await local.open_upload(ArtifactWrite(upload_id="u", artifact_id="a")) as upload:
        found = await refusal(send(stub, [header(artifact_id="b")]))
        assert (found.code, found.reason) == ("FAILED_PRECONDITION", "REQUEST_ID_REUSED")
        for frames, kind in (([header()], "upload"), ([header(upload_id="v")], "artifact")):
            found = await refusal(send(stub, frames))
            assert (found.code, found.reason) == ("ABORTED", "UPLOAD_IN_PROGRESS")
            assert found.resource.resource_type == kind
            assert found.retry.retry_delay.ToMilliseconds() == 1000
        await upload.finish()
    found = await refusal(send(stub, [header(), chunk(0, b"other"), finish(b"other")]))
    assert (found.code, found.reason) == ("FAILED_PRECONDITION", "REQUEST_ID_REUSED")
    assert found.metadata == {"request_id": "u"}


async def test_missing_artifacts(stub: Stub) -> None:
    """What is not there is NOT_FOUND; deleting it may be a success."""
    get = stub.GetArtifact(artifact_pb2.GetArtifactRequest(artifact_id="no"))
    delete = stub.DeleteArtifact(artifact_pb2.DeleteArtifactRequest(artifact_id="no"))
    for call in (get, delete, read(stub, "no")):
        found = await refusal(call)
        assert (found.code, found.reason) == ("NOT_FOUND", "ARTIFACT_NOT_FOUND")
        assert (found.resource.resource_type, found.resource.resource_name) == ("artifact", "no")
    await stub.DeleteArtifact(artifact_pb2.DeleteArtifactRequest(artifact_id="no", allow_missing=True))
    for hostile in ("", "../x", "A"):
        found = await refusal(stub.GetArtifact(artifact_pb2.GetArtifactRequest(artifact_id=hostile)))
        assert (found.code, found.reason, found.fields) == ("INVALID_ARGUMENT", "INVALID_ID", ["artifact_id"])


async def test_pages(stub: Stub, local: LocalArtifactStore) -> None:
    """Tokens hold for the list they came from, and for no other."""
    for number in range(3):
        await put(local, bytes([number]))
    first = await stub.ListArtifacts(artifact_pb2.ListArtifactsRequest(page_size=2))
    rest = await stub.ListArtifacts(artifact_pb2.ListArtifactsRequest(page_token=first.next_page_token))
    assert [len(first.artifacts), len(rest.artifacts), rest.next_page_token] == [2, 1, ""]
    for request in (
        artifact_pb2.ListArtifactsRequest(page_token=first.next_page_token, owner=""),
        artifact_pb2.ListArtifactsRequest(page_token="made up"),  # noqa: S106 - no password
    ):
        found = await refusal(stub.ListArtifacts(request))
        assert (found.code, found.reason, found.fields) == ("INVALID_ARGUMENT", "MALFORMED_REQUEST", ["page_token"])
    found = await refusal(stub.ListArtifacts(artifact_pb2.ListArtifactsRequest(page_size=-1)))
    assert (found.code, found.reason, found.fields) == ("INVALID_ARGUMENT", "MALFORMED_REQUEST", ["page_size"])


async def test_corrupt_artifact(stub: Stub, local: LocalArtifactStore) -> None:
    """A damaged artifact is DATA_LOSS, never the end of a stream."""
    await put(local, b"damaged soon", artifact_id="a")
    path = await local.blob_path("a")
    path.chmod(0o600)
    path.write_bytes(b"damaged now!")
    found = await refusal(read(stub, "a"))
    assert (found.code, found.reason) == ("DATA_LOSS", "STORED_BLOB_CORRUPT")
    assert found.metadata == {"artifact_id": "a"}


async def test_stalled_upload(local: LocalArtifactStore, root: Path) -> None:
    """A stream that stands still ends; what came is kept."""
    async with serving(local, stall_timeout_s=0.2) as port, open_channel(f"127.0.0.1:{port}") as channel:
        stub: Stub = artifact_pb2_grpc.ArtifactServiceStub(channel)
        call = stub.WriteArtifact()
        await call.write(header())
        await call.write(chunk(0, b"and then nothing"))
        found = await refusal(call)
    assert (found.code, found.reason) == ("ABORTED", "UPLOAD_STALLED")
    assert found.retry.retry_delay.ToMilliseconds() == 1000
    assert (await local.upload("u")).committed_size == len(b"and then nothing")
    await local.cancel_upload("u")
    assert_consistent(root)


async def test_stream_that_is_not_closed(local: LocalArtifactStore) -> None:
    """Who sends finish and leaves the stream open is told so; what he sent is kept, and no artifact."""
    async with serving(local, stall_timeout_s=0.2) as port, open_channel(f"127.0.0.1:{port}") as channel:
        stub: Stub = artifact_pb2_grpc.ArtifactServiceStub(channel)
        call = stub.WriteArtifact()
        for frame in (header(), chunk(0, b"all"), finish(b"all")):
            await call.write(frame)
        found = await refusal(call)
    assert (found.reason, found.message) == (
        "UPLOAD_STALLED",
        "after finish the stream was not closed for 0.2 s; what came is kept, go on from there",
    )
    assert (await local.upload("u")).committed_size == 3
    assert (await local.list()).refs == ()


async def test_vanished_client(stub: Stub, local: LocalArtifactStore, root: Path) -> None:
    """An upload whose client goes away is dropped."""
    call = stub.WriteArtifact()
    await call.write(header(expected_size=100))
    await call.initial_metadata()
    assert (await local.usage()).host.reserved == 100
    call.cancel()

    async def dropped() -> bool:
        return (await local.usage()).host.reserved == 0

    await eventually(dropped)
    assert_consistent(root)


async def test_many_clients(stub: Stub, root: Path, local: LocalArtifactStore) -> None:
    """Uploads beside each other do not mix."""

    async def one(number: int) -> None:
        data = bytes([number]) * 100_000
        name = f"a{number}"
        frames = [header(upload_id=name, artifact_id=name)]
        frames += [chunk(start, data[start : start + 9999]) for start in range(0, len(data), 9999)]
        await send(stub, [*frames, finish(data)])
        assert await read_all(local, name) == data

    await asyncio.gather(*(one(number) for number in range(20)))
    assert_consistent(root)
