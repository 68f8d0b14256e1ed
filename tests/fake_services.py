"""The services that a fake home knows: those that a test says there are."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from google.protobuf.descriptor import ServiceDescriptor

from paglets.discovery import ServiceQuery, ServiceScope, no_service
from paglets.operations import ServiceContract, query_of
from paglets.values import PagletProxyRef

__all__ = ["FakeServices"]


class FakeServices:
    """Finds what is in `found`, by the names of services; `queries` are what was looked for, in order."""

    def __init__(self) -> None:
        self.found: dict[str, PagletProxyRef] = {}
        self.queries: list[ServiceQuery] = []

    async def advertise(
        self,
        service: ServiceContract | ServiceDescriptor,
        *,
        scope: ServiceScope = ServiceScope.MESH,
        tags: tuple[str, ...] = (),
        ttl_s: float | None = None,
    ) -> None:
        """Nobody would look."""
        raise NotImplementedError("a fake home advertises nothing")

    async def withdraw(self, service: ServiceContract | ServiceDescriptor) -> None:
        """Nothing was advertised."""
        raise NotImplementedError("a fake home advertises nothing")

    async def lookup(
        self,
        service: ServiceContract | ServiceDescriptor,
        *,
        operation: str = "",
        tags: tuple[str, ...] = (),
        scope: ServiceScope = ServiceScope.MESH,
    ) -> PagletProxyRef | None:
        """What the test said."""
        self.queries.append(query_of(service, operation=operation, tags=tags, scope=scope))
        return self.found.get(self.queries[-1].service)

    async def require(
        self,
        service: ServiceContract | ServiceDescriptor,
        *,
        operation: str = "",
        tags: tuple[str, ...] = (),
        scope: ServiceScope = ServiceScope.MESH,
    ) -> PagletProxyRef:
        """What the test said, or SERVICE_NOT_FOUND."""
        found = await self.lookup(service, operation=operation, tags=tags, scope=scope)
        if found is None:
            raise no_service(query_of(service, operation=operation, tags=tags, scope=scope), ())
        return found

    def lease(
        self,
        service: ServiceContract | ServiceDescriptor,
        *,
        operation: str = "",
        tags: tuple[str, ...] = (),
        scope: ServiceScope = ServiceScope.MESH,
        ttl_s: float = 60.0,
    ) -> AbstractAsyncContextManager[PagletProxyRef]:
        """Nothing here rests."""
        raise NotImplementedError("a fake home leases nothing")
