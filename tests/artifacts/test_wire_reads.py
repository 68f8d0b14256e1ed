"""What a client without our SDK sees of reads: ranges, what the header tells, and how they are refused."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from paglet.v1 import artifact_pb2, artifact_pb2_grpc
from paglets.artifacts.local import LocalArtifactStore
from paglets.client.channel import open_channel
from paglets.errors import DataLossError
from paglets.wire.frames import MESSAGE_BYTES
from tests.artifacts.serve import serving
from tests.artifacts.support import put
from tests.artifacts.test_wire import Stub, refusal

MIB = 1024 * 1024
DATA = bytes(range(256)) * 10_000


@pytest.fixture
async def stub(local: LocalArtifactStore) -> AsyncIterator[Stub]:
    """The generated stub on a host of this process, which has the artifact `a`."""
    await put(local, DATA, artifact_id="a")
    async with serving(local) as port, open_channel(f"127.0.0.1:{port}") as channel:
        yield artifact_pb2_grpc.ArtifactServiceStub(channel)


async def read(stub: Stub, offset: int, limit: int) -> list[artifact_pb2.ReadArtifactResponse]:
    """All frames of a read."""
    request = artifact_pb2.ReadArtifactRequest(artifact_id="a", read_offset=offset, read_limit=limit)
    return [frame async for frame in stub.ReadArtifact(request)]


@pytest.mark.parametrize(
    ("offset", "limit", "length"),
    [(0, 0, len(DATA)), (0, 7, 7), (MIB + 3, 0, len(DATA) - MIB - 3), (5, 2 * MIB, 2 * MIB), (len(DATA), 0, 0)],
)
async def test_range(stub: Stub, offset: int, limit: int, length: int) -> None:
    """The header says where the bytes begin, how many come and in which chunks; then just those come."""
    first, *rest = await read(stub, offset, limit)
    assert (first.header.offset, first.header.length, first.header.message_bytes) == (offset, length, MESSAGE_BYTES)
    assert first.header.artifact.digest.size_bytes == len(DATA)
    assert b"".join(frame.chunk.data for frame in rest) == DATA[offset : offset + length]
    assert [frame.chunk.offset for frame in rest] == list(range(offset, offset + length, MESSAGE_BYTES))


@pytest.mark.parametrize(("offset", "limit"), [(len(DATA) + 1, 0), (len(DATA), 1), (1, len(DATA)), (2**63 - 1, 1)])
async def test_range_not_satisfiable(stub: Stub, offset: int, limit: int) -> None:
    """A range that goes past the end is refused with the size, however far it goes."""
    found = await refusal(read(stub, offset, limit))
    assert (found.code, found.reason) == ("OUT_OF_RANGE", "RANGE_NOT_SATISFIABLE")
    assert found.metadata == {"size_bytes": str(len(DATA)), "read_offset": str(offset)}


@pytest.mark.parametrize(("offset", "limit", "field"), [(-1, 0, "read_offset"), (0, -1, "read_limit")])
async def test_negative_range(stub: Stub, offset: int, limit: int, field: str) -> None:
    """A negative number is refused by the name of its field."""
    found = await refusal(read(stub, offset, limit))
    assert (found.code, found.reason, found.fields) == ("INVALID_ARGUMENT", "MALFORMED_REQUEST", [field])


@pytest.mark.parametrize(("offset", "limit"), [(0, 10), (len(DATA) - 10, 10), (len(DATA), 0), (0, 0)])
async def test_range_of_a_corrupt_artifact(stub: Stub, local: LocalArtifactStore, offset: int, limit: int) -> None:
    """Once the bytes are known to be wrong somewhere, no range of them is handed out."""
    path = await local.blob_path("a")
    path.chmod(0o600)
    path.write_bytes(DATA[:-1] + b"x")
    await refusal(read(stub, 0, 0))
    found = await refusal(read(stub, offset, limit))
    assert (found.code, found.reason) == ("DATA_LOSS", "STORED_BLOB_CORRUPT")
    assert found.metadata == {"artifact_id": "a"}


async def test_range_of_what_is_gone(stub: Stub, local: LocalArtifactStore) -> None:
    """A file that ends before the range does is no end of the range."""
    path = await local.blob_path("a")
    path.chmod(0o600)
    path.write_bytes(DATA[: 2 * MIB])
    found = await refusal(read(stub, MIB, 0))
    assert (found.code, found.reason) == ("DATA_LOSS", "STORED_BLOB_CORRUPT")


async def test_range_that_shrinks_while_it_is_read(stub: Stub, local: LocalArtifactStore) -> None:
    """Bytes that vanish while a range is read end it with DATA_LOSS, never as if that were all."""
    path = await local.blob_path("a")
    async with local.open_reader("a", offset=1, piece_bytes=MIB) as reader:
        path.chmod(0o600)
        path.write_bytes(DATA[: MIB + 1])
        with pytest.raises(DataLossError):
            async for _ in reader:
                pass
    assert (await refusal(read(stub, 0, 1))).code == "DATA_LOSS"
