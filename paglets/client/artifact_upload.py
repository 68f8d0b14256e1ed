"""An artifact on its way to a host, over as many streams as it takes.

A stream that breaks is followed by another that goes on where the host is, once both sides agree on what is there. This
file must never know what a frame is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace
from typing import TypeAlias

from paglet.v1 import artifact_pb2, artifact_pb2_grpc
from paglets.artifacts import refusals
from paglets.artifacts.disk import unbroken
from paglets.artifacts.sources import HELD_BYTES, Source
from paglets.artifacts.store import ArtifactWrite, ArtifactWriteResult, UploadInfo, UploadState
from paglets.client.artifact_streams import ArtifactStreams
from paglets.client.backoff import Backoff
from paglets.client.retry import RetryPolicy
from paglets.client.upload_stream import UploadStream
from paglets.digest import Hasher
from paglets.errors import (
    CallerError,
    ConflictError,
    DeadlineError,
    ExhaustedError,
    NotFoundError,
    OutOfRangeError,
    PagletError,
    UnavailableError,
)
from paglets.values import new_id
from paglets.wire.artifact import upload_from_message

__all__ = ["Progress", "SentArtifact"]

Progress: TypeAlias = Callable[[int], None]
"""Called with the number of bytes that are done so far."""

_log = logging.getLogger(__name__)
_CANCEL_S = 2.0


class SentArtifact:
    """One artifact that is sent: `run` once.

    Only a write with an upload id leaves a partial when it fails, and looks for one first.
    """

    def __init__(
        self,
        stub: artifact_pb2_grpc.ArtifactServiceAsyncStub,
        streams: ArtifactStreams,
        write: ArtifactWrite,
        source: Source,
        *,
        stall_timeout_s: float,
        patience: RetryPolicy,
        progress: Progress | None,
    ) -> None:
        self._stub = stub
        self._streams = streams
        self._is_named = bool(write.upload_id)
        self._write = write if self._is_named else replace(write, upload_id=new_id())
        self._source = source
        self._stall_timeout_s = stall_timeout_s
        self._backoff = Backoff(patience)
        self._furthest = 0
        self._progress = progress
        self._here = Hasher()
        self._writer_epoch = 1

    async def run(self) -> ArtifactWriteResult:
        """Sends it to the end. Raises as `ArtifactStore.create_from_chunks`; errors of the source pass unchanged."""
        looks = self._is_named
        try:
            while True:
                try:
                    if looks:
                        await self._look()
                    result = await self._one_stream()
                except PagletError as failure:
                    if failure is self._source.failure or not _may_pass(failure):
                        raise
                    await self._pause(failure)
                    looks = True
                else:
                    looks = False
                    if result is not None:
                        return result
        except BaseException:
            if not self._is_named:
                await unbroken(self._cancel())
            raise

    async def _pause(self, failure: PagletError) -> None:
        """Waits before the next attempt; raises the failure when there was no progress for too long."""
        if self._here.size_bytes > self._furthest:
            self._furthest = self._here.size_bytes
            self._backoff.progressed()
        await self._backoff.pause(failure)

    async def _look(self) -> None:
        """Finds out what the host has, and holds it against the source, also when that is nothing, or all.

        Raises PREFIX_MISMATCH, REQUEST_ID_REUSED, and TRANSPORT when the host has less than it said it had, and what it
        lacks cannot be had again: what is left of the source must never be taken for the whole.
        """
        info = await self._info()
        here = None if info is None else info.prefix
        size = 0 if here is None else here.size_bytes
        hasher = await self._source.prefix(size)
        if hasher is None:
            raise CallerError(
                "TRANSPORT", f"the host has only {size} bytes of what it said it had, and the source is gone past them"
            )
        if info is not None and here is not None:
            is_open = info.state is UploadState.OPEN
            if hasher.digest() != here:
                upload_id, found = self._write.upload_id, hasher.digest()
                raise refusals.prefix_mismatch(upload_id, here, found) if is_open else refusals.upload_reused(upload_id)
            if is_open:
                self._writer_epoch = info.writer_epoch + 1
        self._here = hasher

    async def _info(self) -> UploadInfo | None:
        try:
            reply = await self._stub.GetUpload(artifact_pb2.GetUploadRequest(upload_id=self._write.upload_id))
        except NotFoundError:
            return None
        return upload_from_message(reply.upload)

    async def _one_stream(self) -> ArtifactWriteResult | None:
        """Sends until the end, or until as much is on its way as can be held to be sent again: then None."""
        hasher = self._here.copy()
        async with UploadStream.accepted(
            self._streams, self._write, self._writer_epoch, hasher.digest(), self._stall_timeout_s
        ) as stream:
            if stream.wants_nothing and self._write.expected_digest is not None:
                return await stream.finish(self._write.expected_digest)
            async with aclosing(self._source.hashed_pieces(hasher)) as pieces:
                async for piece in pieces:
                    await stream.send(piece)
                    if self._progress is not None:
                        self._progress(stream.size_bytes)
                    if self._source.kept_bytes >= HELD_BYTES:
                        break
                else:
                    return await stream.finish(hasher.digest())
            await self._settle(stream, hasher)
            return None

    async def _settle(self, stream: UploadStream, hasher: Hasher) -> None:
        size = await stream.pause()
        if size != hasher.size_bytes:
            raise CallerError("TRANSPORT", f"{hasher.size_bytes} bytes were sent, the host says that it has {size}")
        self._source.settle(hasher)
        self._here = hasher

    async def _cancel(self) -> None:
        """Leaves nothing at the host, as far as it can be reached; else the partial expires there."""
        request = artifact_pb2.CancelUploadRequest(upload_id=self._write.upload_id, allow_missing=True)
        try:
            await self._stub.CancelUpload(request, timeout=_CANCEL_S)
        except PagletError:
            _log.debug("upload %s is left to expire", self._write.upload_id, exc_info=True)


def _may_pass(failure: PagletError) -> bool:
    """Whether another stream may get further."""
    match failure:
        case UnavailableError() | DeadlineError():
            return True
        case OutOfRangeError() | ExhaustedError() | ConflictError():
            if failure.reason == "UPLOAD_IN_PROGRESS":  # of the upload, not of another one for the same artifact
                return failure.resource is not None and failure.resource.kind == "upload"
            return failure.reason in {"OFFSET_MISMATCH", "TOO_MANY_UPLOADS", "UPLOAD_STALLED"}
        case _:
            return False
