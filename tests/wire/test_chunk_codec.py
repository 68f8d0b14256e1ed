"""Chunks as bytes and back: the same on the wire as by the generated classes."""

from __future__ import annotations

import pytest
from google.protobuf.message import DecodeError
from hypothesis import example, given
from hypothesis import strategies as st

from paglet.v1 import artifact_pb2
from paglets.wire.chunk_codec import Chunk, decode_read, decode_write, encode_read, encode_write

WriteRequest = artifact_pb2.WriteArtifactRequest
ReadResponse = artifact_pb2.ReadArtifactResponse
OFFSETS = st.integers(0, 2**63 - 1)
SIZES = (0, 1, 127, 128, 16_383, 16_384, 2 * 1024 * 1024)
DATA = st.binary(max_size=300)


def write_message(offset: int, data: bytes) -> bytes:
    """What the generated class makes of a chunk of an upload."""
    return WriteRequest(chunk=artifact_pb2.WriteChunk(offset=offset, data=data)).SerializeToString()


def read_message(offset: int, data: bytes) -> bytes:
    """What the generated class makes of a chunk of a read."""
    return ReadResponse(chunk=artifact_pb2.ReadChunk(offset=offset, data=data)).SerializeToString()


@given(offset=OFFSETS, data=DATA)
@example(offset=127, data=bytes(SIZES[1]))
@example(offset=128, data=bytes(SIZES[2]))
@example(offset=2**63 - 1, data=bytes(SIZES[3]))
@example(offset=0, data=bytes(SIZES[4]))
@example(offset=2**32, data=bytes(SIZES[5]))
@example(offset=2**40, data=bytes(SIZES[6]))
def test_same_bytes(offset: int, data: bytes) -> None:
    """What is sent is what the generated class would send; what comes is taken without a copy."""
    for view in (data, memoryview(data)):
        assert encode_write(Chunk(offset, view)) == write_message(offset, data)
        assert encode_read(Chunk(offset, view)) == read_message(offset, data)
    for found in (decode_write(write_message(offset, data)), decode_read(read_message(offset, data))):
        assert isinstance(found, Chunk) == bool(data)
        if isinstance(found, Chunk):
            assert (found.offset, bytes(found.data)) == (offset, data)
            assert isinstance(found.data, memoryview)


@given(message=st.binary(max_size=40) | st.binary(max_size=40).map(b"\x12".__add__))
@example(message=b"\x12\x05\x12\x03abc")
@example(message=b"\x12\x05\x12\x02abc")
@example(message=b"\x12\x07\x12\x03abc\x08\x01")
@example(message=b"\x12\x0d\x08" + b"\xff" * 9 + b"\x01" + b"\x12\x00")
@example(message=b"\x12\x0e\x08" + b"\xff" * 9 + b"\x01" + b"\x12\x01a")
@example(message=b"\x12\x06\x08\x80\x00\x12\x01a")
@example(message=b"\x12\x05\x12\x03abc\x12\x02\x08\x01")
def test_anything_else_is_what_the_generated_class_says(message: bytes) -> None:
    """Whatever comes, both agree on what it is, and on that it is nothing."""
    for decode, generated in ((decode_write, WriteRequest), (decode_read, ReadResponse)):
        try:
            wanted = generated.FromString(message)
        except DecodeError:
            with pytest.raises(DecodeError):
                decode(message)
            continue
        found = decode(message)
        if isinstance(found, Chunk):
            assert wanted.WhichOneof("frame") == "chunk"
            assert (found.offset, bytes(found.data)) == (wanted.chunk.offset, wanted.chunk.data)
        else:
            assert found == wanted


def test_other_frames() -> None:
    """A frame without bytes is the generated class's business."""
    frame = WriteRequest(header=artifact_pb2.WriteHeader(upload_id="u"))
    assert decode_write(encode_write(frame)) == frame
    answer = ReadResponse(header=artifact_pb2.ReadHeader(artifact=artifact_pb2.Artifact(artifact_id="a")))
    assert decode_read(encode_read(answer)) == answer
