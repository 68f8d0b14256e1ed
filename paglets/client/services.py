"""The services that the paglets of a mesh answer, found by asking any one of its hosts."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import grpc
from google.protobuf.descriptor import ServiceDescriptor

from paglet.v1 import mesh_pb2, mesh_pb2_grpc
from paglets.client.calls import errors_of_calls
from paglets.client.leases import LeasePeer
from paglets.client.proxy import PagletHome, PagletProxy
from paglets.client.resume import resumed
from paglets.discovery import (
    ServiceNotice,
    ServiceQuery,
    ServiceRecord,
    ServiceScope,
    check_advertised,
    no_service,
)
from paglets.operations import ServiceContract, contract_of, query_of
from paglets.wire.services import notice_from_message, record_from_message, scope_to_message
from paglets.wire.times import duration_to_message

__all__ = ["Services"]

_EVERYTHING = ServiceQuery()


class Services:
    """The services of a mesh, as the host that `client` asks knows them.

    A service is given by its descriptor, or as a contract. A client that was built with an older minor version of its
    proto finds the newer service: that has all the operations which the client knows.
    """

    def __init__(self, client: PagletHome, stub: mesh_pb2_grpc.MeshServiceAsyncStub) -> None:
        self._client = client
        self._stub = stub

    async def lookup(
        self,
        service: ServiceContract | ServiceDescriptor,
        *,
        operation: str = "",
        tags: tuple[str, ...] = (),
        scope: ServiceScope = ServiceScope.MESH,
    ) -> PagletProxy | None:
        """The best paglet that answers a service and is on a host that is there; None when there is none.

        It has all operations of the contract, or the one `operation`, and all `tags`; with the scope LOCAL it is on
        the host that is asked. Raises DIRECTORY_UNAVAILABLE, CONTRACT_VIOLATED for an operation that is not in it.
        """
        found = await self.find(query_of(service, operation=operation, tags=tags, scope=scope), limit=1)
        return PagletProxy(found[0].paglet_id, self._client) if found and found[0].online else None

    async def require(
        self,
        service: ServiceContract | ServiceDescriptor,
        *,
        operation: str = "",
        tags: tuple[str, ...] = (),
        scope: ServiceScope = ServiceScope.MESH,
    ) -> PagletProxy:
        """As `lookup`. Raises SERVICE_NOT_FOUND, which names what was wanted, when there is none."""
        query = query_of(service, operation=operation, tags=tags, scope=scope)
        found = await self.find(query)
        if not found or not found[0].online:
            raise no_service(query, found)
        return PagletProxy(found[0].paglet_id, self._client)

    @asynccontextmanager
    async def lease(
        self,
        service: ServiceContract | ServiceDescriptor,
        *,
        operation: str = "",
        tags: tuple[str, ...] = (),
        scope: ServiceScope = ServiceScope.MESH,
        ttl_s: float = 60.0,
    ) -> AsyncGenerator[PagletProxy]:
        """`async with client.services.lease(COUNTER) as proxy:` keeps a service from resting for the block.

        It is started, or brought back, before the block begins. The lease is renewed in the background, given back at
        the end, and ends by itself `ttl_s` seconds, at most a day, after this process has ended. Raises as `require`,
        MALFORMED_REQUEST, TOO_MANY_LEASES, and what keeps the service from being started.
        """
        proxy = await self.require(service, operation=operation, tags=tags, scope=scope)
        async with LeasePeer(self._client.channel).held(proxy.paglet_id, ttl_s):
            yield proxy

    async def find(self, query: ServiceQuery = _EVERYTHING, *, limit: int = 1000) -> Sequence[ServiceRecord]:
        """The services that fit, one a paglet, the best first, those last whose hosts are not there; 1000 at most."""
        request = mesh_pb2.LookupServiceRequest(
            service=query.service,
            operations=query.operations,
            tags=query.tags,
            scope=scope_to_message(query.scope),
            limit=limit,
        )
        return [record_from_message(found) for found in (await self._stub.LookupService(request)).records]

    def watch(self, query: ServiceQuery = _EVERYTHING) -> AsyncGenerator[ServiceNotice, None]:
        """The services that fit, then what becomes of them, over any number of connections.

        After each that broke all services are told anew, as PRESENT. It ends when it is closed.
        """
        stub: mesh_pb2_grpc.MeshServiceAsyncStub = mesh_pb2_grpc.MeshServiceStub(self._client.channel)
        request = mesh_pb2.WatchServicesRequest(
            service=query.service, operations=query.operations, tags=query.tags, scope=scope_to_message(query.scope)
        )

        def open_call(
            _after: str,
        ) -> grpc.aio.UnaryStreamCall[mesh_pb2.WatchServicesRequest, mesh_pb2.WatchServicesResponse]:
            with errors_of_calls():
                return stub.WatchServices(request, wait_for_ready=True)

        return resumed("services", "", open_call, notice_from_message, lambda _: "")

    async def advertise(
        self,
        paglet_id: str,
        service: ServiceContract | ServiceDescriptor,
        *,
        scope: ServiceScope = ServiceScope.MESH,
        tags: tuple[str, ...] = (),
        ttl_s: float | None = None,
    ) -> ServiceRecord:
        """Makes known that a paglet answers a service: for `ttl_s` seconds, or until it is disposed of.

        It is found wherever the paglet is. Safe to repeat: the last time counts. Raises PAGLET_NOT_FOUND,
        OPERATION_NOT_FOUND, MALFORMED_REQUEST, DIRECTORY_UNAVAILABLE.
        """
        check_advertised(ttl_s)
        contract = contract_of(service)
        request = mesh_pb2.AdvertiseServiceRequest(
            paglet_id=paglet_id,
            service=contract.name,
            operations=[found.descriptor.name for found in contract.operations],
            scope=scope_to_message(scope),
            tags=tags,
            ttl=None if ttl_s is None else duration_to_message(ttl_s, "ttl"),
        )
        return record_from_message((await self._stub.AdvertiseService(request)).record)

    async def withdraw(self, paglet_id: str, service: ServiceContract | ServiceDescriptor) -> None:
        """Ends what a paglet advertised of a service. Safe to repeat."""
        request = mesh_pb2.WithdrawServiceRequest(paglet_id=paglet_id, service=contract_of(service).name)
        await self._stub.WithdrawService(request)
