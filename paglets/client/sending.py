"""A file that goes along with a call, from a client: stored on the host of the paglet that is called."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from paglet.v1 import artifact_pb2
from paglets.artifacts.store import ArtifactWrite
from paglets.client.artifacts import RemoteArtifactStore
from paglets.client.channel import open_channel
from paglets.core.sending import sent_artifact
from paglets.errors import Resource, UnavailableError
from paglets.values import PagletInfo

__all__ = ["send_to_paglet"]


@asynccontextmanager
async def send_to_paglet(
    locate: Callable[[], Awaitable[PagletInfo]], write: ArtifactWrite, source: Path, *, move: bool, timeout_s: float
) -> AsyncGenerator[artifact_pb2.Artifact]:
    """Stores a file on the host that `locate` tells, for the call inside the block. Raises HOST_UNREACHABLE."""
    found = await locate()
    if not found.address:
        raise UnavailableError(
            "HOST_UNREACHABLE",
            f"host {found.host} of paglet {found.paglet_id} cannot be reached",
            resource=Resource("host", found.host),
            metadata={"host": found.host},
        )

    @asynccontextmanager
    async def store() -> AsyncGenerator[RemoteArtifactStore]:
        channel = open_channel(found.address)
        try:
            yield RemoteArtifactStore(channel, timeout_s=timeout_s)
        finally:
            await channel.close()

    async with sent_artifact(store, write, source, move=move) as artifact:
        yield artifact
