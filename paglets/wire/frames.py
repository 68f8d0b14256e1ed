"""The frames of an artifact's two streams, checked one by one in one place.

A stream that keeps to its rules comes out as a header and pieces; anything else is an error that says what was wrong.
This file must never know what becomes of the bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final, NoReturn

from paglet.v1 import artifact_pb2
from paglets.errors import CallerError, ConflictError, DeadlineError, InvalidArgumentError
from paglets.wire.chunk_codec import Chunk, ReadFrame, WriteFrame

__all__ = [
    "COMMITTED_SIZE_KEY",
    "MAX_CHUNK_BYTES",
    "MESSAGE_BYTES",
    "WRITER_EPOCH_KEY",
    "ReadFrames",
    "WriteFrames",
]

COMMITTED_SIZE_KEY: Final = "paglet-committed-size"
"""In initial metadata: the upload was accepted, and so many of its bytes are here already."""

WRITER_EPOCH_KEY: Final = "paglet-writer-epoch"
"""In initial metadata: the number of the writer that was let in."""

MAX_CHUNK_BYTES: Final = 2 * 1024 * 1024
"""The most that a chunk may carry."""

MESSAGE_BYTES: Final = 2 * 1024 * 1024
"""What a chunk carries at most when we send it."""

_STALLED_RETRY_S = 1.0


class WriteFrames:
    """The frames that a client sends: `header` first, then `pieces` to their end, then `finish`, if it came.

    Each wait for a frame is bounded by `stall_timeout_s`, the stream as a whole by nothing. There is no least rate: a
    writer may pass on what drips from a source of his own, and whoever holds uploads on purpose could afford that rate.
    """

    def __init__(self, stream: AsyncIterator[WriteFrame], stall_timeout_s: float) -> None:
        self._stream = stream
        self._stall_timeout_s = stall_timeout_s
        self._finish: artifact_pb2.WriteFinish | None = None

    @property
    def finish(self) -> artifact_pb2.WriteFinish | None:
        """The last frame; None when the stream ended without it."""
        return self._finish

    async def header(self) -> artifact_pb2.WriteHeader:
        """The first frame. Raises MALFORMED_REQUEST, UPLOAD_STALLED."""
        frame = await self._next()
        if frame is None or isinstance(frame, Chunk) or frame.WhichOneof("frame") != "header":
            _malformed("header", "the first frame of an upload is its header")
        return frame.header

    async def pieces(self) -> AsyncIterator[tuple[int, bytes | memoryview]]:
        """Offset and bytes of each chunk up to `finish`, after which the stream must end.

        Raises MALFORMED_REQUEST, UPLOAD_STALLED.
        """
        while (frame := await self._next()) is not None:
            if isinstance(frame, Chunk):
                yield _piece(frame)
                continue
            match frame.WhichOneof("frame"):
                case "chunk":
                    yield _piece(frame.chunk)
                case "finish":
                    self._finish = frame.finish
                    await self._end()
                    return
                case "header":
                    _malformed("header", "the header comes once")
                case _:
                    _malformed("frame", "a frame is a header, a chunk or finish")

    async def _end(self) -> None:
        if await self._next() is not None:
            _malformed("frame", "nothing comes after finish")

    async def _next(self) -> WriteFrame | None:
        try:
            async with asyncio.timeout(self._stall_timeout_s):
                return await anext(self._stream, None)
        except TimeoutError as error:
            what = "no frame came" if self._finish is None else "after finish the stream was not closed"
            raise ConflictError(
                "UPLOAD_STALLED",
                f"{what} for {self._stall_timeout_s} s; what came is kept, go on from there",
                retry_after_s=_STALLED_RETRY_S,
            ) from error


class ReadFrames:
    """The frames that a host sends: `header` first, then `pieces` to the end.

    They only check the shape; whoever reads proves the bytes. Raises TRANSPORT for what is no such stream (CallerError:
    asking again would not help), and DEADLINE_EXCEEDED if nothing comes for `stall_timeout_s`.
    """

    def __init__(self, stream: AsyncIterator[ReadFrame], stall_timeout_s: float) -> None:
        self._stream = stream
        self._stall_timeout_s = stall_timeout_s
        self._offset = 0
        self._message_bytes = 0

    async def header(self, artifact_id: str, offset: int, length: int | None) -> artifact_pb2.ReadHeader:
        """The first frame of a read of so many bytes of an artifact from `offset` on, or of all to the end."""
        frame = await self._next()
        if frame is None or isinstance(frame, Chunk) or frame.WhichOneof("frame") != "header":
            _not_ours("the first frame of a read is its header")
        if frame.header.artifact.artifact_id != artifact_id:
            _not_ours("it is of another artifact")
        if length is None:
            length = frame.header.artifact.digest.size_bytes - offset
        if (frame.header.offset, frame.header.length) != (offset, length):
            _not_ours(f"{frame.header.length} bytes from {frame.header.offset} come, not {length} from {offset}")
        self._offset, self._message_bytes = offset, frame.header.message_bytes
        return frame.header

    async def piece(self) -> bytes | memoryview | None:
        """The bytes of the next chunk, which begins where the one before ended; None at the end."""
        frame = await self._next()
        if frame is None:
            return None
        chunk = frame if isinstance(frame, Chunk) else frame.chunk
        data = chunk.data
        if not data or chunk.offset != self._offset:
            _not_ours(f"a chunk with bytes from offset {self._offset} was to come")
        if len(data) > self._message_bytes:
            _not_ours(f"chunks of at most {self._message_bytes} bytes were announced, one of {len(data)} came")
        self._offset += len(data)
        return data

    async def _next(self) -> ReadFrame | None:
        try:
            async with asyncio.timeout(self._stall_timeout_s):
                return await anext(self._stream, None)
        except TimeoutError as error:
            raise DeadlineError("DEADLINE_EXCEEDED", f"no bytes came for {self._stall_timeout_s} s") from error


def _piece(chunk: Chunk | artifact_pb2.WriteChunk) -> tuple[int, bytes | memoryview]:
    offset, data = chunk.offset, chunk.data  # each look at a bytes field of a message makes a copy
    if offset < 0:
        _malformed("chunk.offset", f"an offset is 0 or more, got {offset}")
    if not data:
        _malformed("chunk.data", "a chunk carries bytes")
    if len(data) > MAX_CHUNK_BYTES:
        _malformed("chunk.data", f"a chunk carries at most {MAX_CHUNK_BYTES} bytes, got {len(data)}")
    return offset, data


def _malformed(field: str, message: str) -> NoReturn:
    raise InvalidArgumentError("MALFORMED_REQUEST", message, field=field)


def _not_ours(message: str) -> NoReturn:
    raise CallerError("TRANSPORT", f"the answer is no read of an artifact: {message}")
