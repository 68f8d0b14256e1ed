"""A small store behind a port with a client that has nothing but the generated stub: where refusals are provoked."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import grpc
from google.protobuf.field_mask_pb2 import FieldMask

from paglet.v1 import artifact_pb2, artifact_pb2_grpc
from paglets.artifacts.local import LocalArtifactStore
from paglets.client.channel import open_channel
from tests.artifacts.serve import serving
from tests.artifacts.support import PATIENCE_S, Clock, opened, settings
from tests.artifacts.test_wire import Frame, Stub, chunk, header, send

__all__ = ["MAX_BYTES", "OWNER_QUOTA", "QUOTA", "Bound", "Scene", "WriteCall", "set_up"]

Bound: TypeAlias = "int | float | None"
WriteCall: TypeAlias = "grpc.aio.StreamUnaryCall[Frame, artifact_pb2.WriteArtifactResponse]"

MAX_BYTES, QUOTA, OWNER_QUOTA = 1000, 3000, 500


@dataclass(frozen=True, slots=True)
class Scene:
    """The store, and what its clients do; what they do wrong raises the error of the call."""

    local: LocalArtifactStore
    root: Path
    clock: Clock
    stub: Stub

    async def write(self, *frames: Frame) -> object:
        """Sends frames, and waits for nothing."""
        return await send(self.stub, frames)

    async def hold(self, **fields: str | int) -> WriteCall:
        """A stream that was accepted, and stands still."""
        call = self.stub.WriteArtifact()
        await call.write(header(**fields))
        assert "paglet-committed-size" in await call.initial_metadata()
        return call

    @asynccontextmanager
    async def held(self, **fields: str | int) -> AsyncGenerator[None]:
        """Meanwhile such a stream is there."""
        call = await self.hold(**fields)
        try:
            yield
        finally:
            call.cancel()

    async def rest(self, upload_id: str = "u") -> None:
        """Leaves a partial."""
        await self.write(header(upload_id=upload_id), chunk(0, b"rest"))

    async def upload(self, upload_id: str) -> object:
        """Asks for an upload."""
        return await self.stub.GetUpload(artifact_pb2.GetUploadRequest(upload_id=upload_id))

    async def cancel(self, upload_id: str) -> object:
        """Cancels an upload."""
        return await self.stub.CancelUpload(artifact_pb2.CancelUploadRequest(upload_id=upload_id))

    async def read(self, artifact_id: str, offset: int = 0, limit: int = 0) -> object:
        """Reads to the end."""
        request = artifact_pb2.ReadArtifactRequest(artifact_id=artifact_id, read_offset=offset, read_limit=limit)
        return [frame async for frame in self.stub.ReadArtifact(request)]

    async def get(self, artifact_id: str) -> object:
        """Asks for an artifact."""
        return await self.stub.GetArtifact(artifact_pb2.GetArtifactRequest(artifact_id=artifact_id))

    async def ticket(self, artifact_id: str, ttl_s: int = 60) -> object:
        """Makes a read ticket."""
        request = artifact_pb2.CreateReadTicketRequest(artifact_id=artifact_id, audience_host="beta")
        request.ttl.FromSeconds(ttl_s)
        return await self.stub.CreateReadTicket(request)

    async def delete(self, artifact_id: str, etag: str = "") -> object:
        """Deletes an artifact."""
        return await self.stub.DeleteArtifact(artifact_pb2.DeleteArtifactRequest(artifact_id=artifact_id, etag=etag))

    async def update(self, *paths: str, **fields: str) -> object:
        """Updates an artifact."""
        request = artifact_pb2.UpdateArtifactRequest(update_mask=FieldMask(paths=paths) if paths else None)
        for name, value in fields.items():
            setattr(request.artifact, name, value)
        return await self.stub.UpdateArtifact(request)

    async def watch(self, cursor: str = "") -> object:
        """What a watch says first."""
        request = artifact_pb2.WatchArtifactsRequest(cursor=cursor)
        return await anext(aiter(self.stub.WatchArtifacts(request)))


@asynccontextmanager
async def set_up(root: Path, clock: Clock, bounds: Mapping[str, Bound], *, patient: bool) -> AsyncGenerator[Scene]:
    """A scene whose store has other bounds where some are given, and without patience soon ends what stands still."""
    small = replace(
        settings(max_artifact_bytes=MAX_BYTES, quota_bytes=QUOTA, max_open_uploads=2, max_partials=3, keep_events=2),
        owner_quota_bytes=OWNER_QUOTA,
    )
    timeout_s = PATIENCE_S if patient else 0.2
    async with (
        opened(root, clock, replace(small, **bounds)) as local,
        serving(local, stall_timeout_s=timeout_s, reader_timeout_s=timeout_s, max_open_reads=1) as port,
        open_channel(f"127.0.0.1:{port}") as channel,
    ):
        yield Scene(local, root, clock, artifact_pb2_grpc.ArtifactServiceStub(channel))
