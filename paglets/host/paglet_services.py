"""The promises of `core.services.Services`, kept by a host for one paglet."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from google.protobuf.descriptor import ServiceDescriptor

from paglets.core.paglet import Paglet
from paglets.discovery import (
    ServiceRecord,
    ServiceScope,
    check_advertised,
    no_service,
)
from paglets.host.calls import no_operation
from paglets.host.parts import HostParts
from paglets.host.registry import operations_of
from paglets.host.sections import Sections
from paglets.operations import ServiceContract, contract_of, query_of
from paglets.values import PagletProxyRef, check_id

__all__ = ["PagletServices"]


class PagletServices:
    """The services of the mesh, as one paglet of a type sees them. It keeps nothing: make one when it is needed."""

    def __init__(self, parts: HostParts, paglet_id: str, paglet_type: type[Paglet[Any]], sections: Sections) -> None:
        self._discovery = parts.discovery
        self._peers = parts.peers
        self._here = parts.name
        self._paglet_id = paglet_id
        self._type = paglet_type
        self._sections = sections

    async def advertise(
        self,
        service: ServiceContract | ServiceDescriptor,
        *,
        scope: ServiceScope = ServiceScope.MESH,
        tags: tuple[str, ...] = (),
        ttl_s: float | None = None,
    ) -> None:
        """Makes known that the paglet answers a service, with all operations that its type has of it."""
        name = contract_of(service).name
        operations = operations_of(self._type, name)
        if not operations:
            raise no_operation(self._paglet_id, self._type, name)
        check_advertised(ttl_s)
        for tag in tags:
            check_id(tag, "tags")
        record = ServiceRecord(service=name, paglet_id=self._paglet_id, operations=operations, scope=scope, tags=tags)
        await self._do(lambda: self._discovery.advertise(record, ttl_s))

    async def withdraw(self, service: ServiceContract | ServiceDescriptor) -> None:
        """Ends what the paglet advertised."""
        name = contract_of(service).name
        await self._do(lambda: self._discovery.withdraw(name, self._paglet_id))

    async def lookup(
        self,
        service: ServiceContract | ServiceDescriptor,
        *,
        operation: str = "",
        tags: tuple[str, ...] = (),
        scope: ServiceScope = ServiceScope.MESH,
    ) -> PagletProxyRef | None:
        """The best paglet that answers a service."""
        found = await self._discovery.find(query_of(service, operation=operation, tags=tags, scope=scope))
        return PagletProxyRef(found[0].paglet_id) if found and found[0].online else None

    async def require(
        self,
        service: ServiceContract | ServiceDescriptor,
        *,
        operation: str = "",
        tags: tuple[str, ...] = (),
        scope: ServiceScope = ServiceScope.MESH,
    ) -> PagletProxyRef:
        """The best paglet that answers a service. Raises SERVICE_NOT_FOUND."""
        query = query_of(service, operation=operation, tags=tags, scope=scope)
        found = await self._discovery.find(query)
        if not found or not found[0].online:
            raise no_service(query, found)
        return PagletProxyRef(found[0].paglet_id)

    @asynccontextmanager
    async def lease(
        self,
        service: ServiceContract | ServiceDescriptor,
        *,
        operation: str = "",
        tags: tuple[str, ...] = (),
        scope: ServiceScope = ServiceScope.MESH,
        ttl_s: float = 60.0,
    ) -> AsyncGenerator[PagletProxyRef]:
        """Keeps a service from resting for the block."""
        ref = await self.require(service, operation=operation, tags=tags, scope=scope)
        async with (await self._peers.leases(self._here)).held(ref.paglet_id, ttl_s):
            yield ref

    async def _do(self, work: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """Does it now, or in a turn when that is durable."""
        turn = self._sections.own_turn()
        if turn is None:
            await work()
        else:
            turn.outputs.append(lambda: self._discovery.soon(work))
