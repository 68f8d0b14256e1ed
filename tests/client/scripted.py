# ruff: noqa: N802 - a servicer's methods are named by the protos
"""A server that answers as it is told to, and remembers what it was asked: a stand-in that can fail on demand.

The tests against real hosts are elsewhere; a real host cannot be made to refuse a call three times and then answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message

from paglet.examples.counter.v1 import counter_pb2, counter_pb2_grpc
from paglet.v1 import (
    artifact_pb2,
    call_pb2_grpc,
    lifecycle_pb2,
    lifecycle_pb2_grpc,
    mesh_pb2,
    mesh_pb2_grpc,
    operation_pb2,
    types_pb2,
)
from paglets.errors import PagletError
from paglets.services.carrying import CallServicer, Find, Unary
from paglets.services.guard import GuardedServices, Handler, ServerContext
from paglets.wire.channel_options import SERVER_OPTIONS

PATIENCE_S = 15.0

MessageT = TypeVar("MessageT", bound=Message)


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it came in."""

    method: str
    request: Message
    metadata: dict[str, str | bytes]
    deadline_s: float | None


@dataclass
class Script:
    """What the server answers: the next of `failures` as long as there are some, then a reply."""

    failures: list[PagletError] = field(default_factory=list[PagletError])
    asked: list[Asked] = field(default_factory=list[Asked])
    journeys: list[lifecycle_pb2.Journey] = field(default_factory=list[lifecycle_pb2.Journey])
    paglets: list[lifecycle_pb2.Paglet] = field(default_factory=list[lifecycle_pb2.Paglet])
    hosts: list[mesh_pb2.Host] = field(default_factory=list[mesh_pb2.Host])
    reply: AnyMessage = field(default_factory=AnyMessage)
    held: asyncio.Event | None = None
    entered: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    journey_seen: asyncio.Event = field(default_factory=asyncio.Event)

    async def note(self, method: str, request: Message, context: ServerContext) -> None:
        """Remembers a request, then fails if it is to, or waits if it is to."""
        metadata = dict(context.invocation_metadata() or ())
        remaining: float | None = context.time_remaining()
        self.asked.append(Asked(method, request, metadata, remaining))
        if self.failures:
            raise self.failures.pop(0)
        if self.held is not None:
            self.entered.set()
            try:
                await self.held.wait()
            finally:
                self.left.set()

    def of(self, method: str, request_class: type[MessageT]) -> list[MessageT]:
        """The requests of one rpc, in order."""
        return [
            asked.request for asked in self.asked if asked.method == method and isinstance(asked.request, request_class)
        ]

    def request_ids(self) -> list[object]:
        """The request ids in the metadata, in order."""
        return [asked.metadata.get("paglet-request-id") for asked in self.asked]


class _Counter(counter_pb2_grpc.CounterServiceServicer):
    def __init__(self, script: Script) -> None:
        self._script = script

    async def Add(self, request: counter_pb2.AddRequest, context: ServerContext) -> counter_pb2.AddResponse:
        await self._script.note("Add", request, context)
        context.set_trailing_metadata((("paglet-host", "alpha"),))
        return counter_pb2.AddResponse(value=request.amount + 1)

    async def Get(self, request: counter_pb2.GetRequest, context: ServerContext) -> counter_pb2.GetResponse:
        await self._script.note("Get", request, context)
        return counter_pb2.GetResponse(value=1)


class _Mesh(mesh_pb2_grpc.MeshServiceServicer):
    def __init__(self, script: Script) -> None:
        self._script = script

    async def GetHost(self, request: mesh_pb2.GetHostRequest, context: ServerContext) -> mesh_pb2.GetHostResponse:
        await self._script.note("GetHost", request, context)
        return mesh_pb2.GetHostResponse(host=mesh_pb2.Host(name=request.name or "alpha", online=True))

    async def ListHosts(self, request: mesh_pb2.ListHostsRequest, context: ServerContext) -> mesh_pb2.ListHostsResponse:
        await self._script.note("ListHosts", request, context)
        first = int(request.page_token or 0)
        rest = self._script.hosts[first + 1 :]
        return mesh_pb2.ListHostsResponse(
            hosts=self._script.hosts[first : first + 1], next_page_token=str(first + 1) if rest else ""
        )

    async def WatchHosts(
        self, request: mesh_pb2.WatchHostsRequest, context: ServerContext
    ) -> AsyncIterator[mesh_pb2.WatchHostsResponse]:
        await self._script.note("WatchHosts", request, context)
        yield mesh_pb2.WatchHostsResponse(host=mesh_pb2.Host(name="alpha", online=True))

    async def AdvertiseService(
        self, request: mesh_pb2.AdvertiseServiceRequest, context: ServerContext
    ) -> mesh_pb2.AdvertiseServiceResponse:
        await self._script.note("AdvertiseService", request, context)
        return mesh_pb2.AdvertiseServiceResponse()

    async def WithdrawService(
        self, request: mesh_pb2.WithdrawServiceRequest, context: ServerContext
    ) -> mesh_pb2.WithdrawServiceResponse:
        await self._script.note("WithdrawService", request, context)
        return mesh_pb2.WithdrawServiceResponse()

    async def LookupService(
        self, request: mesh_pb2.LookupServiceRequest, context: ServerContext
    ) -> mesh_pb2.LookupServiceResponse:
        await self._script.note("LookupService", request, context)
        return mesh_pb2.LookupServiceResponse()

    async def AcquireLease(
        self, request: mesh_pb2.AcquireLeaseRequest, context: ServerContext
    ) -> mesh_pb2.AcquireLeaseResponse:
        await self._script.note("AcquireLease", request, context)
        return mesh_pb2.AcquireLeaseResponse(host="alpha")

    async def ReleaseLease(
        self, request: mesh_pb2.ReleaseLeaseRequest, context: ServerContext
    ) -> mesh_pb2.ReleaseLeaseResponse:
        await self._script.note("ReleaseLease", request, context)
        return mesh_pb2.ReleaseLeaseResponse()

    async def WatchServices(
        self, request: mesh_pb2.WatchServicesRequest, context: ServerContext
    ) -> AsyncIterator[mesh_pb2.WatchServicesResponse]:
        await self._script.note("WatchServices", request, context)
        yield mesh_pb2.WatchServicesResponse()


class _Lifecycle(lifecycle_pb2_grpc.LifecycleServiceServicer):
    def __init__(self, script: Script) -> None:
        self._script = script

    async def CreatePaglet(
        self, request: lifecycle_pb2.CreatePagletRequest, context: ServerContext
    ) -> lifecycle_pb2.CreatePagletResponse:
        await self._script.note("CreatePaglet", request, context)
        return lifecycle_pb2.CreatePagletResponse(paglet=paglet(request.paglet_id or "p-1", type=request.type))

    async def GetPaglet(
        self, request: lifecycle_pb2.GetPagletRequest, context: ServerContext
    ) -> lifecycle_pb2.GetPagletResponse:
        found = paglet(request.paglet_id)
        if self._script.journeys:
            found.journey.CopyFrom(self._script.journeys.pop(0))
        elif self._script.entered.is_set():
            self._script.journey_seen.set()
        return lifecycle_pb2.GetPagletResponse(paglet=found)

    async def ListPaglets(
        self, request: lifecycle_pb2.ListPagletsRequest, context: ServerContext
    ) -> lifecycle_pb2.ListPagletsResponse:
        await self._script.note("ListPaglets", request, context)
        first, size = int(request.page_token or 0), request.page_size
        rest = self._script.paglets[first + size :]
        return lifecycle_pb2.ListPagletsResponse(
            paglets=self._script.paglets[first : first + size], next_page_token=str(first + size) if rest else ""
        )

    async def DispatchPaglet(
        self, request: lifecycle_pb2.DispatchPagletRequest, context: ServerContext
    ) -> lifecycle_pb2.DispatchPagletResponse:
        await self._script.note("DispatchPaglet", request, context)
        return lifecycle_pb2.DispatchPagletResponse(paglet=paglet(request.paglet_id, host=request.target))

    async def DeactivatePaglet(
        self, request: lifecycle_pb2.DeactivatePagletRequest, context: ServerContext
    ) -> lifecycle_pb2.DeactivatePagletResponse:
        await self._script.note("DeactivatePaglet", request, context)
        return lifecycle_pb2.DeactivatePagletResponse(paglet=paglet(request.paglet_id))

    async def ActivatePaglet(
        self, request: lifecycle_pb2.ActivatePagletRequest, context: ServerContext
    ) -> lifecycle_pb2.ActivatePagletResponse:
        await self._script.note("ActivatePaglet", request, context)
        return lifecycle_pb2.ActivatePagletResponse(paglet=paglet(request.paglet_id))

    async def GetPagletState(
        self, request: lifecycle_pb2.GetPagletStateRequest, context: ServerContext
    ) -> lifecycle_pb2.GetPagletStateResponse:
        await self._script.note("GetPagletState", request, context)
        return lifecycle_pb2.GetPagletStateResponse(state_json="{}", state_version=1, epoch=3)

    async def GetPagletHistory(
        self, request: lifecycle_pb2.GetPagletHistoryRequest, context: ServerContext
    ) -> lifecycle_pb2.GetPagletHistoryResponse:
        await self._script.note("GetPagletHistory", request, context)
        return lifecycle_pb2.GetPagletHistoryResponse()

    async def WatchPaglets(
        self, request: lifecycle_pb2.WatchPagletsRequest, context: ServerContext
    ) -> AsyncIterator[lifecycle_pb2.WatchPagletsResponse]:
        await self._script.note("WatchPaglets", request, context)
        yield lifecycle_pb2.WatchPagletsResponse(cursor="c")

    async def RetractPaglet(
        self, request: lifecycle_pb2.RetractPagletRequest, context: ServerContext
    ) -> lifecycle_pb2.RetractPagletResponse:
        await self._script.note("RetractPaglet", request, context)
        return lifecycle_pb2.RetractPagletResponse(paglet=paglet(request.paglet_id))

    async def ClonePaglet(
        self, request: lifecycle_pb2.ClonePagletRequest, context: ServerContext
    ) -> lifecycle_pb2.ClonePagletResponse:
        await self._script.note("ClonePaglet", request, context)
        return lifecycle_pb2.ClonePagletResponse(paglet=paglet("clone"))

    async def DisposePaglet(
        self, request: lifecycle_pb2.DisposePagletRequest, context: ServerContext
    ) -> lifecycle_pb2.DisposePagletResponse:
        await self._script.note("DisposePaglet", request, context)
        return lifecycle_pb2.DisposePagletResponse()


def _invoker(script: Script) -> Handler:
    """The generic door."""

    async def invoke(
        request: operation_pb2.InvokeOperationRequest, context: ServerContext
    ) -> operation_pb2.InvokeOperationResponse:
        await script.note("InvokeOperation", request, context)
        return operation_pb2.InvokeOperationResponse(reply=script.reply)

    behavior: Any = invoke  # the stubs type a handler's behaviour for threads
    return grpc.unary_unary_rpc_method_handler(
        behavior,
        request_deserializer=operation_pb2.InvokeOperationRequest.FromString,
        response_serializer=operation_pb2.InvokeOperationResponse.SerializeToString,
    )


def _reader(script: Script) -> Handler:
    """A streaming rpc."""

    async def read(
        request: artifact_pb2.ReadArtifactRequest, context: ServerContext
    ) -> AsyncIterator[artifact_pb2.ReadArtifactResponse]:
        await script.note("ReadArtifact", request, context)
        yield artifact_pb2.ReadArtifactResponse(chunk=artifact_pb2.ReadChunk(data=b"abc"))

    behavior: Any = read  # the stubs type a handler's behaviour for threads
    return grpc.unary_stream_rpc_method_handler(
        behavior,
        request_deserializer=artifact_pb2.ReadArtifactRequest.FromString,
        response_serializer=artifact_pb2.ReadArtifactResponse.SerializeToString,
    )


def _finder(services: GuardedServices) -> Find:
    """Calls that come in a stream are answered as those that do not."""

    def find(path: str, _context: ServerContext) -> Unary:
        found = services.unary(path)
        assert found is not None, path
        return found

    return find


def paglet(paglet_id: str, *, host: str = "alpha", type: str = "shop.Cart") -> lifecycle_pb2.Paglet:
    """An active paglet."""
    return lifecycle_pb2.Paglet(
        paglet_id=paglet_id, type=type, host=host, state=types_pb2.PAGLET_STATE_ACTIVE, epoch=3, services=["shop.V1"]
    )


@asynccontextmanager
async def serving(script: Script, port: int = 0) -> AsyncGenerator[str]:
    """Serves the script on loopback; yields the address."""
    services = GuardedServices()
    adders: list[tuple[Any, Any]] = [
        (counter_pb2_grpc.add_CounterServiceServicer_to_server, _Counter(script)),
        (mesh_pb2_grpc.add_MeshServiceServicer_to_server, _Mesh(script)),
        (lifecycle_pb2_grpc.add_LifecycleServiceServicer_to_server, _Lifecycle(script)),
    ]
    for adder, servicer in adders:
        services.add(adder, servicer)
    services.add_registered_method_handlers("paglet.v1.OperationService", {"InvokeOperation": _invoker(script)})
    services.add_registered_method_handlers("paglet.v1.ArtifactService", {"ReadArtifact": _reader(script)})
    carrying = CallServicer(_finder(services), max_calls=100, max_calls_of_stream=100)
    services.add(call_pb2_grpc.add_CallServiceServicer_to_server, carrying)
    server = grpc.aio.server(options=SERVER_OPTIONS, handlers=(services,))
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield f"127.0.0.1:{bound}"
    finally:
        await server.stop(None)
