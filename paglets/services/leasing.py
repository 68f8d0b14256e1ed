"""Leases on paglets, taken and given back at whichever host these are on."""

from __future__ import annotations

import asyncio

from paglet.v1 import mesh_pb2
from paglets.errors import NotFoundError
from paglets.host.host import Host
from paglets.services.outlet import ServerContext
from paglets.services.routing import Router
from paglets.values import check_id
from paglets.wire.times import duration_from_message

__all__ = ["Leasing"]

_ACQUIRE = "/paglet.v1.MeshService/AcquireLease"
_RELEASE = "/paglet.v1.MeshService/ReleaseLease"


class Leasing:
    """The lease rpcs of one host."""

    def __init__(self, host: Host, router: Router) -> None:
        self._host = host
        self._router = router

    async def acquire(
        self, request: mesh_pb2.AcquireLeaseRequest, context: ServerContext
    ) -> mesh_pb2.AcquireLeaseResponse:
        """Takes or renews a lease, and brings the paglet back for it."""
        meta = self._router.meta(context, check_id(request.paglet_id, "paglet_id"))
        lease_id, ttl_s = check_id(request.lease_id, "lease_id"), duration_from_message(request.ttl)
        deadline = asyncio.get_running_loop().time() + meta.timeout_s

        async def here() -> bytes | None:
            resident = await self._host.called(meta.paglet_id, awake_only=False)
            if resident is None:
                return None
            await resident.gate.passage(deadline)  # one that leaves or rests just now keeps no lease
            renewed = resident.leases.acquire(lease_id, ttl_s)
            reply = mesh_pb2.AcquireLeaseResponse(host=self._host.name, renewed=renewed)
            return reply.SerializeToString()

        reply = await self._router.unary(context, meta, _ACQUIRE, request.SerializeToString(), here)
        return mesh_pb2.AcquireLeaseResponse.FromString(reply)

    async def release(
        self, request: mesh_pb2.ReleaseLeaseRequest, context: ServerContext
    ) -> mesh_pb2.ReleaseLeaseResponse:
        """Ends a lease; wakes and starts nobody for it."""
        meta = self._router.meta(context, check_id(request.paglet_id, "paglet_id"))
        lease_id = check_id(request.lease_id, "lease_id")

        async def here() -> bytes | None:
            if meta.paglet_id not in self._host.dormant:
                resident = await self._host.resident(meta.paglet_id)
                if resident is None:
                    return None
                resident.leases.release(lease_id)
            return mesh_pb2.ReleaseLeaseResponse().SerializeToString()

        try:
            await self._router.unary(context, meta, _RELEASE, request.SerializeToString(), here)
        except NotFoundError:  # with the paglet its leases are gone
            return mesh_pb2.ReleaseLeaseResponse()
        return mesh_pb2.ReleaseLeaseResponse()
