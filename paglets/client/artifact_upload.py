"""Sending an artifact: acceptance first, then the bytes, then the proof.

Nothing bounds how long an artifact takes as a whole; what is bounded is how long nothing may move.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import NoReturn, TypeAlias, TypeVar

import grpc

from paglet.v1 import artifact_pb2, artifact_pb2_grpc
from paglets.artifacts.disk import Disk, unbroken
from paglets.artifacts.store import ArtifactWrite, ArtifactWriteResult
from paglets.client.call_end import CallEnd
from paglets.client.calls import errors_of_calls
from paglets.digest import Hasher
from paglets.errors import DeadlineError, UnavailableError
from paglets.wire.artifact import finish_to_message, result_from_message, write_to_header
from paglets.wire.frames import COMMITTED_SIZE_KEY, MESSAGE_BYTES, write_chunk

__all__ = ["Progress", "SentUpload"]

Progress: TypeAlias = Callable[[int], None]
"""Called with the number of bytes that are done so far."""

T = TypeVar("T")
_Call: TypeAlias = grpc.aio.StreamUnaryCall[artifact_pb2.WriteArtifactRequest, artifact_pb2.WriteArtifactResponse]
_SLOW_DISK_BYTES_PER_S = 10_000_000


class SentUpload:
    """One stream of an upload. `stall_timeout_s` bounds each wait for the host."""

    def __init__(self, call: _Call, disk: Disk, stall_timeout_s: float) -> None:
        self._call = call
        self._end = CallEnd(call)
        self._disk = disk
        self._stall_timeout_s = stall_timeout_s
        self._committed_size = 0

    @classmethod
    @asynccontextmanager
    async def accepted(
        cls, stub: artifact_pb2_grpc.ArtifactServiceAsyncStub, write: ArtifactWrite, disk: Disk, stall_timeout_s: float
    ) -> AsyncGenerator[SentUpload, None]:
        """Opens an upload. Once the context is entered the host has accepted it; until then it was sent no bytes."""
        with errors_of_calls():
            call = stub.WriteArtifact()
        try:
            upload = cls(call, disk, stall_timeout_s)
            await upload._open(write)
            yield upload
        finally:
            call.cancel()

    async def send(self, chunks: AsyncIterable[bytes], progress: Progress | None) -> ArtifactWriteResult:
        """Sends all bytes, less those that the host has, and their digest. Errors of `chunks` pass unchanged.

        Raises TRANSPORT where the host says that it stored other bytes than these.
        """
        hasher = Hasher()
        async for chunk in chunks:
            for piece in _cut(chunk):
                if not await self._send_piece(hasher, piece):
                    await self._answered_before("it had all bytes")
                if progress is not None:
                    progress(hasher.size_bytes)
        digest = hasher.digest()
        if not await self._write(artifact_pb2.WriteArtifactRequest(finish=finish_to_message(digest))):
            await self._answered_before("it had all bytes")
        await self._step(self._call.done_writing(), self._stall_timeout_s)
        result = await self._reply(digest.size_bytes)
        if result.ref.digest != digest or self._committed_size > digest.size_bytes:
            raise UnavailableError(
                "TRANSPORT",
                f"{digest} was sent, and the host, which had {self._committed_size} bytes of it before, says that it"
                f" stored {result.ref.digest}",
            )
        return result

    async def _open(self, write: ArtifactWrite) -> None:
        await self._write(artifact_pb2.WriteArtifactRequest(header=write_to_header(write)))
        metadata = await self._step(self._call.initial_metadata(), self._stall_timeout_s)
        size = metadata.get(COMMITTED_SIZE_KEY)
        if size is None:
            await self._answered_before("it had accepted the upload")
        self._committed_size = _committed_size(size, write)

    async def _send_piece(self, hasher: Hasher, piece: bytes) -> bool:
        """Sends a piece while it is hashed; False when the host has answered already."""
        offset = hasher.size_bytes
        hashing = self._disk.begin(partial(hasher.update, piece))
        try:
            known = max(0, self._committed_size - offset)
            if known >= len(piece):
                return True
            return await self._write(write_chunk(offset + known, piece[known:]))
        finally:
            await unbroken(hashing)

    async def _write(self, frame: artifact_pb2.WriteArtifactRequest) -> bool:
        try:
            await self._step(self._call.write(frame), self._stall_timeout_s)
        except asyncio.InvalidStateError:  # the call has ended; its reply or its status tells how
            return False
        return True

    async def _answered_before(self, what: str) -> NoReturn:
        """Raises the error that the host ended the call with, or TRANSPORT for an answer that is none."""
        await self._reply(0)
        raise UnavailableError("TRANSPORT", f"the host answered before {what}")

    async def _reply(self, size: int) -> ArtifactWriteResult:
        """Waits until the bytes are durable, which takes the longer the more there are."""
        reply = await self._step(self._call, self._stall_timeout_s + size / _SLOW_DISK_BYTES_PER_S)
        return result_from_message(reply)

    async def _step(self, waiting: Awaitable[T], timeout_s: float) -> T:
        """One wait for the host. Raises the error that it ended the call with."""
        with errors_of_calls():
            try:
                async with asyncio.timeout(timeout_s):
                    return await waiting
            except grpc.aio.AioRpcError as error:
                raise await self._end.error(error) from error
            except TimeoutError as error:
                raise DeadlineError("DEADLINE_EXCEEDED", f"the host took nothing for {timeout_s:.0f} s") from error


def _committed_size(told: str | bytes | None, write: ArtifactWrite) -> int:
    """How much of an upload the host has already. Raises TRANSPORT for what is no number, or more than will be sent."""
    most = write.expected_digest.size_bytes if write.expected_digest else write.size_bytes
    try:
        size = int(told or "")
    except ValueError:
        size = -1
    if size < 0 or (most is not None and size > most):
        raise UnavailableError("TRANSPORT", f"the host says that it has {told!r} bytes of an upload of {most}")
    return size


def _cut(chunk: bytes) -> Iterator[bytes]:
    """A chunk as pieces for one message each."""
    if len(chunk) <= MESSAGE_BYTES:
        if chunk:
            yield chunk
        return
    for start in range(0, len(chunk), MESSAGE_BYTES):
        yield chunk[start : start + MESSAGE_BYTES]
