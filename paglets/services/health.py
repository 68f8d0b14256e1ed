"""grpc.health.v1: whether the host serves. All its services do, or none; what its paglets do is not looked at."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from paglets.services.guard import ServerContext

__all__ = ["HealthServicer"]

Status = health_pb2.HealthCheckResponse


class HealthServicer(health_pb2_grpc.HealthServicer):
    """NOT_SERVING until `serve`, and for good from `drain` on; `end_watches` lets the server end without waiting."""

    def __init__(self) -> None:
        self._names = frozenset({""})
        self._status = Status.NOT_SERVING
        self._changed = asyncio.Event()
        self._ended = False

    def serve(self, names: Iterable[str]) -> None:
        """The host serves, with the services named."""
        self._names |= frozenset(names)
        self._status = Status.SERVING
        self._tell()

    def drain(self) -> None:
        """The host is about to end: tells those who watch to send their calls elsewhere."""
        self._status = Status.NOT_SERVING
        self._tell()

    def end_watches(self) -> None:
        """Ends every watch: none of them would end by itself while the server waits for the calls that are left."""
        self._ended = True
        self._tell()

    async def Check(self, request: health_pb2.HealthCheckRequest, context: ServerContext) -> Status:
        """Tells how a service stands now; a service that is unknown is NOT_FOUND."""
        status = self._of(request.service)
        if status == Status.SERVICE_UNKNOWN:
            await context.abort(grpc.StatusCode.NOT_FOUND)
        return Status(status=status)

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: ServerContext) -> AsyncIterator[Status]:
        """Tells how a service stands, now and whenever that changes."""
        told = None
        while not self._ended:
            changed, status = self._changed, self._of(request.service)
            if status != told:
                told = status
                yield Status(status=status)
            else:
                await changed.wait()

    def _of(self, service: str) -> int:
        return self._status if service in self._names else Status.SERVICE_UNKNOWN

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
