"""The front of the SDK: creates, finds, moves and calls the paglets of a mesh through any one of its hosts."""

from __future__ import annotations

import builtins
import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import Field, replace
from typing import Any, ClassVar, Protocol, Self

import grpc
from google.protobuf.message import Message

from paglet.v1 import (
    lifecycle_pb2,
    lifecycle_pb2_grpc,
    mesh_pb2,
    mesh_pb2_grpc,
    operation_pb2,
    operation_pb2_grpc,
)
from paglets.client.artifacts import RemoteArtifactStore
from paglets.client.calls import errors_of_calls
from paglets.client.channel import open_channel
from paglets.client.dead_letters import DeadLetters
from paglets.client.host_watch import watch_hosts
from paglets.client.journeys import journey_progress
from paglets.client.multiplexed import MultiplexedChannel
from paglets.client.paglet_watch import watch_paglets
from paglets.client.proxy import PagletProxy
from paglets.client.retry import RetryPolicy, bounded_timeout
from paglets.client.safe_channel import SafeChannel
from paglets.client.services import Services
from paglets.core.paglet import Paglet
from paglets.core.turn import next_request_id
from paglets.errors import InvalidArgumentError, UnavailableError
from paglets.operations import OperationInfo
from paglets.state import json_text
from paglets.values import (
    DeactivationPolicy,
    HostNotice,
    HostRef,
    JourneyInfo,
    PagletEvent,
    PagletInfo,
    PagletNotice,
    PagletProxyRef,
    TransferTicket,
    check_id,
)
from paglets.wire.lifecycle import paglet_info_from_message
from paglets.wire.mesh import host_from_message
from paglets.wire.operation import operation_from_message
from paglets.wire.paglet_events import paglet_event_from_message
from paglets.wire.policy import policy_to_message
from paglets.wire.ticket import ticket_to_message

__all__ = ["Client", "Dataclass"]


class Dataclass(Protocol):
    """Any instance of a dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


class Client:
    """A connection to the host at `address`, and through it to its whole mesh: `async with Client(address) as client:`.

    Every call has the deadline `timeout_s` unless it says otherwise, and is made again while the host cannot be
    reached, with the same request id: it runs once. Errors are PagletErrors. Nothing is sent before the first call.

    With `multiplexed` unary calls share one stream, which costs client and host much less: for a process that makes
    thousands of small calls a second. They mean the same. A host that allows one connection fewer than 500 rpcs answers
    those that are more with TOO_MANY_CALLS, where plain ones would wait; one without CallService answers none.
    """

    def __init__(self, address: str, *, timeout_s: float = 30.0, multiplexed: bool = False) -> None:
        self.address = address
        self.policy = RetryPolicy(timeout_s=timeout_s)
        channel = open_channel(address, calls_only=True)
        self._channel = MultiplexedChannel(channel) if multiplexed else channel
        self._artifact_channel = open_channel(address)
        safe = SafeChannel(self._channel, policy=self.policy)
        self._lifecycle: lifecycle_pb2_grpc.LifecycleServiceAsyncStub = lifecycle_pb2_grpc.LifecycleServiceStub(safe)
        self._operations: operation_pb2_grpc.OperationServiceAsyncStub = operation_pb2_grpc.OperationServiceStub(safe)
        self._mesh: mesh_pb2_grpc.MeshServiceAsyncStub = mesh_pb2_grpc.MeshServiceStub(safe)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Gives up the calls that have not ended, and closes the connections: calls are CANCELLED. Safe to repeat."""
        await self._channel.close()
        await self._artifact_channel.close()

    @property
    def channel(self) -> grpc.aio.Channel:
        """The channel to the host: plain, for generated stubs without any of the SDK's doing."""
        return self._channel

    @property
    def artifacts(self) -> RemoteArtifactStore:
        """The artifact store of the host, on a connection of its own so that large bytes keep no call waiting."""
        return RemoteArtifactStore(self._artifact_channel, timeout_s=self.policy.timeout_s)

    @property
    def dead_letters(self) -> DeadLetters:
        """The posts that failed three times, of any paglet."""
        return DeadLetters(self._operations)

    @property
    def services(self) -> Services:
        """The services that the paglets of the mesh answer: to be found, and to be made known."""
        return Services(self, self._mesh)

    async def reach(self) -> HostRef:
        """Describes the host, asked once and not again: raises TRANSPORT at once when no host is there."""
        stub: mesh_pb2_grpc.MeshServiceAsyncStub = mesh_pb2_grpc.MeshServiceStub(self._channel)
        with errors_of_calls():
            reply = await stub.GetHost(mesh_pb2.GetHostRequest(), timeout=bounded_timeout(self.policy.timeout_s))
        return host_from_message(reply.host)

    async def host(self, name: str = "") -> HostRef:
        """Describes a host of the mesh, without a name the one that is asked. Raises HOST_NOT_FOUND."""
        reply = await self._mesh.GetHost(mesh_pb2.GetHostRequest(name=name))
        return host_from_message(reply.host)

    async def hosts(self) -> Sequence[HostRef]:
        """All hosts of the mesh, in the order of their names."""
        found: list[HostRef] = []
        request = mesh_pb2.ListHostsRequest()
        while True:
            reply = await self._mesh.ListHosts(request)
            found.extend(map(host_from_message, reply.hosts))
            if not reply.next_page_token:
                return found
            request.page_token = reply.next_page_token

    def watch_hosts(self) -> AsyncGenerator[HostNotice, None]:
        """The hosts of the mesh, then each that joins, leaves, is lost or changes; it outlives broken connections.

        After each of those all hosts are told anew, as PRESENT. It ends when it is closed.
        """
        return watch_hosts(mesh_pb2_grpc.MeshServiceStub(self._channel))

    def proxy(self, paglet: str | PagletProxyRef | PagletInfo) -> PagletProxy:
        """A handle to a paglet, from its id or a reference to it. Nothing is asked: the paglet need not be there.

        Raises INVALID_ID for what is no id.
        """
        return PagletProxy(check_id(paglet if isinstance(paglet, str) else paglet.paglet_id, "paglet_id"), self)

    async def create(
        self,
        type: builtins.type[Paglet[Any]] | str,
        *,
        state: Dataclass | str = "",
        paglet_id: str = "",
        request_id: str = "",
    ) -> PagletProxy:
        """Creates a paglet on the host that is asked; the reply comes when it is durable and takes calls.

        `type` is a Paglet class or `module.Class`; `state` a dataclass or JSON text, empty for the defaults. Repeat it
        with the same `request_id` and there is one paglet. Raises STATE_INVALID, PAGLET_EXISTS, TYPE_NOT_ALLOWED,
        HOOK_FAILED, QUIESCE_TIMEOUT for an `on_creation` that does not end, INVALID_ID.
        """
        request = lifecycle_pb2.CreatePagletRequest(
            request_id=request_id or next_request_id(),
            type=type if isinstance(type, str) else type.type_name(),
            paglet_id=paglet_id,
            state_json=state if isinstance(state, str) else _to_json(state),
        )
        reply = await self._lifecycle.CreatePaglet(request)
        return self.proxy(reply.paglet.paglet_id)

    async def get(self, paglet_id: str) -> PagletInfo:
        """Describes a paglet, wherever it is, with its running journey. Raises PAGLET_NOT_FOUND."""
        reply = await self._lifecycle.GetPaglet(lifecycle_pb2.GetPagletRequest(paglet_id=paglet_id))
        return paglet_info_from_message(reply.paglet)

    async def list(self, *, host: str = "", type: str = "", page_size: int = 100) -> AsyncIterator[PagletInfo]:
        """All paglets of the mesh in the order of their ids; those on `host` and of `type` only, where given."""
        request = lifecycle_pb2.ListPagletsRequest(page_size=page_size, host=host, type=type)
        while True:
            reply = await self._lifecycle.ListPaglets(request)
            for paglet in reply.paglets:
                yield paglet_info_from_message(paglet)
            if not reply.next_page_token:
                return
            request.page_token = reply.next_page_token

    async def history(self, paglet_id: str) -> Sequence[PagletEvent]:
        """What became of a paglet and why, oldest first, as far as the mesh keeps it; also of one that is disposed of.

        Raises PAGLET_NOT_FOUND.
        """
        found: builtins.list[PagletEvent] = []
        request = lifecycle_pb2.GetPagletHistoryRequest(paglet_id=paglet_id, page_size=1000)
        while True:
            reply = await self._lifecycle.GetPagletHistory(request)
            found.extend(map(paglet_event_from_message, reply.events))
            if not reply.next_page_token:
                return found
            request.page_token = reply.next_page_token

    def watch(
        self, *, cursor: str = "", snapshot: bool = False, host: str = "", type: str = "", paglet_id: str = ""
    ) -> AsyncGenerator[PagletNotice, None]:
        """What becomes of the paglets of the mesh from `cursor` on, each event once and in order; now, without one.

        With `snapshot` the paglets that are there come first. Then comes a notice with nothing but a cursor, and such a
        one every few seconds too; each cursor is where another watch with the same arguments goes on, at any host. It
        outlives broken connections and restarts, and ends when it is closed. Raises CURSOR_EXPIRED when events that it
        needs are no longer kept: watch anew, with a snapshot.
        """
        wanted = lifecycle_pb2.WatchPagletsRequest(
            cursor=cursor, snapshot=snapshot, host=host, type=type, paglet_id=paglet_id
        )
        return watch_paglets(lifecycle_pb2_grpc.LifecycleServiceStub(self._channel), wanted)

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
        """Moves a paglet with its files to the host named `target`, however long it takes unless `timeout_s` is given.

        `ticket` is what the move asks for beside that; the deadline is the journey's, `timeout_s` its caller's.

        The reply comes when the arrival turn has ended; `progress` is told how far the journey is each
        `progress_period_s`. The journey goes on without its caller: repeat the call with the same `request_id` to join
        it. After any error but ARRIVAL_FAILED, DEADLINE_EXCEEDED and UNAVAILABLE the paglet is where it was.
        """
        request = lifecycle_pb2.DispatchPagletRequest(
            request_id=request_id or next_request_id(),
            paglet_id=paglet_id,
            target=target,
            ticket=None if ticket is None else ticket_to_message(ticket),
        )
        stub = self._mover(target)
        async with self._journey_told(paglet_id, progress, progress_period_s):
            reply = await stub.DispatchPaglet(request, timeout=timeout_s)
        return paglet_info_from_message(reply.paglet)

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
        """Brings a paglet with its files to the host that is asked, from wherever it is; all else is as of `dispatch`.

        Of a paglet that is there already it changes nothing.
        """
        request = lifecycle_pb2.RetractPagletRequest(
            request_id=request_id or next_request_id(),
            paglet_id=paglet_id,
            ticket=None if ticket is None else ticket_to_message(ticket),
        )
        stub = self._mover()
        async with self._journey_told(paglet_id, progress, progress_period_s):
            reply = await stub.RetractPaglet(request, timeout=timeout_s)
        return paglet_info_from_message(reply.paglet)

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
        """Makes a clone of a paglet, with copies of its files, on the host named `target`, or where the original is.

        `parameters`, of at most 64 KiB, are told to the clone's `on_clone`.

        Describes the clone, when its first turn has ended; `client.proxy` of that is a handle to it. There is one clone
        however often the call is repeated with the same `request_id`. After any error but ARRIVAL_FAILED,
        DEADLINE_EXCEEDED and UNAVAILABLE there is none.
        """
        request = lifecycle_pb2.ClonePagletRequest(
            request_id=request_id or next_request_id(),
            paglet_id=paglet_id,
            target=target,
            ticket=None if ticket is None else ticket_to_message(ticket),
        )
        if parameters is not None:
            request.parameters.Pack(parameters)
        reply = await self._mover(target).ClonePaglet(request, timeout=timeout_s)
        return paglet_info_from_message(reply.paglet)

    def _mover(self, target: str = "") -> lifecycle_pb2_grpc.LifecycleServiceAsyncStub:
        """For calls that move a paglet: they end when the target, or without one any host, cannot be reached."""
        channel = SafeChannel(self._channel, policy=_move_policy(self.policy, target))
        stub: lifecycle_pb2_grpc.LifecycleServiceAsyncStub = lifecycle_pb2_grpc.LifecycleServiceStub(channel)
        return stub

    @asynccontextmanager
    async def _journey_told(
        self, paglet_id: str, progress: Callable[[JourneyInfo], None] | None, period_s: float
    ) -> AsyncGenerator[None]:
        """Tells `progress`, if there is one, how the paglet's journey comes on while the block runs."""
        if progress is None:
            yield
            return
        async with journey_progress(lambda: self.get(paglet_id), progress, period_s):
            yield

    async def deactivate(
        self, paglet_id: str, policy: DeactivationPolicy | None = None, *, request_id: str = ""
    ) -> PagletInfo:
        """Lays a paglet down on its host's disk, where it takes no memory; safe to repeat with `request_id`.

        `policy` says what brings it back; without one the paglet does. Of a paglet that is inactive already it replaces
        the policy. Raises PAGLET_NOT_FOUND, ILLEGAL_TRANSITION, HOOK_FAILED, QUIESCE_TIMEOUT: it then goes on.
        """
        request = lifecycle_pb2.DeactivatePagletRequest(
            request_id=request_id or next_request_id(),
            paglet_id=paglet_id,
            policy=None if policy is None else policy_to_message(policy),
        )
        return paglet_info_from_message((await self._lifecycle.DeactivatePaglet(request)).paglet)

    async def activate(self, paglet_id: str) -> PagletInfo:
        """Brings an inactive paglet back, and tries one that is FAILED again; safe to repeat.

        Raises PAGLET_NOT_FOUND, HOOK_FAILED, STATE_UNREADABLE and what else keeps it from being read: it is as it was.
        """
        request = lifecycle_pb2.ActivatePagletRequest(paglet_id=paglet_id)
        return paglet_info_from_message((await self._lifecycle.ActivatePaglet(request)).paglet)

    async def state(self, paglet_id: str) -> str:
        """The durable state of a paglet, as the JSON that `create` takes; an inactive one stays inactive.

        Raises PAGLET_NOT_FOUND, and what keeps the state from being read.
        """
        request = lifecycle_pb2.GetPagletStateRequest(paglet_id=paglet_id)
        return (await self._lifecycle.GetPagletState(request)).state_json

    async def operations(self, paglet_id: str = "", *, type: str = "") -> Sequence[OperationInfo]:
        """What a paglet answers, in the order of the names; or what a type of the host that is asked does.

        An inactive paglet stays so. Raises PAGLET_NOT_FOUND, TYPE_NOT_ALLOWED, STATE_UNREADABLE.
        """
        found: builtins.list[OperationInfo] = []
        request = operation_pb2.ListOperationsRequest(page_size=1000)
        if type:
            request.type = type
        else:
            request.paglet_id = paglet_id
        while True:
            reply = await self._operations.ListOperations(request)
            found.extend(map(operation_from_message, reply.operations))
            if not reply.next_page_token:
                return found
            request.page_token = reply.next_page_token

    async def post(self, paglet_id: str, operation: str, request: Message, *, request_id: str = "") -> str:
        """Leaves an operation, `pkg.Service/Method`, with a paglet, and does not wait for it; returns the post's id.

        It is durable on return, and then run once, wherever the paglet is by then, after this caller's posts before it.
        Repeat it with the same `request_id` and there is one post. Raises PAGLET_NOT_FOUND, OPERATION_NOT_FOUND,
        POSTS_FULL, PAGLET_INACTIVE, REQUEST_ID_REUSED, MALFORMED_REQUEST for a request of another type, or over 1 MiB.
        """
        wanted = operation_pb2.PostOperationRequest(
            request_id=request_id or next_request_id(), paglet_id=paglet_id, operation=operation
        )
        wanted.request.Pack(request)
        return (await self._operations.PostOperation(wanted)).post_id

    async def dispose(self, paglet_id: str, *, request_id: str = "", timeout_s: float = math.inf) -> None:
        """Ends a paglet for good, whatever its state and whatever hangs; safe to repeat with `request_id`.

        What hangs has the quiesce time of its host, 30 s unless it was told otherwise, and is cut then: this waits so
        long, unless `timeout_s` is given, after which the disposal goes on. A journey that does not come to its commit
        by then ends by JOURNEY_ABORTED. Raises PAGLET_NOT_FOUND.
        """
        request = lifecycle_pb2.DisposePagletRequest(request_id=request_id or next_request_id(), paglet_id=paglet_id)
        await self._lifecycle.DisposePaglet(request, timeout=timeout_s)


def _to_json(state: Dataclass) -> str:
    try:
        return json_text(state)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidArgumentError("STATE_INVALID", f"the state is no JSON: {error}", field="state_json") from error


def _move_policy(policy: RetryPolicy, target: str) -> RetryPolicy:
    """The same, but without patience for a target that is away: that journey was given up for good."""

    def is_passing(failure: UnavailableError) -> bool:
        return not (failure.reason == "HOST_UNREACHABLE" and target in {"", failure.metadata.get("host")})

    return replace(policy, is_passing=is_passing)
