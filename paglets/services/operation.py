"""OperationService: operations that are asked for by their names, on whichever host their paglets are."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import TypeAlias

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message

from paglet.v1 import operation_pb2 as pb
from paglet.v1 import operation_pb2_grpc
from paglets.core.cause import OutgoingPost
from paglets.errors import InvalidArgumentError
from paglets.host.host import Host
from paglets.host.post_records import StoredPost, outgoing_id_of
from paglets.host.posting import PostRequest
from paglets.services.answer import answer_unary, call_of
from paglets.services.call_meta import CallMeta, check_request_id
from paglets.services.envelope import enveloped, opened
from paglets.services.flights import Flights
from paglets.services.guard import ServerContext
from paglets.services.operation_page import operation_page
from paglets.services.outlet import Outlet
from paglets.services.paging import page_number, page_size, page_start, page_token
from paglets.services.routing import Router
from paglets.values import check_id
from paglets.wire.times import time_to_message

__all__ = ["OperationServicer"]

_SERVICE = "/paglet.v1.OperationService"
_INVOKE = f"{_SERVICE}/InvokeOperation"
_PAGE_BYTES = 2 * 1024 * 1024
_MAX_POST_IDS = 1000

Letters: TypeAlias = tuple[Sequence[StoredPost], Sequence[OutgoingPost]]
Work: TypeAlias = Callable[[float], Awaitable[Message | None]]


class OperationServicer(operation_pb2_grpc.OperationServiceServicer):
    """Answers for one host; put it behind the guard."""

    def __init__(self, host: Host, router: Router, flights: Flights) -> None:
        self._host = host
        self._router = router
        self._flights = flights

    async def InvokeOperation(
        self, request: pb.InvokeOperationRequest, context: ServerContext
    ) -> pb.InvokeOperationResponse:
        """Calls an operation: the same call as by the native door, in an envelope."""
        meta = opened(self._router.meta(context, check_id(request.paglet_id, "paglet_id")), request)
        path = _path(request.operation)
        call = call_of(meta, path, request.request.value, request.request.type_url)

        async def here() -> bytes | None:
            resident = await self._host.called(meta.paglet_id, awake_only=meta.awake_only)
            if resident is None:
                return None
            reply = await answer_unary(resident, self._router, context, meta, call, Outlet(context))
            return enveloped(path, type(resident.paglet), reply.data)

        with self._flights.one(meta.paglet_id, meta.caller or meta.peer):
            reply = await self._router.unary(context, meta, _INVOKE, request.SerializeToString(), here)
        return pb.InvokeOperationResponse.FromString(reply)

    async def PostOperation(self, request: pb.PostOperationRequest, context: ServerContext) -> pb.PostOperationResponse:
        """Leaves an operation with a paglet."""
        meta = self._router.meta(context, check_id(request.paglet_id, "paglet_id"))
        post = PostRequest(
            path=_path(request.operation),
            type_url=request.request.type_url,
            request=request.request.value,
            principal=meta.caller,
            request_id=check_request_id(request.request_id, "request_id"),
        )

        async def work(deadline: float) -> pb.PostOperationResponse | None:
            post_id = await self._host.posting.post(meta.paglet_id, post, deadline)
            return None if post_id is None else pb.PostOperationResponse(post_id=post_id)

        reply = await self._at_paglet(meta, "PostOperation", request, context, work)
        return pb.PostOperationResponse.FromString(reply)

    async def ListOperations(
        self, request: pb.ListOperationsRequest, context: ServerContext
    ) -> pb.ListOperationsResponse:
        """Lists what a paglet, or a type, answers."""
        size, after = page_size(request.page_size), page_start(request.page_token)
        subject = request.WhichOneof("subject")
        if subject is None:
            raise InvalidArgumentError("MALFORMED_REQUEST", "paglet_id or type is required", field="paglet_id")
        if subject == "type":
            return operation_page(self._host.parts.registry.get(request.type), size, after)
        meta = self._router.meta(context, check_id(request.paglet_id, "paglet_id"))

        async def work(_deadline: float) -> pb.ListOperationsResponse | None:
            paglet_type = await self._host.paglet_type(meta.paglet_id)
            return None if paglet_type is None else operation_page(paglet_type, size, after)

        reply = await self._at_paglet(meta, "ListOperations", request, context, work)
        return pb.ListOperationsResponse.FromString(reply)

    async def ListDeadLetters(
        self, request: pb.ListDeadLettersRequest, context: ServerContext
    ) -> pb.ListDeadLettersResponse:
        """Lists posts that failed."""
        meta = self._router.meta(context, check_id(request.paglet_id, "paglet_id"))
        size, after = page_size(request.page_size), page_number(request.page_token)

        async def work(deadline: float) -> pb.ListDeadLettersResponse | None:
            letters = await self._host.dead_letters.list(meta.paglet_id, deadline)
            return None if letters is None else _page(meta.paglet_id, letters, size, after)

        reply = await self._at_paglet(meta, "ListDeadLetters", request, context, work)
        return pb.ListDeadLettersResponse.FromString(reply)

    async def ReplayDeadLetters(
        self, request: pb.ReplayDeadLettersRequest, context: ServerContext
    ) -> pb.ReplayDeadLettersResponse:
        """Has posts that failed run again."""
        meta = self._router.meta(context, check_id(request.paglet_id, "paglet_id"))
        post_ids = _post_ids(request.post_ids)

        async def work(deadline: float) -> pb.ReplayDeadLettersResponse | None:
            done = await self._host.dead_letters.replay(meta.paglet_id, post_ids, deadline)
            return None if done is None else pb.ReplayDeadLettersResponse(post_ids=done)

        reply = await self._at_paglet(meta, "ReplayDeadLetters", request, context, work)
        return pb.ReplayDeadLettersResponse.FromString(reply)

    async def DropDeadLetters(
        self, request: pb.DropDeadLettersRequest, context: ServerContext
    ) -> pb.DropDeadLettersResponse:
        """Forgets posts that failed."""
        meta = self._router.meta(context, check_id(request.paglet_id, "paglet_id"))
        post_ids = _post_ids(request.post_ids)

        async def work(deadline: float) -> pb.DropDeadLettersResponse | None:
            done = await self._host.dead_letters.drop(meta.paglet_id, post_ids, deadline)
            return None if done is None else pb.DropDeadLettersResponse(post_ids=done)

        reply = await self._at_paglet(meta, "DropDeadLetters", request, context, work)
        return pb.DropDeadLettersResponse.FromString(reply)

    async def _at_paglet(
        self, meta: CallMeta, method: str, request: Message, context: ServerContext, work: Work
    ) -> bytes:
        """Has `work` done by the host that the paglet is on; gives the encoded reply."""
        deadline = asyncio.get_running_loop().time() + meta.timeout_s

        async def here() -> bytes | None:
            reply = await work(deadline)
            if reply is None:
                return None
            context.set_trailing_metadata(self._router.signpost(meta.paglet_id))
            return reply.SerializeToString()

        return await self._router.unary(context, meta, f"{_SERVICE}/{method}", request.SerializeToString(), here)


def _page(paglet_id: str, letters: Letters, size: int, after: int) -> pb.ListDeadLettersResponse:
    """One page: those after the number `after`, as many as fit into a message."""
    page, taken = pb.ListDeadLettersResponse(), 0
    came, made = letters
    rest = [letter for letter in (*came, *made) if letter.number > after]
    for count, letter in enumerate(rest):
        taken += len(letter.request)
        if count == size or (count and taken > _PAGE_BYTES):
            page.next_page_token = page_token(str(rest[count - 1].number))
            break
        page.dead_letters.append(_made(paglet_id, letter) if isinstance(letter, OutgoingPost) else _came(letter))
    return page


def _made(paglet_id: str, letter: OutgoingPost) -> pb.DeadLetter:
    return pb.DeadLetter(
        post_id=outgoing_id_of(paglet_id, letter),
        operation=letter.operation,
        request=AnyMessage(type_url=letter.type_url, value=letter.request),
        request_id=letter.request_id,
        create_time=time_to_message(letter.create_ms / 1000),
        failures=1,
        status=letter.status,
        receiver=letter.paglet_id,
    )


def _came(letter: StoredPost) -> pb.DeadLetter:
    return pb.DeadLetter(
        post_id=letter.post_id,
        operation=letter.path.removeprefix("/"),
        request=AnyMessage(type_url=letter.type_url, value=letter.request),
        request_id=letter.request_id,
        create_time=time_to_message(letter.create_ms / 1000),
        failures=letter.failures,
        status=letter.status,
    )


def _post_ids(post_ids: Collection[str]) -> frozenset[str]:
    if not 0 < len(post_ids) <= _MAX_POST_IDS:
        raise InvalidArgumentError(
            "MALFORMED_REQUEST",
            f"post_ids has {len(post_ids)} ids, from 1 to {_MAX_POST_IDS} are taken",
            field="post_ids",
        )
    return frozenset(post_ids)


def _path(operation: str) -> str:
    """The rpc path of an operation, which may be given as one. Raises MALFORMED_REQUEST."""
    name = operation.removeprefix("/")
    service, slash, method = name.partition("/")
    if not (service and slash and method) or "/" in method:
        raise InvalidArgumentError(
            "MALFORMED_REQUEST", f"operation must be pkg.Service/Method, got {operation!r}", field="operation"
        )
    return f"/{name}"
