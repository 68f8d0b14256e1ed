"""The artifact store of another host: the contract of home, over ArtifactService.

This file must never know how a host keeps what it is given.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import grpc

from paglet.v1 import artifact_pb2, artifact_pb2_grpc
from paglets.artifacts.behind import Behind
from paglets.artifacts.disk import Disk
from paglets.artifacts.export import landing
from paglets.artifacts.limits import check_proof
from paglets.artifacts.sources import Source, StreamSource, file_source, stream_pieces
from paglets.artifacts.store import (
    ALL_ARTIFACTS,
    MAX_BATCH_ITEMS,
    ArtifactChanges,
    ArtifactNotice,
    ArtifactPage,
    ArtifactQuery,
    ArtifactWrite,
    ArtifactWriteResult,
    PullProgress,
    PullRequest,
    Readable,
    SmallArtifact,
    SmallWrite,
    StoreUsage,
    UploadInfo,
    UploadPage,
)
from paglets.client.artifact_pull import pull_artifact
from paglets.client.artifact_read import RemoteReader
from paglets.client.artifact_streams import ArtifactStreams
from paglets.client.artifact_upload import Progress, SentArtifact
from paglets.client.artifact_watch import watch_artifacts
from paglets.client.read_call import ReadCall
from paglets.client.retry import RetryPolicy
from paglets.client.safe_channel import SafeChannel
from paglets.digest import Digest
from paglets.errors import ConflictError, NotFoundError, PagletError
from paglets.values import ArtifactRef, OwnerPolicy
from paglets.wire.artifact import (
    artifact_from_message,
    page_from_message,
    upload_from_message,
    uploads_from_message,
    usage_from_message,
)
from paglets.wire.artifact_batch import (
    read_results_from_message,
    small_writes_to_messages,
    write_results_from_message,
)
from paglets.wire.artifact_query import query_to_message
from paglets.wire.artifact_update import changes_to_message
from paglets.wire.metadata import FROM_KEY
from paglets.wire.times import duration_to_message

__all__ = ["RemoteArtifactStore"]


class RemoteArtifactStore:
    """Keeps the contract of `paglets.artifacts.store.ArtifactStore` over a channel, which stays its owner's to close.

    `timeout_s` bounds a call that moves no bytes; where bytes move, `stall_timeout_s` bounds how long they may stand
    still. When the way to the host breaks, uploads and reads go on from where they were, until they have got no further
    for `patience_s`.

    With a `read_ticket` of the host it describes and reads only what that is for, as the host named `reader`.
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        *,
        timeout_s: float = 30.0,
        stall_timeout_s: float = 60.0,
        patience_s: float = 60.0,
        read_ticket: bytes = b"",
        reader: str = "",
    ) -> None:
        metadata = ((FROM_KEY, reader),) if reader else ()
        safe = SafeChannel(channel, metadata=metadata, policy=RetryPolicy(timeout_s=timeout_s))
        self._stub: artifact_pb2_grpc.ArtifactServiceAsyncStub = artifact_pb2_grpc.ArtifactServiceStub(safe)
        once = SafeChannel(channel, policy=RetryPolicy(timeout_s=timeout_s, is_passing=_never))
        self._once: artifact_pb2_grpc.ArtifactServiceAsyncStub = artifact_pb2_grpc.ArtifactServiceStub(once)
        self._streams = ArtifactStreams(safe)
        self._patience = RetryPolicy(timeout_s=patience_s)
        self._stall_timeout_s = stall_timeout_s
        self._read_ticket = read_ticket
        self._disk = Disk()

    async def create_from_chunks(
        self, write: ArtifactWrite, chunks: AsyncIterable[bytes], *, progress: Progress | None = None
    ) -> ArtifactWriteResult:
        """Stores the bytes of an async iterator, whose own errors pass unchanged.

        It is asked for none before the host has accepted the artifact. So that a break of the connection does not end
        it, up to 16 MiB are held in memory until the host has them. `progress` is told how many are done so far.
        """
        return await self._send(write, StreamSource(chunks, keep=True), progress)

    async def create_from_stream(
        self, write: ArtifactWrite, source: Readable, *, progress: Progress | None = None
    ) -> ArtifactWriteResult:
        """Stores what `source.read(n)` gives until it gives nothing."""
        return await self.create_from_chunks(write, stream_pieces(source), progress=progress)

    async def create_from_path(
        self, write: ArtifactWrite, source: str | Path, *, progress: Progress | None = None
    ) -> ArtifactWriteResult:
        """Stores a regular file, named after it unless `write.name` is set."""
        async with file_source(self._disk, write, Path(source)) as (described, file):
            return await self._send(described, file, progress)

    async def create_batch(self, items: Sequence[SmallWrite]) -> Sequence[ArtifactWriteResult | PagletError]:
        """Stores any number of small artifacts, as many by one call as go into one message.

        A call is not made again by itself where not each of its items has an upload id.
        """
        results: list[ArtifactWriteResult | PagletError] = []
        for request in small_writes_to_messages(items):
            stub = self._stub if all(item.upload_id for item in request.items) else self._once
            results += write_results_from_message(request, await stub.BatchWriteArtifacts(request))
        return results

    async def read_batch(self, artifact_ids: Sequence[str]) -> Sequence[SmallArtifact | PagletError]:
        """Reads any number of small artifacts, and proves each once more."""
        results: list[SmallArtifact | PagletError] = []
        while len(results) < len(artifact_ids):
            some = artifact_ids[len(results) : len(results) + MAX_BATCH_ITEMS]
            request = artifact_pb2.BatchReadArtifactsRequest(artifact_ids=some)
            reply = await self._stub.BatchReadArtifacts(request)
            results += await self._disk.run(partial(read_results_from_message, request, reply))
        return results

    async def upload(self, upload_id: str) -> UploadInfo:
        """Describes one upload."""
        reply = await self._stub.GetUpload(artifact_pb2.GetUploadRequest(upload_id=upload_id))
        return upload_from_message(reply.upload)

    async def uploads(self, *, page_size: int = 100, page_token: str = "") -> UploadPage:
        """One page of unfinished uploads in the order of their ids."""
        request = artifact_pb2.ListUploadsRequest(page_size=page_size, page_token=page_token)
        return uploads_from_message(await self._stub.ListUploads(request))

    async def cancel_upload(self, upload_id: str) -> bool:
        """Drops an unfinished upload; a repetition after a lost answer says that there was none."""
        try:
            await self._stub.CancelUpload(artifact_pb2.CancelUploadRequest(upload_id=upload_id))
        except NotFoundError:
            return False
        return True

    async def usage(self, *, owner: str | None = None, page_size: int = 100, page_token: str = "") -> StoreUsage:
        """How much is taken, with one page of owners, or with the one that is named."""
        request = artifact_pb2.GetUsageRequest(owner=owner, page_size=page_size, page_token=page_token)
        return usage_from_message(await self._stub.GetUsage(request))

    async def ref(self, artifact_id: str) -> ArtifactRef:
        """Describes one artifact."""
        request = artifact_pb2.GetArtifactRequest(artifact_id=artifact_id, read_ticket=self._read_ticket)
        reply = await self._stub.GetArtifact(request)
        return artifact_from_message(reply.artifact)

    async def create_read_ticket(self, artifact_id: str, audience_host: str, *, ttl_s: float | None = None) -> bytes:
        """Leave for a host to read the artifact for `ttl_s` seconds, an hour if not given: what `pull` takes.

        Keep it out of logs: who has it may use it. Raises ARTIFACT_NOT_FOUND, INVALID_ID, MALFORMED_REQUEST.
        """
        ttl = None if ttl_s is None else duration_to_message(ttl_s, "ttl")
        reply = await self._stub.CreateReadTicket(
            artifact_pb2.CreateReadTicketRequest(artifact_id=artifact_id, audience_host=audience_host, ttl=ttl)
        )
        return reply.read_ticket

    async def pull(
        self, request: PullRequest, *, progress: Callable[[PullProgress], None] | None = None
    ) -> ArtifactWriteResult:
        """Has the host fetch an artifact from another one, and waits for it; `progress` is told how far it is.

        The pull goes on without its caller: repeat it with the same `pull_id` to join it, or to have what came of it.
        While the host cannot be reached that is done here. Raises REQUEST_ID_REUSED, MALFORMED_REQUEST, INVALID_ID, and
        what the pull has ended with: HOST_NOT_FOUND, HOST_UNREACHABLE, ARTIFACT_NOT_FOUND, TICKET_INVALID,
        STORED_BLOB_CORRUPT, and what `create_from_chunks` of that host raises.
        """
        return await pull_artifact(self._stub, request, self._patience, progress)

    async def list(
        self, query: ArtifactQuery = ALL_ARTIFACTS, *, page_size: int = 100, page_token: str = ""
    ) -> ArtifactPage:
        """One page."""
        return page_from_message(await self._stub.ListArtifacts(query_to_message(query, page_size, page_token)))

    def watch(self, *, cursor: str = "", owner: str | None = None) -> AsyncGenerator[ArtifactNotice, None]:
        """Every change after `cursor`. It waits while the host is away, and goes on without loss when that is back.

        Raises CANCELLED when the channel is closed.
        """
        return watch_artifacts(self._stub, cursor, owner)

    @asynccontextmanager
    async def open_reader(
        self, artifact_id: str, *, offset: int = 0, length: int | None = None
    ) -> AsyncGenerator[RemoteReader, None]:
        """Opens an artifact for reading, once; what breaks on the way is gone on with from where it broke.

        Also raises ARTIFACT_NOT_FOUND if the artifact was replaced by another meanwhile, and STORED_BLOB_CORRUPT for
        bytes that changed on the way.
        """
        begin = partial(ReadCall.begin, self._streams, artifact_id, self._read_ticket, self._stall_timeout_s)
        async with RemoteReader.opened(begin, offset, length, self._patience, self._disk) as reader:
            yield reader

    async def export_to_path(
        self,
        artifact_id: str,
        target: str | Path,
        *,
        overwrite: bool = True,
        expected_digest: Digest | None = None,
        progress: Progress | None = None,
    ) -> ArtifactRef:
        """Writes a verified copy on this machine under its final name in one step, durable. Goes on as a reader does.

        `progress` is told how many bytes came so far.
        """
        async with self.open_reader(artifact_id) as reader:
            check_proof(reader.ref.digest, expected_digest)
            async with (
                landing(self._disk, Path(target), overwrite=overwrite) as file,
                Behind.working(self._disk, file.append) as writing,
            ):
                done = 0
                async for piece in reader.views():
                    await writing.put(piece)
                    done += len(piece)
                    if progress is not None:
                        progress(done)
                await writing.wait()
        return reader.ref

    async def update(self, artifact_id: str, changes: ArtifactChanges, *, etag: str = "") -> ArtifactRef:
        """Changes what is known of an artifact, durably.

        While the host cannot be reached it is asked again: with an `etag`, ETAG_MISMATCH may then mean that the update
        was made and its answer lost.
        """
        reply = await self._stub.UpdateArtifact(changes_to_message(artifact_id, changes, etag))
        return artifact_from_message(reply.artifact)

    async def delete(self, artifact_id: str, *, etag: str = "") -> bool:
        """Deletes one artifact; a repetition after a lost answer says that it was not there."""
        try:
            await self._stub.DeleteArtifact(artifact_pb2.DeleteArtifactRequest(artifact_id=artifact_id, etag=etag))
        except NotFoundError:
            return False
        return True

    async def delete_owner(self, owner: str, *, created_until: float | None = None) -> int:
        """Deletes the owner's artifacts whose policy is DELETE_WITH_OWNER; says how many."""
        until = math.inf if created_until is None else created_until
        count, token = 0, ""
        while True:
            page = await self.list(ArtifactQuery(owner=owner), page_size=1000, page_token=token)
            for ref in page.refs:
                if ref.created_at <= until:
                    count += await self._delete_with(owner, ref)
            token = page.next_token
            if not token:
                return count

    async def _send(self, write: ArtifactWrite, source: Source, progress: Progress | None) -> ArtifactWriteResult:
        sent = SentArtifact(
            self._stub,
            self._streams,
            write,
            source,
            stall_timeout_s=self._stall_timeout_s,
            patience=self._patience,
            progress=progress,
        )
        return await sent.run()

    async def _delete_with(self, owner: str, ref: ArtifactRef) -> bool:
        """Deletes an artifact that goes with its owner, unless it is given to another meanwhile."""
        while ref.owner == owner and ref.owner_policy is OwnerPolicy.DELETE_WITH_OWNER:
            try:
                return await self.delete(ref.artifact_id, etag=ref.etag)
            except ConflictError:
                with suppress(NotFoundError):
                    ref = await self.ref(ref.artifact_id)
        return False


def _never(_: PagletError) -> bool:
    """Nothing is tried again."""
    return False
