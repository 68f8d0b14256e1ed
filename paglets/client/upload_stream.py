"""One stream of an upload: acceptance first, then the bytes, then the proof.

Nothing bounds how long it takes as a whole; what is bounded is how long nothing may move. This file must never know
what becomes of an upload whose stream breaks.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Iterator
from contextlib import asynccontextmanager
from typing import NoReturn, TypeAlias, TypeVar

import grpc

from paglet.v1 import artifact_pb2
from paglets.artifacts.store import ArtifactWrite, ArtifactWriteResult
from paglets.client.artifact_streams import ArtifactStreams
from paglets.client.call_end import CallEnd
from paglets.client.calls import errors_of_calls
from paglets.digest import Digest
from paglets.errors import CallerError, DeadlineError
from paglets.wire.artifact import finish_to_message, result_from_message, write_to_header
from paglets.wire.chunk_codec import Chunk, WriteFrame
from paglets.wire.frames import COMMITTED_SIZE_KEY, MESSAGE_BYTES

__all__ = ["UploadStream"]

T = TypeVar("T")
_Call: TypeAlias = grpc.aio.StreamUnaryCall[WriteFrame, artifact_pb2.WriteArtifactResponse]
_SLOW_DISK_BYTES_PER_S = 10_000_000


class UploadStream:
    """One stream of an upload. `stall_timeout_s` bounds each wait for the host."""

    def __init__(self, call: _Call, write: ArtifactWrite, stall_timeout_s: float) -> None:
        self._call = call
        self._write = write
        self._end = CallEnd(call)
        self._stall_timeout_s = stall_timeout_s
        self._size = 0
        self._committed_size = 0

    @classmethod
    @asynccontextmanager
    async def accepted(
        cls,
        streams: ArtifactStreams,
        write: ArtifactWrite,
        writer_epoch: int,
        prefix: Digest,
        stall_timeout_s: float,
    ) -> AsyncGenerator[UploadStream, None]:
        """Opens a stream. Once the context is entered the host has accepted it; until then it was sent no bytes."""
        with errors_of_calls():
            call = streams.WriteArtifact()
        try:
            stream = cls(call, write, stall_timeout_s)
            await stream._open(writer_epoch, prefix)
            yield stream
        finally:
            call.cancel()

    @property
    def wants_nothing(self) -> bool:
        """Whether the host has all bytes of the digest that it was told."""
        digest = self._write.expected_digest
        return digest is not None and digest.size_bytes == self._committed_size > 0

    @property
    def size_bytes(self) -> int:
        """How many bytes of the artifact are behind it, sent by it or by others before."""
        return self._size

    async def send(self, chunk: bytes) -> None:
        """Sends the next bytes, less those that the host has."""
        for piece in _cut(chunk):
            known = max(0, self._committed_size - self._size)
            if known < len(piece) and not await self._send_frame(Chunk(self._size + known, piece[known:])):
                await self._answered_before("it had all bytes")
            self._size += len(piece)

    async def finish(self, digest: Digest) -> ArtifactWriteResult:
        """Says what the bytes are, and waits until they are an artifact.

        Raises TRANSPORT where the host says that it stored other bytes than these.
        """
        proof = artifact_pb2.WriteArtifactRequest(finish=finish_to_message(digest))
        if (
            not await self._send_frame(proof) and self._committed_size != digest.size_bytes
        ):  # it had something to wait for
            await self._answered_before("it had all bytes")
        await self._half_close()
        result = result_from_message(await self._reply(digest.size_bytes))
        if result is None or result.ref.digest != digest or self._committed_size > digest.size_bytes:
            stored = "a partial" if result is None else str(result.ref.digest)
            raise CallerError(
                "TRANSPORT",
                f"{digest} was sent, and the host, which had {self._committed_size} bytes of it before, says that it"
                f" stored {stored}",
            )
        return result

    async def pause(self) -> int:
        """Ends the stream and leaves a partial; says how many bytes of the upload are durable."""
        await self._half_close()
        reply = await self._reply(self._committed_size)
        if result_from_message(reply) is not None:
            raise CallerError("TRANSPORT", "the host made an artifact of an upload that was not finished")
        return reply.committed_size

    async def _open(self, writer_epoch: int, prefix: Digest) -> None:
        self._size = prefix.size_bytes
        header = write_to_header(self._write, writer_epoch, prefix)
        await self._send_frame(artifact_pb2.WriteArtifactRequest(header=header))
        known = prefix if self._write.expected_digest is None else self._write.expected_digest
        metadata = await self._step(self._call.initial_metadata(), self._patience_s(known.size_bytes))
        size = metadata.get(COMMITTED_SIZE_KEY)
        if size is None:
            await self._answered_before("it had accepted the upload")
        self._committed_size = _committed_size(size, self._write)

    async def _half_close(self) -> None:
        try:
            await self._step(self._call.done_writing(), self._stall_timeout_s)
        except asyncio.InvalidStateError:  # it has ended already
            return

    async def _send_frame(self, frame: WriteFrame) -> bool:
        try:
            await self._step(self._call.write(frame), self._stall_timeout_s)
        except asyncio.InvalidStateError:  # the call has ended; its reply or its status tells how
            return False
        return True

    async def _answered_before(self, what: str) -> NoReturn:
        """Raises the error that the host ended the call with, or TRANSPORT for an answer that is none."""
        await self._reply(0)
        raise CallerError("TRANSPORT", f"the host answered before {what}")

    async def _reply(self, size: int) -> artifact_pb2.WriteArtifactResponse:
        """Waits until the bytes are durable."""
        return _parsed(await self._step(self._call, self._patience_s(size)))

    def _patience_s(self, size: int) -> float:
        """How long the host may take over so many bytes on its disk."""
        return self._stall_timeout_s + size / _SLOW_DISK_BYTES_PER_S

    async def _step(self, waiting: Awaitable[T], timeout_s: float) -> T:
        """One wait for the host. Raises the error that it ended the call with, `InvalidStateError` if it ended well."""
        with errors_of_calls():
            try:
                async with asyncio.timeout(timeout_s):
                    return await waiting
            except grpc.aio.AioRpcError as error:
                found = await self._end.error(error)
                if found is None:
                    raise asyncio.InvalidStateError from error
                raise found from error
            except TimeoutError as error:
                raise DeadlineError("DEADLINE_EXCEEDED", f"the host took nothing for {timeout_s:.0f} s") from error


def _parsed(reply: object) -> artifact_pb2.WriteArtifactResponse:
    """A reply that is one: gRPC makes None of what it cannot parse, whatever the stubs say. Raises TRANSPORT."""
    if not isinstance(reply, artifact_pb2.WriteArtifactResponse):
        raise CallerError("TRANSPORT", "the host's answer is none to an upload")
    return reply


def _committed_size(told: str | bytes | None, write: ArtifactWrite) -> int:
    """How much of an upload the host has already. Raises TRANSPORT for what is no number, or more than will be sent."""
    most = write.expected_digest.size_bytes if write.expected_digest else write.size_bytes
    try:
        size = int(told or "")
    except ValueError:
        size = -1
    if size < 0 or (most is not None and size > most):
        raise CallerError("TRANSPORT", f"the host says that it has {told!r} bytes of an upload of {most}")
    return size


def _cut(chunk: bytes) -> Iterator[bytes]:
    """A chunk as pieces for one message each."""
    if len(chunk) <= MESSAGE_BYTES:
        if chunk:
            yield chunk
        return
    for start in range(0, len(chunk), MESSAGE_BYTES):
        yield chunk[start : start + MESSAGE_BYTES]
