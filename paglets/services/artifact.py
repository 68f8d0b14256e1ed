"""ArtifactService over a store: parse, call, convert."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager

from paglet.v1 import artifact_pb2, artifact_pb2_grpc
from paglets.artifacts import refusals
from paglets.artifacts.store import ServedStore
from paglets.services.guard import ServerContext
from paglets.services.message_size import message_bytes
from paglets.wire.artifact import (
    artifact_to_message,
    finish_from_message,
    page_to_message,
    read_from_request,
    read_header,
    result_to_message,
    write_from_header,
)
from paglets.wire.frames import COMMITTED_SIZE_KEY, WriteFrames, read_chunk

__all__ = ["ArtifactServicer"]


class ArtifactServicer(artifact_pb2_grpc.ArtifactServiceServicer):
    """Serves `store` as the one of `host`; put it behind the guard.

    An upload from which no frame comes for `stall_timeout_s` is dropped; nothing else bounds how long it takes. At most
    `max_open_reads` are open; the guard ends those whose readers stand still.
    """

    def __init__(
        self, store: ServedStore, host: str, *, max_open_reads: int = 128, stall_timeout_s: float = 60.0
    ) -> None:
        self._store = store
        self._host = host
        self._max_open_reads = max_open_reads
        self._open_reads = 0
        self._stall_timeout_s = stall_timeout_s

    async def WriteArtifact(
        self, request_iterator: AsyncIterator[artifact_pb2.WriteArtifactRequest], context: ServerContext
    ) -> artifact_pb2.WriteArtifactResponse:
        """Stores one artifact; says that it is accepted before its bytes need come."""
        frames = WriteFrames(request_iterator, self._stall_timeout_s)
        write = write_from_header(await frames.header())
        async with await self._store.open_upload(write) as upload:
            await context.send_initial_metadata(((COMMITTED_SIZE_KEY, str(upload.committed_size)),))
            async for offset, data in frames.pieces():
                await upload.write(offset, data)
            return result_to_message(await upload.finish(finish_from_message(frames.finish)))

    async def ReadArtifact(
        self, request: artifact_pb2.ReadArtifactRequest, context: ServerContext
    ) -> AsyncIterator[artifact_pb2.ReadArtifactResponse]:
        """Streams an artifact or a range of it; of a whole one, ends well only if its bytes are right."""
        artifact_id, offset, length = read_from_request(request)
        with self._counted() as size:
            reading = self._store.open_reader(artifact_id, offset=offset, length=length, piece_bytes=size)
            async with reading as reader:
                yield read_header(reader.ref, reader.byte_range, size)
                async for piece in reader:
                    yield read_chunk(offset, piece)
                    offset += len(piece)

    async def GetArtifact(
        self, request: artifact_pb2.GetArtifactRequest, context: ServerContext
    ) -> artifact_pb2.GetArtifactResponse:
        """Describes one artifact."""
        ref = await self._store.ref(request.artifact_id)
        return artifact_pb2.GetArtifactResponse(artifact=artifact_to_message(ref))

    async def ListArtifacts(
        self, request: artifact_pb2.ListArtifactsRequest, context: ServerContext
    ) -> artifact_pb2.ListArtifactsResponse:
        """Pages through the artifacts."""
        owner = request.owner if request.HasField("owner") else None
        page = await self._store.list(owner=owner, page_size=request.page_size, page_token=request.page_token)
        return page_to_message(page)

    async def DeleteArtifact(
        self, request: artifact_pb2.DeleteArtifactRequest, context: ServerContext
    ) -> artifact_pb2.DeleteArtifactResponse:
        """Removes one artifact."""
        if not await self._store.delete(request.artifact_id) and not request.allow_missing:
            raise refusals.artifact_not_found(request.artifact_id, self._host)
        return artifact_pb2.DeleteArtifactResponse()

    @contextmanager
    def _counted(self) -> Generator[int]:
        """Counts an open read; gives the size of its messages. Raises TOO_MANY_READS."""
        if self._open_reads >= self._max_open_reads:
            raise refusals.too_many_reads(self._max_open_reads)
        self._open_reads += 1
        try:
            yield message_bytes(self._open_reads)
        finally:
            self._open_reads -= 1
