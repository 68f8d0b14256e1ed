"""The guard around every handler: our errors become statuses, unexpected ones an incident id, and nothing else leaks.

It sits in the handlers themselves, not in a stack of interceptors: a call ends in one place. Requests are parsed inside
it too, since gRPC would tell a caller in its own words of bytes that are no message.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Any, NoReturn, TypeAlias, TypeVar

import grpc
from google.protobuf.message import DecodeError

from paglets.errors import InvalidArgumentError, PagletError, as_paglet_error
from paglets.host.runner import is_cancelled
from paglets.wire.status import DETAILS_KEY, to_status

__all__ = ["GuardedServices", "ServerContext", "abort_with", "guard_single", "guard_stream"]

_CODES = {code.value[0]: code for code in grpc.StatusCode}

ServicerT = TypeVar("ServicerT")
RequestT = TypeVar("RequestT")
ReplyT = TypeVar("ReplyT")
ServerContext: TypeAlias = grpc.aio.ServicerContext[Any, Any]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


async def abort_with(context: ServerContext, error: PagletError) -> NoReturn:
    """Ends the call with the error's status and details, beside the trailing metadata that were set before."""
    status = to_status(error)
    trailing = (*(context.trailing_metadata() or ()), (DETAILS_KEY, status.SerializeToString()))
    await context.abort(_CODES[status.code], status.message, trailing)


def _failure(error: Exception | asyncio.CancelledError, method: str) -> PagletError:
    """What the caller is told. A cancellation that is the call's own is none of his business, and goes on."""
    if isinstance(error, Exception):
        return as_paglet_error(error, method)
    if is_cancelled():
        raise error
    return as_paglet_error(RuntimeError("something that the call waited for was cancelled"), method)


def guard_single(
    behavior: Callable[[RequestT, ServerContext], Awaitable[ReplyT]], method: str
) -> Callable[[RequestT, ServerContext], Awaitable[ReplyT]]:
    """Guards a handler that answers with one message."""

    async def guarded(request: RequestT, context: ServerContext) -> ReplyT:
        try:
            return await behavior(request, context)
        except grpc.aio.AbortError:
            raise
        except (Exception, asyncio.CancelledError) as error:
            await abort_with(context, _failure(error, method))

    return guarded


def guard_stream(
    behavior: Callable[[RequestT, ServerContext], AsyncIterator[ReplyT]], method: str
) -> Callable[[RequestT, ServerContext], AsyncIterator[ReplyT]]:
    """Guards a handler that answers with a stream."""

    async def guarded(request: RequestT, context: ServerContext) -> AsyncIterator[ReplyT]:
        try:
            async for message in behavior(request, context):
                yield message
        except grpc.aio.AbortError:
            raise
        except (Exception, asyncio.CancelledError) as error:
            await abort_with(context, _failure(error, method))

    return guarded


class GuardedServices(grpc.GenericRpcHandler):
    """The host's own services, each handler guarded: fill it by `add`, give it to the server."""

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}
        self._names: list[str] = []

    @property
    def service_names(self) -> tuple[str, ...]:
        """Full names of the services, in the order of their addition."""
        return tuple(self._names)

    def add(self, adder: Callable[[ServicerT, Any], None], servicer: ServicerT) -> None:
        """Adds a servicer by the `add_..._to_server` that protoc generated for it."""
        adder(servicer, self)

    def add_registered_method_handlers(self, service_name: str, method_handlers: Mapping[str, Handler]) -> None:
        """What generated code calls on a server: takes the handlers in, guarded."""
        self._names.append(service_name)
        for name, handler in method_handlers.items():
            method = f"/{service_name}/{name}"
            self._handlers[method] = _guarded(handler, method)

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        """What generated code calls too, with the same handlers once more: nothing is left to do."""

    def alias(self, service_name: str, alias: str) -> None:
        """Answers for `alias` with the handlers of a service whose messages are the same on the wire."""
        prefix = f"/{service_name}/"
        self._names.append(alias)
        for method, handler in list(self._handlers.items()):
            if method.startswith(prefix):
                self._handlers[f"/{alias}/{method.removeprefix(prefix)}"] = handler

    def handler(self, path: str) -> Handler | None:
        """The handler of a path; None for one that is not ours."""
        return self._handlers.get(path)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler | None:
        """The handler of a method, None for one that is not ours."""
        return self._handlers.get(handler_call_details.method)


def _guarded(handler: Handler, method: str) -> Handler:
    """The same handler with a guard around what it does. It takes its requests as bytes."""
    parse, encode = handler.request_deserializer or bytes, handler.response_serializer
    # The stubs type a handler's behaviours for threads; in an asyncio server they are coroutines and async generators.
    behavior: Any = handler.unary_unary or handler.stream_unary or handler.unary_stream or handler.stream_stream
    guard: Any = guard_stream if handler.response_streaming else guard_single

    def stream(requests: AsyncIterator[bytes], context: ServerContext) -> object:
        return behavior(_Parsed(requests, parse), context)

    def single(request: bytes, context: ServerContext) -> object:
        return behavior(_parsed(request, parse), context)

    make = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }[handler.request_streaming, handler.response_streaming]
    return make(guard(stream if handler.request_streaming else single, method), None, encode)


class _Parsed(AsyncIterator[RequestT]):
    """The messages of a request stream."""

    def __init__(self, requests: AsyncIterator[bytes], parse: Callable[[bytes], RequestT]) -> None:
        self._requests = aiter(requests)
        self._parse = parse

    async def __anext__(self) -> RequestT:
        return _parsed(await anext(self._requests), self._parse)


def _parsed(data: bytes, parse: Callable[[bytes], RequestT]) -> RequestT:
    try:
        return parse(data)
    except DecodeError as error:
        raise InvalidArgumentError(
            "MALFORMED_REQUEST", "the request is not the message that this rpc takes", field="request"
        ) from error
