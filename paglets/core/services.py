"""What a paglet has to do with services: it advertises those that it answers, and finds those of others.

This file must never know who keeps these promises.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from google.protobuf.descriptor import ServiceDescriptor

from paglets.discovery import ServiceScope
from paglets.operations import ServiceContract
from paglets.values import PagletProxyRef

__all__ = ["Advertisement", "Services"]


@dataclass(frozen=True, slots=True)
class Advertisement:
    """One service that the paglets of a class answer for whoever looks for it.

    Its record is there as long as the paglet, on whichever host that is. `tags` are formed as ids.
    """

    service: ServiceDescriptor
    scope: ServiceScope = ServiceScope.MESH
    tags: tuple[str, ...] = ()


class Services(Protocol):
    """The services of the mesh, as one paglet sees them. A service is given by its descriptor, or as a contract."""

    async def advertise(
        self,
        service: ServiceContract | ServiceDescriptor,
        *,
        scope: ServiceScope = ServiceScope.MESH,
        tags: tuple[str, ...] = (),
        ttl_s: float | None = None,
    ) -> None:
        """Makes known that this paglet answers a service: for `ttl_s` seconds, or until it is disposed of.

        It is found wherever the paglet is. In a turn it is done when that is durable, and no error is told of what
        then fails; elsewhere on return. Safe to repeat: the last time counts, also that of a host which takes up a
        paglet whose class names the service in `Advertises`, after a move, a rest or a restart. Raises
        OPERATION_NOT_FOUND for a service that the paglet does not answer, MALFORMED_REQUEST, and outside of turns
        DIRECTORY_UNAVAILABLE.
        """
        ...

    async def withdraw(self, service: ServiceContract | ServiceDescriptor) -> None:
        """Ends what this paglet advertised of a service, when as in `advertise`. Safe to repeat."""
        ...

    async def lookup(
        self,
        service: ServiceContract | ServiceDescriptor,
        *,
        operation: str = "",
        tags: tuple[str, ...] = (),
        scope: ServiceScope = ServiceScope.MESH,
    ) -> PagletProxyRef | None:
        """The best paglet that answers a service and is on a host that is there; None when there is none.

        It has all operations of the contract, or the one `operation`, and all `tags`; with the scope LOCAL it is on
        this host. Answered from memory. Raises DIRECTORY_UNAVAILABLE just after the start of a host, CONTRACT_VIOLATED
        for an operation that the contract does not have.
        """
        ...

    async def require(
        self,
        service: ServiceContract | ServiceDescriptor,
        *,
        operation: str = "",
        tags: tuple[str, ...] = (),
        scope: ServiceScope = ServiceScope.MESH,
    ) -> PagletProxyRef:
        """As `lookup`. Raises SERVICE_NOT_FOUND when there is none."""
        ...

    def lease(
        self,
        service: ServiceContract | ServiceDescriptor,
        *,
        operation: str = "",
        tags: tuple[str, ...] = (),
        scope: ServiceScope = ServiceScope.MESH,
        ttl_s: float = 60.0,
    ) -> AbstractAsyncContextManager[PagletProxyRef]:
        """`async with self.services.lease(COUNTER) as ref:` keeps a service from resting for the block.

        It is started, or brought back, before the block begins; the lease is renewed in the background and given back
        at the end, also that of a body which ends because the paglet leaves. One that is to outlast the block is
        entered by an `AsyncExitStack`, whose `aclose` is for `self.resources`. Raises as `require`, MALFORMED_REQUEST
        for a `ttl_s` that is not more than 0, TOO_MANY_LEASES, and what keeps the service from being started.
        """
        ...
