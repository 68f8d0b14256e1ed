"""MeshService: which hosts there are, from the directory, and which services, from what the host knows of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from itertools import islice
from typing import Protocol

from paglet.v1 import mesh_pb2, mesh_pb2_grpc
from paglets.directory.contract import Directory
from paglets.discovery import ServiceRecord
from paglets.errors import NotFoundError, Resource
from paglets.host.discovery import Discovery
from paglets.services.guard import ServerContext
from paglets.services.host_watch import host_notices
from paglets.services.paging import page_size, page_start, page_token
from paglets.services.watching import Watches
from paglets.values import check_id
from paglets.wire.mesh import host_notice_to_message, host_to_message
from paglets.wire.services import notice_to_message, query_from_message, record_to_message, scope_from_message
from paglets.wire.times import duration_from_message

__all__ = ["Leases", "MeshServicer"]


class Leases(Protocol):
    """Leases on paglets, wherever these are."""

    async def acquire(
        self, request: mesh_pb2.AcquireLeaseRequest, context: ServerContext, /
    ) -> mesh_pb2.AcquireLeaseResponse:
        """Takes or renews one."""
        ...

    async def release(
        self, request: mesh_pb2.ReleaseLeaseRequest, context: ServerContext, /
    ) -> mesh_pb2.ReleaseLeaseResponse:
        """Ends one."""
        ...


class MeshServicer(mesh_pb2_grpc.MeshServiceServicer):
    """Answers for the host `name`; put it behind the guard."""

    def __init__(self, directory: Directory, name: str, watches: Watches, discovery: Discovery, leases: Leases) -> None:
        self._watches = watches
        self._leases = leases
        self._discovery = discovery
        self._directory = directory
        self._name = name

    async def GetHost(self, request: mesh_pb2.GetHostRequest, context: ServerContext) -> mesh_pb2.GetHostResponse:
        """Describes the named host, or this one."""
        name = request.name or self._name
        for host in await self._directory.hosts():
            if host.name == name:
                return mesh_pb2.GetHostResponse(host=host_to_message(host))
        raise NotFoundError("HOST_NOT_FOUND", f"no host of the mesh is named {name!r}", resource=Resource("host", name))

    async def ListHosts(self, request: mesh_pb2.ListHostsRequest, context: ServerContext) -> mesh_pb2.ListHostsResponse:
        """Describes one page of hosts."""
        size, after = page_size(request.page_size), page_start(request.page_token)
        following = (host for host in await self._directory.hosts() if host.name > after)
        page = [host_to_message(host) for host in islice(following, size)]
        is_last = next(following, None) is None
        return mesh_pb2.ListHostsResponse(hosts=page, next_page_token="" if is_last else page_token(page[-1].name))

    async def WatchHosts(
        self, request: mesh_pb2.WatchHostsRequest, context: ServerContext
    ) -> AsyncIterator[mesh_pb2.WatchHostsResponse]:
        """Streams what becomes of hosts."""
        async with aclosing(self._watches.run(host_notices(self._directory))) as notices:
            async for notice in notices:
                yield host_notice_to_message(notice)

    async def AdvertiseService(
        self, request: mesh_pb2.AdvertiseServiceRequest, context: ServerContext
    ) -> mesh_pb2.AdvertiseServiceResponse:
        """Makes known that a paglet answers a service."""
        wanted = ServiceRecord(
            service=request.service,
            paglet_id=check_id(request.paglet_id, "paglet_id"),
            operations=tuple(request.operations),
            scope=scope_from_message(request.scope),
            tags=tuple(request.tags),
        )
        ttl_s = duration_from_message(request.ttl) if request.HasField("ttl") else None
        record = await self._discovery.advertise(wanted, ttl_s)
        return mesh_pb2.AdvertiseServiceResponse(record=record_to_message(record))

    async def WithdrawService(
        self, request: mesh_pb2.WithdrawServiceRequest, context: ServerContext
    ) -> mesh_pb2.WithdrawServiceResponse:
        """Ends what a paglet advertised."""
        await self._discovery.withdraw(request.service, check_id(request.paglet_id, "paglet_id"))
        return mesh_pb2.WithdrawServiceResponse()

    async def LookupService(
        self, request: mesh_pb2.LookupServiceRequest, context: ServerContext
    ) -> mesh_pb2.LookupServiceResponse:
        """Finds the paglets that answer a service."""
        limit = page_size(request.limit, "limit")
        found = await self._discovery.find(query_from_message(request))
        return mesh_pb2.LookupServiceResponse(records=map(record_to_message, found[:limit]), total=len(found))

    async def AcquireLease(
        self, request: mesh_pb2.AcquireLeaseRequest, context: ServerContext
    ) -> mesh_pb2.AcquireLeaseResponse:
        """Takes or renews a lease on a paglet."""
        return await self._leases.acquire(request, context)

    async def ReleaseLease(
        self, request: mesh_pb2.ReleaseLeaseRequest, context: ServerContext
    ) -> mesh_pb2.ReleaseLeaseResponse:
        """Ends a lease on a paglet."""
        return await self._leases.release(request, context)

    async def WatchServices(
        self, request: mesh_pb2.WatchServicesRequest, context: ServerContext
    ) -> AsyncIterator[mesh_pb2.WatchServicesResponse]:
        """Streams what becomes of services."""
        watch = self._discovery.watch(query_from_message(request))
        async with aclosing(self._watches.run(watch)) as notices:
            async for notice in notices:
                yield notice_to_message(notice)
