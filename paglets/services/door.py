"""The native door: a call with `paglet-id` in its metadata goes to that paglet, whatever service it names.

No proto of the user's is known here: requests and replies are bytes. What the owner's class does not answer, it
refuses.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import grpc

from paglets.errors import OperationNotFoundError
from paglets.host.calls import Call
from paglets.host.host import Host
from paglets.services.flights import Flights
from paglets.services.guard import GuardedServices, ServerContext, guard_single, guard_stream
from paglets.services.reflection import REFLECTION_SERVICES
from paglets.services.routing import CallMeta, Router, pass_on
from paglets.wire.metadata import PAGLET_ID_KEY, REPLAYED_KEY

__all__ = ["Door"]

_REFLECTION_PATHS = frozenset(f"/{service}/ServerReflectionInfo" for service in REFLECTION_SERVICES)


class Door(grpc.GenericRpcHandler):
    """Routes calls that name a paglet. Give it to the server before the host's own services."""

    def __init__(self, host: Host, router: Router, own: GuardedServices) -> None:
        self._host = host
        self._router = router
        self._own = own
        settings = host.parts.settings
        self._flights = Flights(settings.max_calls_of_paglet, settings.max_calls_of_caller)
        self._known = {path: self._unary(path) for path in host.parts.registry.paths()}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        """The way to the paglet; None for a call of the host itself."""
        path = handler_call_details.method
        if not any(key == PAGLET_ID_KEY for key, _ in handler_call_details.invocation_metadata or ()):
            return None if self._own.handler(path) is not None else _nobodys(path)
        if path in _REFLECTION_PATHS:
            return self._reflection(path)
        if self._own.service(handler_call_details) is not None:
            return None
        return self._known.get(path) or self._unary(path)

    def _unary(self, path: str) -> grpc.RpcMethodHandler[Any, Any]:
        async def answer(request: bytes, context: ServerContext) -> bytes:
            return await self._answer(path, request, context)

        return grpc.unary_unary_rpc_method_handler(guard_single(answer, path))

    async def _answer(self, path: str, request: bytes, context: ServerContext) -> bytes:
        meta = self._router.meta(context)
        call = Call(
            path=path,
            request=request,
            principal=meta.caller,
            request_id=meta.request_id,
            deadline=asyncio.get_running_loop().time() + meta.timeout_s,
            chain=meta.chain,
        )

        async def here() -> bytes | None:
            resident = await self._host.called(meta.paglet_id, awake_only=meta.awake_only)
            if resident is None:
                return None
            context.set_trailing_metadata(self._router.signpost(meta.paglet_id))
            reply = await resident.calls.answer(call)
            if reply.replayed:
                context.set_trailing_metadata((*self._router.signpost(meta.paglet_id), (REPLAYED_KEY, "true")))
            return reply.data

        with self._flights.one(meta.paglet_id, meta.caller or meta.peer):
            return await self._router.unary(context, meta, path, request, here)

    def _reflection(self, path: str) -> grpc.RpcMethodHandler[Any, Any]:
        """Reflection about a paglet is answered by its owner."""

        async def describe(requests: AsyncIterator[bytes], context: ServerContext) -> AsyncGenerator[bytes]:
            meta = self._router.meta(context)
            await self._host.wait_ready(meta.timeout_s)
            if meta.paglet_id in self._host.dormant or await self._host.resident(meta.paglet_id) is not None:
                answers = self._own_reflection(path, requests, context)
            else:
                answers = self._forwarded(path, meta, requests)
            try:
                async for answer in answers:
                    yield answer
            except grpc.aio.AioRpcError as error:
                await pass_on(context, error)

        return grpc.stream_stream_rpc_method_handler(guard_stream(describe, path))

    async def _forwarded(self, path: str, meta: CallMeta, requests: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        owner = await self._router.elsewhere(meta)
        forwarder = await self._host.parts.peers.forwarder(owner)
        try:
            async for answer in forwarder.stream(path, requests, meta.onward(), meta.timeout_s):
                yield answer
        except grpc.aio.AioRpcError as error:
            if (lost := self._router.lost(meta, owner, error)) is not None:
                raise lost from error
            raise

    async def _own_reflection(
        self, path: str, requests: AsyncIterator[bytes], context: ServerContext
    ) -> AsyncIterator[bytes]:
        handler = self._own.handler(path)
        if handler is None or handler.response_serializer is None:
            raise OperationNotFoundError("OPERATION_NOT_FOUND", "this host does not reflect")
        encode = handler.response_serializer
        # The stubs type a handler's behaviours for threads; in an asyncio server they are async generators.
        behavior: Any = handler.stream_stream
        async for answer in behavior(requests, context):
            yield encode(answer)


def _nobodys(path: str) -> grpc.RpcMethodHandler[Any, Any]:
    """The answer to a call that neither names a paglet nor is one of the host's own."""

    async def refuse(_request: bytes, _context: ServerContext) -> bytes:
        name = path.removeprefix("/")
        raise OperationNotFoundError(
            "OPERATION_NOT_FOUND",
            f"this host itself has no {name}; a call of a paglet needs the metadata {PAGLET_ID_KEY}",
            metadata={"operation": name},
        )

    return grpc.unary_unary_rpc_method_handler(guard_single(refuse, path))
