"""The faces of a client, and of what it gives: proxies, services and dead letters."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from typing import TypeVar, cast

import grpc

from paglets.blocking.artifacts import RemoteArtifactStore
from paglets.blocking.faces import Face, OpenFace, entering, iterating, waiting
from paglets.blocking.loop import Loop
from paglets.blocking.stubs import StubChannel
from paglets.client import client, dead_letters, proxy, services
from paglets.values import PagletInfo, PagletProxyRef

__all__ = ["Client", "DeadLetters", "PagletProxy", "Services"]

StubT = TypeVar("StubT")


class PagletProxy(Face[proxy.PagletProxy]):
    """One paglet, called and moved through a client, as long as that is open. Two are equal by their ids."""

    @property
    def paglet_id(self) -> str:
        """The paglet's id, which never changes."""
        return self.inner.paglet_id

    @property
    def ref(self) -> PagletProxyRef:
        """The reference that may be kept in states and messages."""
        return self.inner.ref

    def stub(self, make: Callable[[grpc.Channel], StubT]) -> StubT:
        """A generated stub bound to this paglet: `proxy.stub(CounterServiceStub).Add(AddRequest(amount=1))`.

        Its calls are those of the stub that the coroutines give, deadline, request id and PagletErrors included. A
        stream of requests is read by other threads than this one; a stream of replies is read as it is wanted.
        """
        channel = self.inner.stub(partial(StubChannel, loop=self.loop))
        return make(cast("grpc.Channel", channel))

    send_artifact = entering(proxy.PagletProxy.send_artifact)
    info = waiting(proxy.PagletProxy.info)
    dispatch = waiting(proxy.PagletProxy.dispatch)
    retract = waiting(proxy.PagletProxy.retract)
    clone = waiting(proxy.PagletProxy.clone)
    deactivate = waiting(proxy.PagletProxy.deactivate)
    activate = waiting(proxy.PagletProxy.activate)
    state = waiting(proxy.PagletProxy.state)
    post = waiting(proxy.PagletProxy.post)
    dispose = waiting(proxy.PagletProxy.dispose)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PagletProxy) and self.inner == other.inner

    def __hash__(self) -> int:
        return hash(self.inner)

    def __repr__(self) -> str:
        return repr(self.inner)


def _found(found: proxy.PagletProxy | None, loop: Loop) -> PagletProxy | None:
    return None if found is None else PagletProxy(found, loop)


class Services(Face[services.Services]):
    """The services of a mesh, as the host that the client asks knows them."""

    lookup = waiting(services.Services.lookup, _found)
    require = waiting(services.Services.require, PagletProxy)
    lease = entering(services.Services.lease, PagletProxy)
    find = waiting(services.Services.find)
    watch = iterating(services.Services.watch)
    advertise = waiting(services.Services.advertise)
    withdraw = waiting(services.Services.withdraw)


class DeadLetters(Face[dead_letters.DeadLetters]):
    """The posts that failed three times, of any paglet."""

    list = iterating(dead_letters.DeadLetters.list)
    replay = waiting(dead_letters.DeadLetters.replay)
    drop = waiting(dead_letters.DeadLetters.drop)


class Client(OpenFace[client.Client]):
    """A connection to the host at `address`, and through it to its whole mesh: `with Client(address) as client:`.

    Every call has the deadline `timeout_s` unless it says otherwise, and is made again while the host cannot be
    reached, with the same request id: it runs once. Errors are PagletErrors. Nothing is sent before the first call.

    With `multiplexed` unary calls share one stream, as those of the coroutines' client do: for many threads that call.
    """

    def __init__(self, address: str, *, timeout_s: float = 30.0, multiplexed: bool = False) -> None:
        async def connect() -> client.Client:
            return client.Client(address, timeout_s=timeout_s, multiplexed=multiplexed)

        super().__init__(connect)

    @property
    def address(self) -> str:
        """Where the host is."""
        return self.inner.address

    @cached_property
    def artifacts(self) -> RemoteArtifactStore:
        """The artifact store of the host, on a connection of its own so that large bytes keep no call waiting."""
        return RemoteArtifactStore(self.loop.call(lambda: self.inner.artifacts), self.loop)

    @cached_property
    def dead_letters(self) -> DeadLetters:
        """The posts that failed three times, of any paglet."""
        return DeadLetters(self.inner.dead_letters, self.loop)

    @cached_property
    def services(self) -> Services:
        """The services that the paglets of the mesh answer: to be found, and to be made known."""
        return Services(self.inner.services, self.loop)

    def proxy(self, paglet: str | PagletProxyRef | PagletInfo) -> PagletProxy:
        """A handle to a paglet, from its id or a reference to it. Nothing is asked: the paglet need not be there.

        Raises INVALID_ID for what is no id.
        """
        return PagletProxy(self.inner.proxy(paglet), self.loop)

    reach = waiting(client.Client.reach)
    host = waiting(client.Client.host)
    hosts = waiting(client.Client.hosts)
    watch_hosts = iterating(client.Client.watch_hosts)
    create = waiting(client.Client.create, PagletProxy)
    get = waiting(client.Client.get)
    list = iterating(client.Client.list)
    history = waiting(client.Client.history)
    watch = iterating(client.Client.watch)
    dispatch = waiting(client.Client.dispatch)
    retract = waiting(client.Client.retract)
    clone = waiting(client.Client.clone)
    deactivate = waiting(client.Client.deactivate)
    activate = waiting(client.Client.activate)
    state = waiting(client.Client.state)
    operations = waiting(client.Client.operations)
    post = waiting(client.Client.post)
    dispose = waiting(client.Client.dispose)
