"""Reading an artifact of a host: the bytes as they come, proven at the end.

This file must never know where they go.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from paglet.v1 import artifact_pb2, artifact_pb2_grpc
from paglets.artifacts import refusals
from paglets.artifacts.disk import Disk, unbroken
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
        stub: artifact_pb2_grpc.ArtifactServiceAsyncStub,
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
        hasher, size = Hasher(), 0
        pieces = self._frames.pieces()
        while (piece := await self._next(pieces)) is not None:
            size += len(piece)
            if size > self._ref.size_bytes:
                raise refusals.blob_corrupt(self._ref.artifact_id, "more bytes came than it has")
            hashing = self._disk.begin(partial(hasher.update, piece))
            try:
                yield piece
            finally:
                await unbroken(hashing)
        if hasher.digest() != self._ref.digest:
            raise refusals.blob_corrupt(self._ref.artifact_id, "the bytes that came do not have its digest")

    async def _next(self, pieces: AsyncIterator[bytes]) -> bytes | None:
        with errors_of_calls():
            return await anext(pieces, None)
