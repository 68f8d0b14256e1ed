"""ArtifactService over a store: parse, call, convert."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Generator
from contextlib import aclosing, asynccontextmanager, contextmanager

from paglet.v1 import artifact_pb2, artifact_pb2_grpc
from paglets.artifacts import refusals
from paglets.artifacts.disk import unbroken
from paglets.artifacts.store import ServedStore, SmallWrite, Upload
from paglets.errors import OperationNotFoundError
from paglets.host.pulls import Pulls
from paglets.host.read_tickets import TICKET_TTL_S, ReadTickets
from paglets.services.guard import GuardedServices, ServerContext
from paglets.services.message_size import message_bytes
from paglets.values import ArtifactRef
from paglets.wire.artifact import (
    artifact_to_message,
    finish_from_message,
    page_to_message,
    partial_to_message,
    prefix_from_header,
    read_from_request,
    read_header,
    result_to_message,
    upload_to_message,
    uploads_to_message,
    usage_to_message,
    write_from_header,
)
from paglets.wire.artifact_batch import (
    add_read_results,
    checked_batch,
    small_writes_from_message,
    write_results_to_message,
)
from paglets.wire.artifact_pull import progress_to_message, pull_from_request
from paglets.wire.artifact_query import query_from_message
from paglets.wire.artifact_update import changes_from_message
from paglets.wire.artifact_watch import notice_to_message
from paglets.wire.chunk_codec import Chunk, ReadFrame, WriteFrame, decode_write, encode_read
from paglets.wire.frames import COMMITTED_SIZE_KEY, WRITER_EPOCH_KEY, WriteFrames
from paglets.wire.metadata import FROM_KEY
from paglets.wire.times import duration_from_message, time_to_message

__all__ = ["ArtifactServicer", "add_artifacts"]

_READ_ITEMS = 64  # 1 MiB at most, so that little is read for nothing
_SERVICE = artifact_pb2.DESCRIPTOR.services_by_name["ArtifactService"].full_name


def add_artifacts(services: GuardedServices, servicer: ArtifactServicer) -> None:
    """Adds the service with chunks that are not copied when they come in, and once when they leave."""
    services.parse_by(f"/{_SERVICE}/WriteArtifact", decode_write)
    services.encode_by(f"/{_SERVICE}/ReadArtifact", encode_read)
    services.add(artifact_pb2_grpc.add_ArtifactServiceServicer_to_server, servicer)


class ArtifactServicer(artifact_pb2_grpc.ArtifactServiceServicer):
    """Serves `store` as the one of `host`; put it behind the guard.

    A stream of an upload from which no frame comes for `stall_timeout_s` ends; nothing else bounds how long it takes.
    At most `max_open_reads` are open, and as many watches; the guard ends those whose readers stand still. Without
    `tickets` those that it makes are valid for as long as it lives; without `pulls` it fetches nothing from others.
    """

    def __init__(
        self,
        store: ServedStore,
        host: str,
        *,
        tickets: ReadTickets | None = None,
        pulls: Pulls | None = None,
        max_open_reads: int = 128,
        stall_timeout_s: float = 60.0,
    ) -> None:
        self._store = store
        self._tickets = tickets or ReadTickets.passing()
        self._pulls = pulls
        self._host = host
        self._max_open_reads = max_open_reads
        self._open = Counter[str]()
        self._stall_timeout_s = stall_timeout_s

    async def WriteArtifact(
        self, request_iterator: AsyncIterator[WriteFrame], context: ServerContext
    ) -> artifact_pb2.WriteArtifactResponse:
        """Takes the bytes of one artifact; says that it is accepted before they need come."""
        frames = WriteFrames(request_iterator, self._stall_timeout_s)
        header = await frames.header()
        write, prefix = write_from_header(header), prefix_from_header(header)
        upload = await self._store.open_upload(write, writer_epoch=header.writer_epoch, prefix=prefix)
        async with upload, _woken_when_lost(upload):
            size, epoch = str(upload.committed_size), str(upload.writer_epoch)
            # To its end: gRPC cannot tell a status where it does not know whether the metadata have left.
            await unbroken(context.send_initial_metadata(((COMMITTED_SIZE_KEY, size), (WRITER_EPOCH_KEY, epoch))))
            if upload.is_complete:
                return result_to_message(await upload.finish())
            async for offset, data in frames.pieces():
                await upload.write(offset, data)
            if frames.finish is None:
                return partial_to_message(await upload.pause())
            return result_to_message(await upload.finish(finish_from_message(frames.finish)))

    async def BatchWriteArtifacts(
        self, request: artifact_pb2.BatchWriteArtifactsRequest, context: ServerContext
    ) -> artifact_pb2.BatchWriteArtifactsResponse:
        """Stores many small artifacts at once."""
        items = small_writes_from_message(request)
        stored = iter(await self._store.create_batch([item for item in items if isinstance(item, SmallWrite)]))
        results = [next(stored) if isinstance(item, SmallWrite) else item for item in items]
        return write_results_to_message(results)

    async def BatchReadArtifacts(
        self, request: artifact_pb2.BatchReadArtifactsRequest, context: ServerContext
    ) -> artifact_pb2.BatchReadArtifactsResponse:
        """Reads many small artifacts at once, as many as go into one message."""
        reply = artifact_pb2.BatchReadArtifactsResponse()
        ids = checked_batch(request.artifact_ids, "artifact_ids")
        for start in range(0, len(ids), _READ_ITEMS):
            if not add_read_results(reply, await self._store.read_batch(ids[start : start + _READ_ITEMS])):
                break
        return reply

    async def GetUpload(
        self, request: artifact_pb2.GetUploadRequest, context: ServerContext
    ) -> artifact_pb2.GetUploadResponse:
        """Describes one upload."""
        info = await self._store.upload(request.upload_id)
        return artifact_pb2.GetUploadResponse(upload=upload_to_message(info))

    async def ListUploads(
        self, request: artifact_pb2.ListUploadsRequest, context: ServerContext
    ) -> artifact_pb2.ListUploadsResponse:
        """Pages through the unfinished uploads."""
        page = await self._store.uploads(page_size=request.page_size, page_token=request.page_token)
        return uploads_to_message(page)

    async def CancelUpload(
        self, request: artifact_pb2.CancelUploadRequest, context: ServerContext
    ) -> artifact_pb2.CancelUploadResponse:
        """Drops one upload, with the pull that it is of."""
        if self._pulls is not None and await self._pulls.cancel(request.upload_id):
            return artifact_pb2.CancelUploadResponse()
        if not await self._store.cancel_upload(request.upload_id) and not request.allow_missing:
            raise refusals.upload_not_found(request.upload_id, self._host)
        return artifact_pb2.CancelUploadResponse()

    async def ReadArtifact(  # pyright: ignore[reportIncompatibleMethodOverride] - a chunk is encoded by `encode_read`
        self, request: artifact_pb2.ReadArtifactRequest, context: ServerContext
    ) -> AsyncIterator[ReadFrame]:
        """Streams an artifact or a range of it; of a whole one, ends well only if its bytes are right."""
        artifact_id, offset, length = read_from_request(request)
        with self._counted("reads") as open_reads:
            size = message_bytes(open_reads)
            reading = self._store.open_reader(artifact_id, offset=offset, length=length, piece_bytes=size)
            async with reading as reader:
                self._check_ticket(request.read_ticket, reader.ref, context)
                yield read_header(reader.ref, reader.byte_range, size)
                async for piece in reader:
                    yield Chunk(offset, piece)
                    offset += len(piece)

    async def GetArtifact(
        self, request: artifact_pb2.GetArtifactRequest, context: ServerContext
    ) -> artifact_pb2.GetArtifactResponse:
        """Describes one artifact."""
        ref = await self._store.ref(request.artifact_id)
        self._check_ticket(request.read_ticket, ref, context)
        return artifact_pb2.GetArtifactResponse(artifact=artifact_to_message(ref))

    async def ListArtifacts(
        self, request: artifact_pb2.ListArtifactsRequest, context: ServerContext
    ) -> artifact_pb2.ListArtifactsResponse:
        """Pages through the artifacts."""
        query = query_from_message(request)
        page = await self._store.list(query, page_size=request.page_size, page_token=request.page_token)
        return page_to_message(page)

    async def GetUsage(
        self, request: artifact_pb2.GetUsageRequest, context: ServerContext
    ) -> artifact_pb2.GetUsageResponse:
        """Tells how much is taken."""
        owner = request.owner if request.HasField("owner") else None
        usage = await self._store.usage(owner=owner, page_size=request.page_size, page_token=request.page_token)
        return usage_to_message(usage)

    async def UpdateArtifact(
        self, request: artifact_pb2.UpdateArtifactRequest, context: ServerContext
    ) -> artifact_pb2.UpdateArtifactResponse:
        """Changes what is known of one artifact."""
        changes = changes_from_message(request)
        ref = await self._store.update(request.artifact.artifact_id, changes, etag=request.artifact.etag)
        return artifact_pb2.UpdateArtifactResponse(artifact=artifact_to_message(ref))

    async def DeleteArtifact(
        self, request: artifact_pb2.DeleteArtifactRequest, context: ServerContext
    ) -> artifact_pb2.DeleteArtifactResponse:
        """Removes one artifact."""
        if not await self._store.delete(request.artifact_id, etag=request.etag) and not request.allow_missing:
            raise refusals.artifact_not_found(request.artifact_id, self._host)
        return artifact_pb2.DeleteArtifactResponse()

    async def WatchArtifacts(
        self, request: artifact_pb2.WatchArtifactsRequest, context: ServerContext
    ) -> AsyncIterator[artifact_pb2.WatchArtifactsResponse]:
        """Streams what becomes of the artifacts."""
        owner = request.owner if request.HasField("owner") else None
        with self._counted("watches"):
            async with aclosing(self._store.watch(cursor=request.cursor, owner=owner)) as notices:
                async for notice in notices:
                    yield notice_to_message(notice)

    async def CreateReadTicket(
        self, request: artifact_pb2.CreateReadTicketRequest, context: ServerContext
    ) -> artifact_pb2.CreateReadTicketResponse:
        """Gives leave to read one artifact."""
        ref = await self._store.ref(request.artifact_id)
        ttl_s = duration_from_message(request.ttl) if request.HasField("ttl") else TICKET_TTL_S
        ticket, expires_at = self._tickets.create(ref, request.audience_host, ttl_s)
        return artifact_pb2.CreateReadTicketResponse(read_ticket=ticket, expire_time=time_to_message(expires_at))

    async def PullArtifact(
        self, request: artifact_pb2.PullArtifactRequest, context: ServerContext
    ) -> AsyncIterator[artifact_pb2.PullArtifactResponse]:
        """Has an artifact fetched from another host, and tells how far it is."""
        if self._pulls is None:
            raise OperationNotFoundError("OPERATION_NOT_FOUND", f"{self._host} fetches nothing from other hosts")
        pull = await self._pulls.join(pull_from_request(request))
        async with aclosing(pull.progress()) as told:
            async for progress in told:
                yield progress_to_message(progress)

    def _check_ticket(self, ticket: bytes, ref: ArtifactRef, context: ServerContext) -> None:
        """Holds a reader to the ticket that he gave, if he gave one. Raises TICKET_INVALID."""
        if ticket:
            self._tickets.check(ticket, ref, _caller(context))

    @contextmanager
    def _counted(self, what: str) -> Generator[int]:
        """Counts an open read, or watch; gives how many there are now. Raises TOO_MANY_READS."""
        if self._open[what] >= self._max_open_reads:
            raise refusals.too_many_reads(self._max_open_reads, what)
        self._open[what] += 1
        try:
            yield self._open[what]
        finally:
            self._open[what] -= 1


def _caller(context: ServerContext) -> str:
    """The host that the caller says he is; empty when he says nothing."""
    for key, value in context.invocation_metadata() or ():
        if key == FROM_KEY and isinstance(value, str):
            return value
    return ""


@asynccontextmanager
async def _woken_when_lost(upload: Upload) -> AsyncGenerator[None]:
    """Ends the block when the upload is taken from its writer, however long his next frame would be in coming.

    Raises the reason.
    """
    now = asyncio.get_running_loop().time
    try:
        async with asyncio.timeout(None) as waiting:
            upload.when_lost(lambda: waiting.reschedule(now()))
            try:
                yield
            finally:
                upload.when_lost(_nobody)
    except TimeoutError:
        if upload.lost is None:
            raise
        raise upload.lost from None


def _nobody() -> None:
    """Nobody is waiting any more."""
