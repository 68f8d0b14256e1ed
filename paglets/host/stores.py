"""The artifact stores of a mesh, as one host reaches them: its own directly, those of others over the wire."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from paglets.artifacts.store import ArtifactStore
from paglets.errors import PagletError
from paglets.host.parts import HostParts

__all__ = ["artifact_store"]


@asynccontextmanager
async def artifact_store(parts: HostParts, host: str) -> AsyncGenerator[ArtifactStore]:
    """The store of a host, without a name the own one. Raises HOST_NOT_FOUND, HOST_UNREACHABLE.

    What keeps another host from answering inside the block is HOST_UNREACHABLE, too.
    """
    if host in ("", parts.name):
        yield parts.store
        return
    await parts.peers.online(host)
    try:
        yield await parts.peers.store(host)
    except PagletError as error:
        raise parts.peers.explain(host, error) from error
