"""A handle to one paglet, wherever it is: the identity is no location, so it never goes stale."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

import grpc
from google.protobuf.message import Message

from paglet.v1 import artifact_pb2
from paglets.client.retry import RetryPolicy
from paglets.client.safe_channel import SafeChannel
from paglets.client.sending import send_to_paglet
from paglets.core.sending import SENT_TTL_S, sent_write
from paglets.values import DeactivationPolicy, JourneyInfo, PagletInfo, PagletProxyRef, TransferTicket
from paglets.wire.metadata import PAGLET_ID_KEY

__all__ = ["PagletHome", "PagletProxy"]

StubT = TypeVar("StubT")


class PagletHome(Protocol):
    """What a proxy asks of the client that made it; errors are those of `Client`."""

    @property
    def channel(self) -> grpc.aio.Channel:
        """The channel to the host that is asked."""
        ...

    @property
    def policy(self) -> RetryPolicy:
        """How long calls go on."""
        ...

    async def get(self, paglet_id: str) -> PagletInfo:
        """Describes a paglet."""
        ...

    async def dispatch(
        self,
        paglet_id: str,
        target: str,
        *,
        ticket: TransferTicket | None = None,
        request_id: str = "",
        timeout_s: float = math.inf,
        progress: Callable[[JourneyInfo], None] | None = None,
        progress_period_s: float = 0.25,
    ) -> PagletInfo:
        """Moves a paglet."""
        ...

    async def retract(
        self,
        paglet_id: str,
        *,
        ticket: TransferTicket | None = None,
        request_id: str = "",
        timeout_s: float = math.inf,
        progress: Callable[[JourneyInfo], None] | None = None,
        progress_period_s: float = 0.25,
    ) -> PagletInfo:
        """Brings a paglet to the host that is asked."""
        ...

    async def clone(
        self,
        paglet_id: str,
        target: str = "",
        *,
        parameters: Message | None = None,
        ticket: TransferTicket | None = None,
        request_id: str = "",
        timeout_s: float = math.inf,
    ) -> PagletInfo:
        """Makes a clone of a paglet."""
        ...

    async def deactivate(
        self, paglet_id: str, policy: DeactivationPolicy | None = None, *, request_id: str = ""
    ) -> PagletInfo:
        """Lays a paglet down."""
        ...

    async def activate(self, paglet_id: str) -> PagletInfo:
        """Brings a paglet back."""
        ...

    async def state(self, paglet_id: str) -> str:
        """Reads a paglet's state."""
        ...

    async def post(self, paglet_id: str, operation: str, request: Message, *, request_id: str = "") -> str:
        """Leaves an operation with a paglet."""
        ...

    async def dispose(self, paglet_id: str, *, request_id: str = "", timeout_s: float = math.inf) -> None:
        """Ends a paglet."""
        ...


@dataclass(frozen=True, slots=True)
class PagletProxy:
    """One paglet, called and moved through `client`, as long as that is open. Two are equal by their ids."""

    paglet_id: str
    client: PagletHome = field(repr=False, compare=False)

    @property
    def ref(self) -> PagletProxyRef:
        """The reference that may be kept in states and messages."""
        return PagletProxyRef(self.paglet_id)

    def stub(self, make: Callable[[grpc.aio.Channel], StubT]) -> StubT:
        """A generated stub bound to this paglet: `await proxy.stub(CounterServiceStub).Add(AddRequest(amount=1))`.

        A unary call has a deadline (the client's unless `timeout` says otherwise; `math.inf` is none) and a fresh
        request id unless the metadata `paglet-request-id` gives one. While the host cannot be reached, or the paglet
        moves, it is made again with the same id: it runs once. It raises PagletErrors. A streaming call gets the
        metadata `paglet-id`, and is otherwise gRPC's own.
        """
        metadata = ((PAGLET_ID_KEY, self.paglet_id),)
        return make(SafeChannel(self.client.channel, metadata=metadata, request_ids=True, policy=self.client.policy))

    def send_artifact(
        self, path: str | Path, *, name: str = "", move: bool = False, ttl_s: float = SENT_TTL_S
    ) -> AbstractAsyncContextManager[artifact_pb2.Artifact]:
        """`async with proxy.send_artifact(path) as artifact:` is a file for one call of the paglet.

        It is stored on the paglet's host, as the paglet's own, before the block begins; make the call inside, by `stub`
        and with `artifact` in its request. The paglet keeps it by `take_artifact`, else it expires after `ttl_s`
        seconds. An error of the call after which nothing can have changed deletes it; UNAVAILABLE, a deadline and a
        broken connection do not, nor does an error of another kind. With `move` the file is deleted after the call, if
        it is unchanged, whether the artifact was taken or not. Each block is a new artifact. Raises PAGLET_NOT_FOUND,
        SOURCE_NOT_A_FILE, HOST_UNREACHABLE, and as the store does.
        """
        write = sent_write(self.paglet_id, name, ttl_s)
        return send_to_paglet(self.info, write, Path(path), move=move, timeout_s=self.client.policy.timeout_s)

    async def info(self) -> PagletInfo:
        """Describes the paglet. Raises PAGLET_NOT_FOUND."""
        return await self.client.get(self.paglet_id)

    async def dispatch(
        self,
        target: str,
        *,
        ticket: TransferTicket | None = None,
        request_id: str = "",
        timeout_s: float = math.inf,
        progress: Callable[[JourneyInfo], None] | None = None,
        progress_period_s: float = 0.25,
    ) -> PagletInfo:
        """Moves the paglet to the host named `target`; as `Client.dispatch`."""
        return await self.client.dispatch(
            self.paglet_id,
            target,
            ticket=ticket,
            request_id=request_id,
            timeout_s=timeout_s,
            progress=progress,
            progress_period_s=progress_period_s,
        )

    async def retract(
        self,
        *,
        ticket: TransferTicket | None = None,
        request_id: str = "",
        timeout_s: float = math.inf,
        progress: Callable[[JourneyInfo], None] | None = None,
        progress_period_s: float = 0.25,
    ) -> PagletInfo:
        """Brings the paglet to the host that the client asks; as `Client.retract`."""
        return await self.client.retract(
            self.paglet_id,
            ticket=ticket,
            request_id=request_id,
            timeout_s=timeout_s,
            progress=progress,
            progress_period_s=progress_period_s,
        )

    async def clone(
        self,
        target: str = "",
        *,
        parameters: Message | None = None,
        ticket: TransferTicket | None = None,
        request_id: str = "",
        timeout_s: float = math.inf,
    ) -> PagletInfo:
        """Makes a clone of the paglet, and describes it; as `Client.clone`."""
        return await self.client.clone(
            self.paglet_id, target, parameters=parameters, ticket=ticket, request_id=request_id, timeout_s=timeout_s
        )

    async def deactivate(self, policy: DeactivationPolicy | None = None, *, request_id: str = "") -> PagletInfo:
        """Lays the paglet down on its host's disk; as `Client.deactivate`."""
        return await self.client.deactivate(self.paglet_id, policy, request_id=request_id)

    async def activate(self) -> PagletInfo:
        """Brings the paglet back; as `Client.activate`."""
        return await self.client.activate(self.paglet_id)

    async def state(self) -> str:
        """The paglet's durable state as JSON; as `Client.state`."""
        return await self.client.state(self.paglet_id)

    async def post(self, operation: str, request: Message, *, request_id: str = "") -> str:
        """Leaves an operation, `pkg.Service/Method`, with the paglet, and does not wait for it; as `Client.post`."""
        return await self.client.post(self.paglet_id, operation, request, request_id=request_id)

    async def dispose(self, *, request_id: str = "", timeout_s: float = math.inf) -> None:
        """Ends the paglet for good; as `Client.dispose`."""
        await self.client.dispose(self.paglet_id, request_id=request_id, timeout_s=timeout_s)
