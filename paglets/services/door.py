"""The native door: a call with `paglet-id` in its metadata goes to that paglet, whatever service it names.

No proto of the user's is known here: requests and replies are bytes. What the owner's class does not answer, it
refuses.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any, TypeAlias

import grpc

from paglets.errors import NotFoundError, OperationNotFoundError
from paglets.host.host import Host
from paglets.host.parsing import is_raw
from paglets.services.answer import answer_unary, call_of, telling
from paglets.services.call_meta import CallMeta
from paglets.services.flights import Flights
from paglets.services.guard import GuardedServices, guard_single
from paglets.services.outlet import Outlet, ServerContext
from paglets.services.reflection import REFLECTION_SERVICES
from paglets.services.requests import Requests, requests_of
from paglets.services.routing import Router
from paglets.wire.metadata import PAGLET_ID_KEY

__all__ = ["Door"]

Serving: TypeAlias = Callable[[str, CallMeta, Requests, Outlet, ServerContext], Awaitable[bool | None]]

_REFLECTION_PATHS = frozenset(f"/{service}/ServerReflectionInfo" for service in REFLECTION_SERVICES)


class Door(grpc.GenericRpcHandler):
    """Routes calls that name a paglet. Give it to the server before the host's own services."""

    def __init__(self, host: Host, router: Router, own: GuardedServices, flights: Flights) -> None:
        self._host = host
        self._router = router
        self._own = own
        self._flights = flights
        self._unary_paths = {path: self._unary(path) for path in host.parts.registry.unary_paths()}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        """The way to the paglet; None for a call of the host itself."""
        path = handler_call_details.method
        if not any(key == PAGLET_ID_KEY for key, _ in handler_call_details.invocation_metadata or ()):
            return None if self._own.handler(path) is not None else _nobodys(path)
        if path in _REFLECTION_PATHS:
            return self._stream(path, self._own_reflection)
        if self._own.service(handler_call_details) is not None:
            return None
        return self._unary_paths.get(path) or self._stream(path, self._operation)

    def unary(self, path: str, context: ServerContext) -> Callable[[bytes, ServerContext], Awaitable[bytes]]:
        """What answers a unary call that did not come by an rpc of its own: a paglet, or the host itself.

        Raises OPERATION_STREAMS for an rpc of the host that streams.
        """
        if (own := self._own.unary(path)) is not None:
            return own
        if any(key == PAGLET_ID_KEY for key, _ in context.invocation_metadata() or ()):
            return partial(self._answer, path)
        raise _unknown(path)

    def _unary(self, path: str) -> grpc.RpcMethodHandler[Any, Any]:
        return grpc.unary_unary_rpc_method_handler(guard_single(partial(self._answer, path), path))

    async def _answer(self, path: str, request: bytes, context: ServerContext) -> bytes:
        meta = self._router.meta(context)
        call = call_of(meta, path, request)

        async def here() -> bytes | None:
            resident = await self._host.called(meta.paglet_id, awake_only=meta.awake_only)
            if resident is None:
                return None
            return (await answer_unary(resident, self._router, context, meta, call, Outlet(context))).data

        with self._flights.one(meta.paglet_id, meta.caller or meta.peer):
            return await self._router.unary(context, meta, path, request, here)

    def _stream(self, path: str, serving: Serving) -> grpc.RpcMethodHandler[Any, Any]:
        """Answers a call of any arity: on the wire a single message is a stream of one."""

        async def serve(_source: AsyncIterator[bytes], context: ServerContext) -> None:
            meta = self._router.meta(context)
            requests, outlet = Requests(requests_of(context)), Outlet(context)

            async def here() -> bool | None:
                return await serving(path, meta, requests, outlet, context)

            with self._flights.one(meta.paglet_id, meta.caller or meta.peer):
                try:
                    await self._router.stream(context, meta, path, requests, outlet, here)
                finally:
                    await requests.close()

        return grpc.stream_stream_rpc_method_handler(guard_single(serve, path))

    async def _operation(
        self, path: str, meta: CallMeta, requests: Requests, outlet: Outlet, context: ServerContext
    ) -> bool | None:
        """Answers by the paglet, if it is here."""
        resident = await self._host.called(meta.paglet_id, awake_only=meta.awake_only)
        if resident is None:
            return None
        if is_raw(type(resident.paglet), path):
            call = call_of(meta, path, await requests.only(meta.timeout_s))
            await outlet.send((await answer_unary(resident, self._router, context, meta, call, outlet)).data)
            return True
        call = call_of(meta, path)

        async def send(data: bytes) -> None:
            await outlet.begin((*self._router.signpost(meta.paglet_id), *call.told.initial_metadata))
            await outlet.send(data)

        with telling(self._router, context, meta, call.told):
            await resident.streams.serve(call, requests.messages(), send)
        return True

    async def _own_reflection(
        self, path: str, meta: CallMeta, requests: Requests, outlet: Outlet, context: ServerContext
    ) -> bool | None:
        """Reflection about a paglet is answered by its owner; about one that is nowhere, by the host that is asked.

        A tool that reflects before it calls takes NOT_FOUND for a service that is not there, and would never make the
        call that says what is: PAGLET_NOT_FOUND.
        """
        if not await self._is_for_here(meta.paglet_id):
            return None
        handler = self._own.handler(path)
        if handler is None or handler.response_serializer is None:
            raise OperationNotFoundError("OPERATION_NOT_FOUND", "this host does not reflect")
        encode = handler.response_serializer
        # The stubs type a handler's behaviours for threads; in an asyncio server they are async generators.
        behavior: Any = handler.stream_stream
        async for answer in behavior(requests.messages(), context):
            await outlet.send(encode(answer))
        return True

    async def _is_for_here(self, paglet_id: str) -> bool:
        if paglet_id in self._host.dormant or paglet_id in self._host.residency:
            return True
        if await self._host.resident(paglet_id) is not None:
            return True
        try:
            await self._host.place(paglet_id)
        except NotFoundError:
            return True
        return False


def _nobodys(path: str) -> grpc.RpcMethodHandler[Any, Any]:
    """The answer to a call that neither names a paglet nor is one of the host's own."""

    async def refuse(_request: bytes, _context: ServerContext) -> bytes:
        raise _unknown(path)

    return grpc.unary_unary_rpc_method_handler(guard_single(refuse, path))


def _unknown(path: str) -> OperationNotFoundError:
    name = path.removeprefix("/")
    return OperationNotFoundError(
        "OPERATION_NOT_FOUND",
        f"this host itself has no {name}; a call of a paglet needs the metadata {PAGLET_ID_KEY}",
        metadata={"operation": name},
    )
