"""Reading an artifact of a host: the bytes as they come, the whole of them proven at the end.

This file must never know where they go.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from paglet.v1 import artifact_pb2_grpc
from paglets.artifacts import refusals
from paglets.artifacts.disk import Disk, unbroken
from paglets.artifacts.ranges import check_range
from paglets.artifacts.store import ByteRange
from paglets.client.read_call import ReadCall
from paglets.digest import Hasher
from paglets.errors import PagletError
from paglets.values import ArtifactRef

__all__ = ["RemoteReader"]


class RemoteReader:
    """An artifact of a host, or a range of it, that is open for reading; it can be read once."""

    def __init__(self, call: ReadCall, disk: Disk) -> None:
        self._call = call
        self._disk = disk
        self._ref = call.ref
        self._range = call.byte_range

    @classmethod
    @asynccontextmanager
    async def opened(
        cls,
        stub: artifact_pb2_grpc.ArtifactServiceAsyncStub,
        artifact_id: str,
        offset: int,
        length: int | None,
        disk: Disk,
        stall_timeout_s: float,
    ) -> AsyncGenerator[RemoteReader, None]:
        """Opens an artifact; raises what the host refuses with on entry."""
        check_range(offset, length)
        call = await ReadCall.begin(stub, artifact_id, offset, length, stall_timeout_s)
        try:
            yield cls(call, disk)
        finally:
            call.cancel()

    @property
    def ref(self) -> ArtifactRef:
        """The artifact as it was when the read began."""
        return self._ref

    @property
    def byte_range(self) -> ByteRange:
        """Which of its bytes come."""
        return self._range

    async def __aiter__(self) -> AsyncIterator[bytes]:
        hasher, size = Hasher(), 0
        while (piece := await self._call.piece()) is not None:
            size += len(piece)
            if size > self._range.length:
                raise self._corrupt("more bytes came than it has")
            hashing = self._disk.begin(partial(hasher.update, piece))
            try:
                yield piece
            finally:
                await unbroken(hashing)
        if size != self._range.length:
            raise self._corrupt(f"{size} bytes came instead of {self._range.length}")
        if size == self._ref.size_bytes and hasher.digest() != self._ref.digest:
            raise self._corrupt("the bytes that came do not have its digest")

    def _corrupt(self, message: str) -> PagletError:
        return refusals.blob_corrupt(self._ref.artifact_id, message)
