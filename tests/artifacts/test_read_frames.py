"""What a host may send as a read, and what is no answer of ours."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from paglet.v1 import artifact_pb2, types_pb2
from paglets.errors import CallerError
from paglets.wire.chunk_codec import Chunk, ReadFrame
from paglets.wire.frames import ReadFrames
from tests.artifacts.support import refused

Frame = artifact_pb2.ReadArtifactResponse


def header(artifact_id: str = "a", *, offset: int = 2, length: int = 8, message_bytes: int = 4) -> Frame:
    """The first frame of a read of an artifact of ten bytes."""
    artifact = artifact_pb2.Artifact(artifact_id=artifact_id, digest=types_pb2.Digest(size_bytes=10))
    told = artifact_pb2.ReadHeader(artifact=artifact, offset=offset, length=length, message_bytes=message_bytes)
    return Frame(header=told)


async def taken(*frames: ReadFrame, length: int | None = None) -> bytes:
    """The bytes of a read of `a` from its third byte on."""

    async def stream() -> AsyncIterator[ReadFrame]:
        for frame in frames:
            yield frame

    found = ReadFrames(stream(), 1.0)
    await found.header("a", 2, length)
    data = b""
    while (piece := await found.piece()) is not None:
        data += piece
    return data


async def test_a_read() -> None:
    """A header that says what was asked for, then chunks one after the other, the last one smaller."""
    assert await taken(header(), Chunk(2, b"2345"), Chunk(6, b"6789")) == b"23456789"
    assert await taken(header(length=3), Chunk(2, b"234"), length=3) == b"234"
    assert await taken(header()) == b""


@pytest.mark.parametrize(
    ("frames", "length"),
    [
        ([], None),
        ([Frame()], None),
        ([Chunk(2, b"2")], None),
        ([header("b")], None),
        ([header(offset=0)], None),
        ([header(offset=0, length=10)], None),
        ([header(length=7)], None),
        ([header(length=7)], 6),
        ([header()], 6),
        ([header(), Chunk(2, b"23456")], None),
        ([header(), Chunk(0, b"01")], None),
        ([header(), Chunk(2, b"")], None),
        ([header(message_bytes=0), Chunk(2, b"2")], None),
        ([header(), Chunk(2, b"23"), Chunk(2, b"23")], None),
        ([header(), Chunk(2, b"23"), header()], None),
    ],
)
async def test_what_is_none(frames: list[ReadFrame], length: int | None) -> None:
    """Another artifact, another range, larger or other chunks than were announced: nothing of it is believed."""
    error = await refused(taken(*frames, length=length))
    assert (type(error), error.reason) == (CallerError, "TRANSPORT")
