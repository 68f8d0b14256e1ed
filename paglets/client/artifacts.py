"""The artifact store of another host: the contract of home, over ArtifactService.

This file must never know how a host keeps what it is given.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import grpc

from paglet.v1 import artifact_pb2, artifact_pb2_grpc
from paglets.artifacts.disk import Disk
from paglets.artifacts.export import landing
from paglets.artifacts.sources import file_source, stream_pieces
from paglets.artifacts.store import ArtifactPage, ArtifactWrite, ArtifactWriteResult, Readable
from paglets.client.artifact_read import RemoteReader
from paglets.client.artifact_upload import Progress, SentUpload
from paglets.client.read_call import ReadCall
from paglets.client.retry import RetryPolicy
from paglets.client.safe_channel import SafeChannel
from paglets.errors import ConflictError, NotFoundError, UnavailableError
from paglets.values import ArtifactRef, OwnerPolicy, new_id
from paglets.wire.artifact import artifact_from_message, page_from_message

__all__ = ["RemoteArtifactStore"]

_PAUSES_S = (0.05, 0.2, 0.8)


class RemoteArtifactStore:
    """Keeps the contract of `paglets.artifacts.store.ArtifactStore` over a channel, which stays its owner's to close.

    `timeout_s` bounds a call that moves no bytes; where bytes move, `stall_timeout_s` bounds how long they may stand
    still. An upload is tried again for as long as the host has not accepted it and nothing but the way to it failed; a
    read goes on for as long as it does not pass `timeout_s` without a byte.
    """

    def __init__(self, channel: grpc.aio.Channel, *, timeout_s: float = 30.0, stall_timeout_s: float = 60.0) -> None:
        self._policy = RetryPolicy(timeout_s=timeout_s)
        self._stub: artifact_pb2_grpc.ArtifactServiceAsyncStub = artifact_pb2_grpc.ArtifactServiceStub(
            SafeChannel(channel, policy=self._policy)
        )
        self._stall_timeout_s = stall_timeout_s
        self._disk = Disk()

    async def create_from_chunks(
        self, write: ArtifactWrite, chunks: AsyncIterable[bytes], *, progress: Progress | None = None
    ) -> ArtifactWriteResult:
        """Stores the bytes of an async iterator, whose own errors pass unchanged.

        It is asked for none before the host has accepted the artifact. `progress` is told how many are done so far.
        """
        if not write.upload_id:
            write = replace(write, upload_id=new_id())
        async with AsyncExitStack() as stack:
            upload = await self._open_upload(stack, write)
            return await upload.send(chunks, progress)

    async def create_from_stream(
        self, write: ArtifactWrite, source: Readable, *, progress: Progress | None = None
    ) -> ArtifactWriteResult:
        """Stores what `source.read(n)` gives until it gives nothing."""
        return await self.create_from_chunks(write, stream_pieces(source), progress=progress)

    async def create_from_path(
        self, write: ArtifactWrite, source: Path, *, progress: Progress | None = None
    ) -> ArtifactWriteResult:
        """Stores a regular file, named after it unless `write.name` is set."""
        async with file_source(self._disk, write, source) as (described, pieces):
            return await self.create_from_chunks(described, pieces, progress=progress)

    async def ref(self, artifact_id: str) -> ArtifactRef:
        """Describes one artifact."""
        reply = await self._stub.GetArtifact(artifact_pb2.GetArtifactRequest(artifact_id=artifact_id))
        return artifact_from_message(reply.artifact)

    async def list(self, *, owner: str | None = None, page_size: int = 100, page_token: str = "") -> ArtifactPage:
        """One page in the order of ids."""
        request = artifact_pb2.ListArtifactsRequest(page_size=page_size, page_token=page_token, owner=owner)
        return page_from_message(await self._stub.ListArtifacts(request))

    @asynccontextmanager
    async def open_reader(
        self, artifact_id: str, *, offset: int = 0, length: int | None = None
    ) -> AsyncGenerator[RemoteReader, None]:
        """Opens an artifact for reading, once; what breaks on the way is gone on with from where it broke.

        Also raises ARTIFACT_NOT_FOUND if the artifact was replaced by another meanwhile, and STORED_BLOB_CORRUPT for
        bytes that changed on the way.
        """
        begin = partial(ReadCall.begin, self._stub, artifact_id, self._stall_timeout_s)
        async with RemoteReader.opened(begin, offset, length, self._policy, self._disk) as reader:
            yield reader

    async def export_to_path(
        self, artifact_id: str, target: Path, *, overwrite: bool = True, progress: Progress | None = None
    ) -> ArtifactRef:
        """Writes a verified copy on this machine under its final name in one step, durable. Goes on as a reader does.

        `progress` is told how many bytes came so far.
        """
        async with self.open_reader(artifact_id) as reader, landing(self._disk, target, overwrite=overwrite) as file:
            done = 0
            async for piece in reader:
                await self._disk.run(partial(file.append, piece))
                done += len(piece)
                if progress is not None:
                    progress(done)
        return reader.ref

    async def delete(self, artifact_id: str) -> bool:
        """Deletes one artifact; a repetition after a lost answer says that it was not there."""
        try:
            await self._stub.DeleteArtifact(artifact_pb2.DeleteArtifactRequest(artifact_id=artifact_id))
        except NotFoundError:
            return False
        return True

    async def delete_owner(self, owner: str, *, created_until: float | None = None) -> int:
        """Deletes the owner's artifacts whose policy is DELETE_WITH_OWNER; says how many."""
        until = math.inf if created_until is None else created_until
        count, token = 0, ""
        while True:
            page = await self.list(owner=owner, page_size=1000, page_token=token)
            for ref in page.refs:
                if ref.owner_policy is OwnerPolicy.DELETE_WITH_OWNER and ref.created_at <= until:
                    count += await self.delete(ref.artifact_id)
            token = page.next_token
            if not token:
                return count

    async def _open_upload(self, stack: AsyncExitStack, write: ArtifactWrite) -> SentUpload:
        """Opens an upload, again and again while that is safe and may help: until it is accepted, no byte is sent."""
        attempt = partial(SentUpload.accepted, self._stub, write, self._disk, self._stall_timeout_s)
        for number, pause_s in enumerate(_PAUSES_S):
            try:
                return await stack.enter_async_context(attempt())
            except UnavailableError:
                await asyncio.sleep(pause_s)
            except ConflictError as error:
                # The host may not know yet that an attempt of ours, which got no answer, is over.
                if error.reason != "UPLOAD_IN_PROGRESS" or number == 0:
                    raise
                await asyncio.sleep(pause_s)
        return await stack.enter_async_context(attempt())
