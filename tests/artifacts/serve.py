"""Serves a store until it is stopped, and prints its port: `python -m tests.artifacts.serve FOLDER [MAX QUOTA]`."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc

from paglets.artifacts.local import LocalArtifactStore
from paglets.artifacts.store import ServedStore
from paglets.services.artifact import ArtifactServicer, add_artifacts
from paglets.services.guard import GuardedServices
from paglets.wire.channel_options import SERVER_OPTIONS
from tests.artifacts.support import INLINE_BYTES, settings


@asynccontextmanager
async def serving(
    store: ServedStore,
    *,
    stall_timeout_s: float = 60.0,
    reader_timeout_s: float = 60.0,
    max_open_reads: int = 128,
    port: int = 0,
) -> AsyncGenerator[int, None]:
    """Serves a store on loopback; gives the port."""
    services = GuardedServices(stall_timeout_s=reader_timeout_s)
    servicer = ArtifactServicer(store, "alpha", max_open_reads=max_open_reads, stall_timeout_s=stall_timeout_s)
    add_artifacts(services, servicer)
    server = grpc.aio.server(options=SERVER_OPTIONS)
    server.add_generic_rpc_handlers((services,))
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield bound
    finally:
        await server.stop(None)


async def main(root: Path, bounds: list[int]) -> None:
    """Serves the store in `root`."""
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    limits: list[int | None] = [*bounds, None, None]
    found = settings(max_artifact_bytes=limits[0], quota_bytes=limits[1], inline_bytes=INLINE_BYTES)
    store = await LocalArtifactStore.open(root, "alpha", found)
    async with serving(store) as port:
        sys.stdout.write(f"{port}\n")
        sys.stdout.flush()
        await stopped.wait()
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), [int(bound) for bound in sys.argv[2:]]))
