"""Frames with bytes, as bytes and back, without the copies that a generated class makes of them.

What is on the wire is the same, byte for byte. Only the one form that serializers give to a chunk is known here; for
everything else, whatever is legal or broken about it, the generated classes are asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

from paglet.v1 import artifact_pb2

__all__ = ["Chunk", "ReadFrame", "WriteFrame", "decode_read", "decode_write", "encode_read", "encode_write"]

_CHUNK: Final = 0x12  # field 2 of a frame, of known length; so it is in both streams
_OFFSET: Final = 0x08
_DATA: Final = 0x12
_MAX_INT64_BYTES = 9  # of an offset that is not negative


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk of either stream. `data` that was decoded is a view of the message that it came in."""

    offset: int
    data: bytes | memoryview


WriteFrame: TypeAlias = "artifact_pb2.WriteArtifactRequest | Chunk"
ReadFrame: TypeAlias = "artifact_pb2.ReadArtifactResponse | Chunk"


def encode_write(frame: WriteFrame) -> bytes:
    """A frame of an upload as its message."""
    return _encode(frame) if isinstance(frame, Chunk) else frame.SerializeToString()


def encode_read(frame: ReadFrame) -> bytes:
    """A frame of a read as its message."""
    return _encode(frame) if isinstance(frame, Chunk) else frame.SerializeToString()


def decode_write(message: bytes) -> WriteFrame:
    """A message of an upload as its frame. Raises `DecodeError`."""
    chunk = _decode(message)
    return artifact_pb2.WriteArtifactRequest.FromString(message) if chunk is None else chunk


def decode_read(message: bytes) -> ReadFrame:
    """A message of a read as its frame. Raises `DecodeError`."""
    chunk = _decode(message)
    return artifact_pb2.ReadArtifactResponse.FromString(message) if chunk is None else chunk


def _encode(chunk: Chunk) -> bytes:
    data = bytes((_DATA, *_varint(len(chunk.data)))) if chunk.data else b""
    offset = bytes((_OFFSET, *_varint(chunk.offset))) if chunk.offset else b""
    size = len(offset) + len(data) + len(chunk.data)
    return b"".join((bytes((_CHUNK, *_varint(size))), offset, data, chunk.data))


def _decode(message: bytes) -> Chunk | None:
    """A chunk with bytes in the form that `_encode` gives it; None for anything else."""
    try:
        if message[0] != _CHUNK:
            return None
        size, at = _read_varint(message, 1)
        if at + size != len(message):
            return None
        offset = 0
        if message[at] == _OFFSET:
            offset, at = _read_varint(message, at + 1)
        if message[at] != _DATA:
            return None
        size, at = _read_varint(message, at + 1)
    except IndexError:
        return None
    return Chunk(offset, memoryview(message)[at:]) if size and at + size == len(message) else None


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    """A number and where it ends. Raises `IndexError` for one that does not end, or is longer than any of ours."""
    number = 0
    for place in range(_MAX_INT64_BYTES):
        byte = message[at + place]
        number |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return number, at + place + 1
    raise IndexError
