"""Reading an artifact of a host: the bytes as they come, proven at the end.

This file must never know where they go.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from paglet.v1 import artifact_pb2
from paglets.artifacts import refusals
from paglets.artifacts.behind import Behind
from paglets.artifacts.disk import Disk
from paglets.client.artifact_streams import ArtifactStreams
from paglets.client.calls import errors_of_calls
from paglets.digest import Hasher
from paglets.values import ArtifactRef
from paglets.wire.artifact import artifact_from_message
from paglets.wire.frames import ReadFrames

__all__ = ["RemoteReader"]


class RemoteReader:
    """An artifact of a host that is open for reading; it can be read once."""

    def __init__(self, ref: ArtifactRef, frames: ReadFrames, disk: Disk) -> None:
        self._ref = ref
        self._frames = frames
        self._disk = disk

    @classmethod
    @asynccontextmanager
    async def opened(
        cls,
        stub: ArtifactStreams,
        artifact_id: str,
        disk: Disk,
        stall_timeout_s: float,
    ) -> AsyncGenerator[RemoteReader, None]:
        """Opens an artifact; raises what the host refuses with on entry."""
        with errors_of_calls():
            call = stub.ReadArtifact(artifact_pb2.ReadArtifactRequest(artifact_id=artifact_id))
        try:
            frames = ReadFrames(aiter(call), stall_timeout_s)
            with errors_of_calls():
                header = await frames.header()
            yield cls(artifact_from_message(header.artifact), frames, disk)
        finally:
            call.cancel()

    @property
    def ref(self) -> ArtifactRef:
        """The artifact as it was when the read began."""
        return self._ref

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self.views():
            yield bytes(piece)

    async def views(self) -> AsyncIterator[bytes | memoryview]:
        """The bytes as they lie in the messages that they came in, for those who need no `bytes` of their own."""
        hasher, size = Hasher(), 0
        pieces = self._frames.pieces()
        async with Behind.working(self._disk, hasher.update) as hashing:
            while (piece := await self._next(pieces)) is not None:
                size += len(piece)
                if size > self._ref.size_bytes:
                    raise refusals.blob_corrupt(self._ref.artifact_id, "more bytes came than it has")
                await hashing.put(piece)
                yield piece
            await hashing.wait()
        if hasher.digest() != self._ref.digest:
            raise refusals.blob_corrupt(self._ref.artifact_id, "the bytes that came do not have its digest")

    async def _next(self, pieces: AsyncIterator[bytes | memoryview]) -> bytes | memoryview | None:
        with errors_of_calls():
            return await anext(pieces, None)
