"""LifecycleService: create, find, move, lay down, bring back and dispose of paglets, on whichever host they are."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import TypeAlias

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message

from paglet.v1 import lifecycle_pb2 as pb
from paglet.v1 import lifecycle_pb2_grpc, types_pb2
from paglets.directory.contract import PagletRow
from paglets.errors import InvalidArgumentError, PagletError
from paglets.host.births import CreateRequest
from paglets.host.clones import CloneRequest
from paglets.host.departure import MoveRequest
from paglets.host.disposal import Disposal
from paglets.host.gate import call_cycle, not_found
from paglets.host.host import Host
from paglets.host.registry import services_of
from paglets.host.replies import fingerprint_of
from paglets.host.rest import RestRequest
from paglets.services.call_meta import CallMeta, check_request_id, remaining_s
from paglets.services.guard import ServerContext
from paglets.services.paging import page_number, page_size, page_start, page_token
from paglets.services.paglet_watch import PagletWatch, paglet_event
from paglets.services.routing import Router
from paglets.services.watching import Watches
from paglets.values import PagletInfo, PagletState, check_id
from paglets.wire.lifecycle import paglet_info_to_message
from paglets.wire.paglet_events import paglet_event_to_message, paglet_notice_to_message
from paglets.wire.policy import policy_from_message
from paglets.wire.ticket import ticket_from_message

__all__ = ["LifecycleServicer"]

_GET = "/paglet.v1.LifecycleService/GetPaglet"
_DISPATCH = "/paglet.v1.LifecycleService/DispatchPaglet"
_CLONE = "/paglet.v1.LifecycleService/ClonePaglet"
_RETRACT = "/paglet.v1.LifecycleService/RetractPaglet"
_DEACTIVATE = "/paglet.v1.LifecycleService/DeactivatePaglet"
_ACTIVATE = "/paglet.v1.LifecycleService/ActivatePaglet"
_STATE = "/paglet.v1.LifecycleService/GetPagletState"
_DISPOSE = "/paglet.v1.LifecycleService/DisposePaglet"
_OWNER_S = 2.0
_KNOWN_TO_OWNER = frozenset({PagletState.ACTIVE, PagletState.DEPARTING})
_MAX_STATE_JSON = 1024 * 1024
_REPLY_MARGIN_S = 0.25
_NO_DEADLINE_S = 7 * 24 * 3600.0
_MAX_PARAMETERS = 64 * 1024

_Request: TypeAlias = (
    pb.DispatchPagletRequest
    | pb.RetractPagletRequest
    | pb.ClonePagletRequest
    | pb.DeactivatePagletRequest
    | pb.DisposePagletRequest
)


class LifecycleServicer(lifecycle_pb2_grpc.LifecycleServiceServicer):
    """Answers for one host; put it behind the guard."""

    def __init__(self, host: Host, router: Router, watches: Watches) -> None:
        self._host = host
        self._router = router
        self._watches = watches

    async def CreatePaglet(self, request: pb.CreatePagletRequest, context: ServerContext) -> pb.CreatePagletResponse:
        """Makes a paglet on this host."""
        if not request.type:
            raise InvalidArgumentError("MALFORMED_REQUEST", "type is required, as module.Class", field="type")
        if len(request.state_json.encode()) > _MAX_STATE_JSON:
            raise InvalidArgumentError("STATE_INVALID", "state_json may have 1 MiB", field="state_json")
        check_request_id(request.request_id, "request_id")
        await self._host.wait_ready(self._timeout(context))
        row = await self._host.create(
            CreateRequest(
                type=request.type,
                paglet_id=request.paglet_id,
                state_json=request.state_json,
                request_id=request.request_id,
            )
        )
        return pb.CreatePagletResponse(paglet=await self._describe(row))

    async def GetPaglet(self, request: pb.GetPagletRequest, context: ServerContext) -> pb.GetPagletResponse:
        """Describes a paglet; one of another host as that host sees it, unless that is away."""
        meta = self._router.meta(context, check_id(request.paglet_id, "paglet_id"))
        row = await self._host.row(meta.paglet_id)
        described = pb.GetPagletResponse(paglet=await self._describe(row))
        if row.state not in _KNOWN_TO_OWNER or row.owner == self._host.name or meta.hops:
            return described
        try:
            forwarder = await self._host.parts.peers.forwarder(row.owner)
            timeout_s = min(meta.timeout_s / 2, _OWNER_S)
            reply, _, _ = await forwarder.unary(_GET, request.SerializeToString(), meta.onward(), timeout_s)
        except (grpc.aio.AioRpcError, PagletError):  # its host does not answer: this is what the directory knows
            self._host.parts.peers.distrust(row.owner)
            return described
        return pb.GetPagletResponse.FromString(reply)

    async def ListPaglets(self, request: pb.ListPagletsRequest, context: ServerContext) -> pb.ListPagletsResponse:
        """Describes one page of the mesh's paglets."""
        size = page_size(request.page_size)
        after = page_start(request.page_token)
        rows = await self._host.parts.directory.list(
            after=after, limit=min(size + 1, 1000), owner=request.host, type_name=request.type
        )
        page = rows[:size]
        last = len(rows) < min(size + 1, 1000)
        return pb.ListPagletsResponse(
            paglets=[await self._describe(row) for row in page],
            next_page_token="" if last or not page else page_token(page[-1].paglet_id),
        )

    async def DispatchPaglet(
        self, request: pb.DispatchPagletRequest, context: ServerContext
    ) -> pb.DispatchPagletResponse:
        """Moves a paglet, from whichever host it is on. Without a deadline it waits for the journey's end."""
        meta = self._asked(request, context, default_timeout_s=_NO_DEADLINE_S)
        move = MoveRequest(
            check_id(request.target, "target"),
            request_id=request.request_id,
            fingerprint=_fingerprint(request),
            ticket=ticket_from_message(request.ticket, "ticket"),
        )

        async def here() -> bytes | None:
            row = await self._host.requests.dispatch(meta.paglet_id, move, max(0.0, meta.timeout_s - _REPLY_MARGIN_S))
            if row is None:
                return None
            return pb.DispatchPagletResponse(paglet=await self._describe(row)).SerializeToString()

        reply = await self._router.unary(context, meta, _DISPATCH, request.SerializeToString(), here)
        return pb.DispatchPagletResponse.FromString(reply)

    async def RetractPaglet(self, request: pb.RetractPagletRequest, context: ServerContext) -> pb.RetractPagletResponse:
        """Brings a paglet here, by asking the host that it is on."""
        meta = self._asked(request, context, default_timeout_s=_NO_DEADLINE_S)
        request.target = check_id(request.target or self._host.name, "target")
        move = MoveRequest(
            request.target,
            request_id=request.request_id,
            fingerprint=_fingerprint(request),
            ticket=ticket_from_message(request.ticket, "ticket"),
            retracted=True,
        )

        async def here() -> bytes | None:
            row = await self._host.requests.retract(meta.paglet_id, move, max(0.0, meta.timeout_s - _REPLY_MARGIN_S))
            if row is None:
                return None
            return pb.RetractPagletResponse(paglet=await self._describe(row)).SerializeToString()

        reply = await self._router.unary(context, meta, _RETRACT, request.SerializeToString(), here)
        return pb.RetractPagletResponse.FromString(reply)

    async def ClonePaglet(self, request: pb.ClonePagletRequest, context: ServerContext) -> pb.ClonePagletResponse:
        """Makes a clone of a paglet, from whichever host that is on. Without a deadline it waits for the end."""
        meta = self._asked(request, context, default_timeout_s=_NO_DEADLINE_S)
        clone = CloneRequest(
            request.target and check_id(request.target, "target"),
            request_id=request.request_id,
            fingerprint=_fingerprint(request),
            ticket=ticket_from_message(request.ticket, "ticket"),
            parameters=_parameters(request),
        )

        async def here() -> bytes | None:
            row = await self._host.requests.clone(meta.paglet_id, clone, max(0.0, meta.timeout_s - _REPLY_MARGIN_S))
            if row is None:
                return None
            return pb.ClonePagletResponse(paglet=await self._describe(row)).SerializeToString()

        reply = await self._router.unary(context, meta, _CLONE, request.SerializeToString(), here)
        return pb.ClonePagletResponse.FromString(reply)

    async def DeactivatePaglet(
        self, request: pb.DeactivatePagletRequest, context: ServerContext
    ) -> pb.DeactivatePagletResponse:
        """Lays a paglet down, on whichever host it is; of one that rests already the policy is replaced."""
        meta = self._asked(request, context)
        policy = policy_from_message(request.policy, "policy") if request.HasField("policy") else None
        rest = RestRequest(policy, request_id=request.request_id, fingerprint=_fingerprint(request))

        async def here() -> bytes | None:
            row = await self._host.requests.deactivate(meta.paglet_id, rest)
            if row is None:
                return None
            return pb.DeactivatePagletResponse(paglet=await self._describe(row)).SerializeToString()

        reply = await self._router.unary(context, meta, _DEACTIVATE, request.SerializeToString(), here)
        return pb.DeactivatePagletResponse.FromString(reply)

    async def ActivatePaglet(
        self, request: pb.ActivatePagletRequest, context: ServerContext
    ) -> pb.ActivatePagletResponse:
        """Brings a paglet back, on whichever host it is."""
        meta = self._router.meta(context, check_id(request.paglet_id, "paglet_id"))

        async def here() -> bytes | None:
            row = await self._host.requests.activate(meta.paglet_id)
            if row is None:
                return None
            return pb.ActivatePagletResponse(paglet=await self._describe(row)).SerializeToString()

        reply = await self._router.unary(context, meta, _ACTIVATE, request.SerializeToString(), here)
        return pb.ActivatePagletResponse.FromString(reply)

    async def GetPagletState(
        self, request: pb.GetPagletStateRequest, context: ServerContext
    ) -> pb.GetPagletStateResponse:
        """Reads the durable state of a paglet, on whichever host it is."""
        meta = self._router.meta(context, check_id(request.paglet_id, "paglet_id"))

        async def here() -> bytes | None:
            found = await self._host.state(meta.paglet_id)
            if found is None:
                return None
            return pb.GetPagletStateResponse(
                state_json=found.json, state_version=found.version, epoch=found.epoch
            ).SerializeToString()

        reply = await self._router.unary(context, meta, _STATE, request.SerializeToString(), here)
        return pb.GetPagletStateResponse.FromString(reply)

    async def DisposePaglet(self, request: pb.DisposePagletRequest, context: ServerContext) -> pb.DisposePagletResponse:
        """Ends a paglet, on whichever host it is. Without a deadline it waits for what hangs to be cut."""
        meta = self._asked(request, context, default_timeout_s=_NO_DEADLINE_S)
        disposal = Disposal(request.request_id, _fingerprint(request))

        async def here() -> bytes | None:
            row = await self._host.parts.directory.get(meta.paglet_id)
            if row is not None and _disposed_by(request, row):
                return b""
            row = await self._host.row(meta.paglet_id)
            if row.owner != self._host.name:
                return None
            await self._host.endings.end(row, disposal, max(0.0, meta.timeout_s - _REPLY_MARGIN_S))
            return b""

        await self._router.unary(context, meta, _DISPOSE, request.SerializeToString(), here)
        return pb.DisposePagletResponse()

    async def GetPagletHistory(
        self, request: pb.GetPagletHistoryRequest, context: ServerContext
    ) -> pb.GetPagletHistoryResponse:
        """Tells one page of what became of a paglet."""
        paglet_id, directory = check_id(request.paglet_id, "paglet_id"), self._host.parts.directory
        size, after = page_size(request.page_size), page_number(request.page_token)
        events = await directory.history(paglet_id, after=after, limit=size)
        if not events and not after and await directory.get(paglet_id) is None:
            raise not_found(paglet_id)
        return pb.GetPagletHistoryResponse(
            events=[paglet_event_to_message(paglet_event(event)) for event in events],
            next_page_token=page_token(str(events[-1].revision)) if len(events) == size else "",
        )

    async def WatchPaglets(
        self, request: pb.WatchPagletsRequest, context: ServerContext
    ) -> AsyncIterator[pb.WatchPagletsResponse]:
        """Streams what becomes of paglets."""
        watch = PagletWatch(
            cursor=request.cursor,
            snapshot=request.snapshot,
            host=request.host,
            type_name=request.type,
            paglet_id=request.paglet_id and check_id(request.paglet_id, "paglet_id"),
        )
        told = self._watches.run(watch.notices(self._host.parts.directory, self._info))
        async with aclosing(told) as notices:
            async for notice in notices:
                yield paglet_notice_to_message(notice)

    def _asked(self, request: _Request, context: ServerContext, *, default_timeout_s: float | None = None) -> CallMeta:
        """What a request that waits for the paglet's turn to end comes with.

        Raises INVALID_ID, MALFORMED_REQUEST, and CALL_CYCLE when that turn waits for the request.
        """
        paglet_id = check_id(request.paglet_id, "paglet_id")
        meta = self._router.meta(context, paglet_id, default_timeout_s=default_timeout_s)
        check_request_id(request.request_id, "request_id")
        if paglet_id in meta.chain:
            raise call_cycle(paglet_id, meta.chain, self._host.name)
        return meta

    def _timeout(self, context: ServerContext) -> float:
        return remaining_s(context, self._host.parts.settings.unary_deadline_s)

    async def _describe(self, row: PagletRow) -> pb.Paglet:
        return paglet_info_to_message(await self._info(row))

    async def _info(self, row: PagletRow) -> PagletInfo:
        peers = self._host.parts.peers
        address = peers.known_address(row.owner)
        if not address:
            await peers.hosts()
            address = peers.known_address(row.owner)
        paglet_type = self._host.parts.registry.find(row.type)
        resident = self._host.residents.get(row.paglet_id)
        return PagletInfo(
            paglet_id=row.paglet_id,
            type=row.type,
            host=row.owner,
            address=address,
            state=row.state,
            epoch=row.epoch,
            created_at=row.created_at,
            journey=self._host.journey(row.paglet_id),
            error=row.error,
            services=services_of(paglet_type) if paglet_type is not None else (),
            stuck=resident is not None and resident.runner.is_stuck,
            run_error="" if resident is None else resident.activities.run_error,
        )


def _disposed_by(request: pb.DisposePagletRequest, row: PagletRow) -> bool:
    """Whether this very request ended the paglet, or the one that had the id before."""
    if not request.request_id:
        return False
    if row.state is not PagletState.DISPOSED:
        return row.earlier_request_id == request.request_id
    return row.request_id == request.request_id and row.fingerprint == _fingerprint(request)


def _parameters(request: pb.ClonePagletRequest) -> AnyMessage | None:
    """What a clone is to be told. Raises MALFORMED_REQUEST."""
    if not request.HasField("parameters"):
        return None
    if request.parameters.ByteSize() > _MAX_PARAMETERS:
        raise InvalidArgumentError(
            "MALFORMED_REQUEST", f"the parameters of a clone have at most {_MAX_PARAMETERS} bytes", field="parameters"
        )
    if request.ticket.arrival == types_pb2.ARRIVAL_MODE_INACTIVE:
        raise InvalidArgumentError(
            "MALFORMED_REQUEST",
            "a clone that arrives at rest has no first hook to be told parameters",
            field="parameters",
        )
    return request.parameters


def _fingerprint(request: Message) -> bytes:
    return fingerprint_of(request.DESCRIPTOR.full_name, request)
