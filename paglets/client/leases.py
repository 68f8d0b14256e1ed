"""A lease on a paglet that is held for a block: renewed in the background, and given back at the end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from contextvars import Context

import grpc

from paglet.v1 import mesh_pb2, mesh_pb2_grpc
from paglets.client.retry import RetryPolicy
from paglets.client.safe_channel import SafeChannel
from paglets.errors import InvalidArgumentError, PagletError
from paglets.values import new_id
from paglets.wire.times import duration_to_message

__all__ = ["LeasePeer"]

_log = logging.getLogger(__name__)
_MAX_TTL_S = 24 * 3600.0
_RELEASE_S = 2.0
_RENEWALS = 3


class LeasePeer:
    """Leases on paglets, asked of the host at the other end of `channel`. Raises PagletErrors."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        safe = SafeChannel(channel, policy=RetryPolicy())
        self._stub: mesh_pb2_grpc.MeshServiceAsyncStub = mesh_pb2_grpc.MeshServiceStub(safe)

    @asynccontextmanager
    async def held(self, paglet_id: str, ttl_s: float) -> AsyncGenerator[None]:
        """A lease that is live for the block, on a paglet that is awake when that begins.

        It is renewed three times in `ttl_s` seconds, which is how long it stays if this process is killed. When it
        cannot be renewed the log says so, and it goes on being tried. Raises MALFORMED_REQUEST, PAGLET_NOT_FOUND,
        PAGLET_INACTIVE, TOO_MANY_LEASES, and what keeps the paglet from being brought back.
        """
        if not 0 < ttl_s <= _MAX_TTL_S:
            raise InvalidArgumentError(
                "MALFORMED_REQUEST",
                f"a lease lasts more than 0 and at most {_MAX_TTL_S:.0f} seconds, got {ttl_s}",
                field="ttl",
            )
        request = mesh_pb2.AcquireLeaseRequest(
            paglet_id=paglet_id, lease_id=new_id(), ttl=duration_to_message(ttl_s, "ttl")
        )
        try:
            await self._stub.AcquireLease(request)
            # Not in the caller's context: a lease that was taken in a turn outlives it.
            renewing = asyncio.create_task(self._renew(request, ttl_s / _RENEWALS), context=Context())
            try:
                yield
            finally:
                renewing.cancel()
                await asyncio.wait([renewing])
        finally:  # also if the answer did not come: it may be live
            await self._release(request)

    async def _renew(self, request: mesh_pb2.AcquireLeaseRequest, period_s: float) -> None:
        while True:
            await asyncio.sleep(period_s)
            try:
                reply = await self._stub.AcquireLease(request, timeout=max(period_s, 1.0))
            except PagletError as error:
                _log.warning("the lease on paglet %s is not renewed: %s", request.paglet_id, error)
            else:
                if not reply.renewed:
                    _log.info("the lease on paglet %s had ended, or it has moved; it is live again", request.paglet_id)

    async def _release(self, request: mesh_pb2.AcquireLeaseRequest) -> None:
        wanted = mesh_pb2.ReleaseLeaseRequest(paglet_id=request.paglet_id, lease_id=request.lease_id)
        try:
            await self._stub.ReleaseLease(wanted, timeout=_RELEASE_S)
        except PagletError as error:
            _log.info("the lease on paglet %s is not given back, it ends by itself: %s", request.paglet_id, error)
