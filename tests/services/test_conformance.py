"""Everything that the house's own paglets answer is the same by both doors, and the same as their protos say."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import TypeAlias

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from paglet.examples.counter.v1 import counter_pb2
from paglet.examples.file_grabber.v1.file_grabber_pb2 import GrabRequest
from paglet.v1 import event_pb2, fanout_pb2, file_transfer_pb2, mesh_info_pb2, notify_pb2, server_info_pb2, task_pb2
from paglet.v1 import operation_pb2 as pb
from paglets.client.client import Client
from paglets.operations import ServiceContract, snake_case
from paglets.testing import local_host
from tests.services.generic import door
from tests.services.house import MODULES, Offer, offers, services, types

NOWHERE = "127.0.0.1:1"
REPORT = "report.txt"
UNARY = [offer for offer in offers() if offer.handler.operation.is_unary]
Route: TypeAlias = tuple[bool, bool, bool]
ROUTES: list[Route] = [*product((False, True), (False, True), (False, True))]
"""By the generic door or the native one; by way of another host or not; in a stream of calls or by its own rpc."""


def packed(message: Message) -> AnyMessage:
    """A message in an envelope."""
    found = AnyMessage()
    found.Pack(message)
    return found


DRY_RUN = file_transfer_pb2.FileTransferRequest(source_path=REPORT, target_host="beta", dry_run=True)
REPORTED = fanout_pb2.FanoutServiceReportRequest(host="alpha", done=True)
LIVE: Mapping[str, Message] = {
    "ServerInfo GetLoad": server_info_pb2.GetLoadRequest(),
    "ServerInfo ListProcesses": server_info_pb2.ListProcessesRequest(limit=1),
    "ServerInfo GetSummary": server_info_pb2.GetSummaryRequest(),
    "MeshInfo GetLandscape": mesh_info_pb2.GetLandscapeRequest(),
    "MeshInfo RankHosts": mesh_info_pb2.RankHostsRequest(),
}
"""What is measured is another number each time."""

SAMPLES: Mapping[str, Message] = {
    "Counter Add": counter_pb2.AddRequest(amount=-2),
    "Counter Get": counter_pb2.GetRequest(),
    "SingleFileTransferPaglet Start": task_pb2.TaskServiceStartRequest(request=packed(DRY_RUN)),
    "SingleFileTransferPaglet Get": task_pb2.TaskServiceGetRequest(),
    "SingleFileTransferPaglet Wait": task_pb2.TaskServiceWaitRequest(timeout=Duration()),
    **dict.fromkeys(("SingleFileTransferPaglet Cancel", "FileGrabber Cancel"), task_pb2.TaskServiceCancelRequest()),
    "FileGrabber Start": task_pb2.TaskServiceStartRequest(request=packed(GrabRequest(source_path=REPORT))),
    "FileGrabber Get": task_pb2.TaskServiceGetRequest(),
    "FileGrabber Wait": task_pb2.TaskServiceWaitRequest(timeout=Duration()),
    "UserInfo Notify": notify_pb2.NotifyRequest(note=notify_pb2.Note(message="read me")),
    "ServerInfo ListDisks": server_info_pb2.ListDisksRequest(paths=["/nowhere"]),
    "Speaker Drain": event_pb2.EventServiceDrainRequest(limit=1),
    **LIVE,
    **dict.fromkeys(("MeshSearch Report", "Performance Report", "Pi Report"), REPORTED),
}
"""A request for each unary operation; a new one needs a line here."""


@dataclass(frozen=True)
class Pair:
    """Clients of two joined hosts, and those whose calls share a stream; paglets are on the first."""

    alpha: Client
    beta: Client
    alpha_multiplexed: Client
    beta_multiplexed: Client

    async def call(self, paglet_id: str, offer: Offer, request_id: str, route: Route) -> tuple[bytes, bool]:
        """The bytes of the reply, and whether they were given before."""
        generic, forwarded, carried = route
        plain = self.beta if forwarded else self.alpha
        multiplexed = self.beta_multiplexed if forwarded else self.alpha_multiplexed
        channel, operation = (multiplexed if carried else plain).channel, offer.handler.operation
        request = SAMPLES[offer.name]
        if generic:
            by_name = door(channel).InvokeOperation(
                pb.InvokeOperationRequest(
                    request_id=request_id, paglet_id=paglet_id, operation=operation.full_name, request=packed(request)
                ),
                timeout=20,
            )
            reply = (await by_name).reply
            assert reply.TypeName() == operation.info.reply_type
            data, trailing = reply.value, await by_name.trailing_metadata()
        else:
            metadata = [("paglet-id", paglet_id), ("paglet-request-id", request_id)]
            rpc: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(operation.path)
            by_stub = rpc(request.SerializeToString(), metadata=metadata, timeout=20)
            data, trailing = await by_stub, await by_stub.trailing_metadata()
        assert dict(trailing)["paglet-host"] == "alpha"
        return data, ("paglet-replayed", "true") in tuple(trailing)


@pytest.fixture(scope="module")
async def pair(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pair]:
    """Two hosts that have all types, with a file to transfer."""
    root: Path = tmp_path_factory.mktemp("files")
    (root / REPORT).write_text("as of today")
    async with AsyncExitStack() as stack:
        alpha = await stack.enter_async_context(local_host("alpha", allow=MODULES, file_roots=[root]))
        beta = await stack.enter_async_context(local_host("beta", allow=MODULES, join=alpha.address))
        clients = [
            await stack.enter_async_context(Client(host.address, multiplexed=carried))
            for carried in (False, True)
            for host in (alpha, beta)
        ]
        yield Pair(*clients)


def test_every_unary_operation_has_a_sample() -> None:
    """Whatever the house offers is called below; samples of what is gone are not kept."""
    assert sorted(SAMPLES) == sorted(offer.name for offer in UNARY)


def test_every_pattern_is_hosted() -> None:
    """Each service that a pattern brings is answered by some type, or nobody would call it below."""
    hosted = {offer.service for offer in offers()}
    assert set(services()) == hosted


@pytest.mark.parametrize("first", ROUTES, ids=str)
@pytest.mark.parametrize("offer", UNARY, ids=lambda offer: offer.name)
async def test_both_doors_give_the_same_bytes(pair: Pair, offer: Offer, first: Route) -> None:
    """Whichever way a request comes first, all ways give one answer; unless it only reads, it is run once."""
    paglet_id = (await pair.alpha.create(offer.paglet_type)).paglet_id
    replies = [await pair.call(paglet_id, offer, "r-1", first)]
    replies += [await pair.call(paglet_id, offer, "r-1", route) for route in ROUTES if route != first]
    assert len({data for data, _ in replies}) == 1 or offer.name in LIVE
    for data, _ in replies:
        assert offer.handler.operation.reply_class.FromString(data).SerializeToString() == data
    runs = len(ROUTES) if offer.handler.operation.is_read_only else 1
    assert [replayed for _, replayed in replies] == [False] * runs + [True] * (len(ROUTES) - runs)


@pytest.mark.parametrize("service", services().values(), ids=lambda service: service.full_name)
async def test_operations_are_rpcs_are_stub_attributes_are_handlers(service: ServiceDescriptor) -> None:
    """What the proto says, what a caller's stub has and what a paglet answers are one list, kept in one place."""
    rpcs = [method.name for method in service.methods]
    assert [operation.descriptor.name for operation in ServiceContract(service).operations] == rpcs
    stubs = import_module(service.file.name.removesuffix(".proto").replace("/", ".") + "_pb2_grpc")
    async with grpc.aio.insecure_channel(NOWHERE) as channel:
        stub: object = getattr(stubs, f"{service.name}Stub")(channel)
    assert list(vars(stub)) == rpcs
    for paglet_type in types():
        paths = [path for path in paglet_type.handlers if path.startswith(f"/{service.full_name}/")]
        if not paths:
            continue
        assert paths == [f"/{service.full_name}/{rpc}" for rpc in rpcs]
        for rpc, path in zip(rpcs, paths, strict=True):
            handler = paglet_type.handlers[path]
            owner = paglet_type if handler.pattern is None else paglet_type.Patterns[handler.pattern]
            assert handler.attribute == snake_case(rpc)
            assert callable(getattr(owner, handler.attribute))


@pytest.mark.parametrize("paglet_type", types(), ids=lambda found: found.__name__)
async def test_tick_5_hosts_tell_what_is_answered(pair: Pair, paglet_type: type) -> None:
    """ListOperations of a paglet, by way of another host, has the operations of its class and no others."""
    wanted = sorted(offer.handler.operation.full_name for offer in offers() if offer.paglet_type is paglet_type)
    proxy = await pair.alpha.create(f"{paglet_type.__module__}.{paglet_type.__qualname__}")
    assert [info.name for info in await pair.beta.operations(proxy.paglet_id)] == wanted
