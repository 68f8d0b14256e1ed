"""A watch of a host's artifacts that outlives its connection, and the host's restarts."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import grpc

from paglet.v1 import artifact_pb2, artifact_pb2_grpc
from paglets.artifacts.store import ArtifactNotice
from paglets.client.calls import errors_of_calls
from paglets.client.resume import resumed
from paglets.wire.artifact_watch import notice_from_message

__all__ = ["watch_artifacts"]


def watch_artifacts(
    stub: artifact_pb2_grpc.ArtifactServiceAsyncStub, cursor: str, owner: str | None
) -> AsyncGenerator[ArtifactNotice, None]:
    """Every change after `cursor`, over any number of connections. Ends as `resumed` does."""

    def open_call(
        after: str,
    ) -> grpc.aio.UnaryStreamCall[artifact_pb2.WatchArtifactsRequest, artifact_pb2.WatchArtifactsResponse]:
        request = artifact_pb2.WatchArtifactsRequest(cursor=after, owner=owner)
        with errors_of_calls():
            return stub.WatchArtifacts(request, wait_for_ready=True)

    return resumed("artifacts", cursor, open_call, notice_from_message, lambda notice: notice.cursor)
