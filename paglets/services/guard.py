"""The guard around every handler: our errors become statuses, unexpected ones an incident id, and nothing else leaks.

It sits in the handlers themselves, not in a stack of interceptors: a call ends in one place. Requests are parsed inside
it too, since gRPC would tell a caller in its own words of bytes that are no message.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from typing import Any, NoReturn, TypeAlias, TypeVar

import grpc
from google.protobuf.message import DecodeError

from paglets.errors import InvalidArgumentError, PagletError, as_paglet_error
from paglets.host.threads import is_cancelled
from paglets.operations import streams
from paglets.services.outlet import STALL_TIMEOUT_S, Outlet, ServerContext
from paglets.wire.status import DETAILS_KEY, RPC_CODES, to_status

__all__ = ["GuardedServices", "ServerContext", "abort_with", "guard_single", "guard_stream"]

_log = logging.getLogger(__name__)

ServicerT = TypeVar("ServicerT")
RequestT = TypeVar("RequestT")
ReplyT = TypeVar("ReplyT")
ContextT = TypeVar("ContextT", bound=ServerContext)
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


def _gone(error: grpc.aio.InternalError) -> asyncio.CancelledError:
    """What becomes of sending to a caller who has left: his call is cancelled, which gRPC may not have noticed yet."""
    _log.debug("the caller has left", exc_info=error)
    return asyncio.CancelledError("the caller has left")


async def abort_with(context: ServerContext, error: PagletError) -> NoReturn:
    """Ends the call with the error's status and details, beside the trailing metadata that were set before."""
    status = to_status(error)
    trailing = (*(context.trailing_metadata() or ()), (DETAILS_KEY, status.SerializeToString()))
    try:
        await context.abort(RPC_CODES[status.code], status.message, trailing)
    except grpc.aio.InternalError as failed:
        raise _gone(failed) from failed


async def _end(context: ServerContext, error: BaseException, method: str) -> NoReturn:
    """Ends a call by what its handler raised.

    Raises the error itself where it is no answer: the call was ended already, or is being cancelled, which is none of
    the caller's business, or the process ends.
    """
    if isinstance(error, grpc.aio.InternalError):
        raise _gone(error) from error
    if _is_ended(context) or isinstance(error, KeyboardInterrupt | SystemExit):
        raise error
    if isinstance(error, asyncio.CancelledError):
        if is_cancelled():
            raise error
        error = RuntimeError("something that the call waited for was cancelled")
    await abort_with(context, as_paglet_error(error, method))


def _is_ended(context: ServerContext) -> bool:
    """Whether the call has its status: gRPC's own AbortError is then on its way out, not one that an author raised."""
    return bool(context.code())  # None before that, whatever the stubs say


def guard_single(
    behavior: Callable[[RequestT, ContextT], Awaitable[ReplyT]], method: str
) -> Callable[[RequestT, ContextT], Awaitable[ReplyT]]:
    """Guards a handler that answers with one message."""

    async def guarded(request: RequestT, context: ContextT) -> ReplyT:
        try:
            return await behavior(request, context)
        except BaseException as error:
            await _end(context, error, method)

    return guarded


def guard_stream(
    behavior: Callable[[RequestT, ServerContext], AsyncGenerator[ReplyT]],
    method: str,
    encode: Callable[[ReplyT], bytes] = bytes,
    stall_timeout_s: float = STALL_TIMEOUT_S,
) -> Callable[[RequestT, ServerContext], Awaitable[None]]:
    """Guards a handler that answers with a stream, and sends its answers, as bytes.

    When its caller took nothing for `stall_timeout_s` it is closed, with all that it holds, and the call ends with
    DEADLINE_EXCEEDED; he is told when he takes the rest.
    """

    async def guarded(request: RequestT, context: ServerContext) -> None:
        try:
            outlet = Outlet(context, stall_timeout_s)
            async with aclosing(behavior(request, context)) as messages:
                async for message in messages:
                    data = encode(message)
                    del message  # a caller who stands still holds as little as can be
                    await outlet.send(data)
        except BaseException as error:
            await _end(context, error, method)

    return guarded


class GuardedServices(grpc.GenericRpcHandler):
    """The host's own services, each handler guarded: fill it by `add`, give it to the server."""

    def __init__(self, *, stall_timeout_s: float = STALL_TIMEOUT_S) -> None:
        self._stall_timeout_s = stall_timeout_s
        self._bare: dict[str, Handler] = {}
        self._handlers: dict[str, Handler] = {}
        self._names: list[str] = []
        self._parsers: dict[str, Callable[[bytes], object]] = {}
        self._encoders: dict[str, Callable[[Any], bytes]] = {}

    @property
    def service_names(self) -> tuple[str, ...]:
        """Full names of the services, in the order of their addition."""
        return tuple(self._names)

    def parse_by(self, method: str, parse: Callable[[bytes], object]) -> None:
        """Has the requests of a method, `/service/Method`, parsed by `parse` and not as generated code would.

        It raises `DecodeError`. Call it before `add`.
        """
        self._parsers[method] = parse

    def encode_by(self, method: str, encode: Callable[[Any], bytes]) -> None:
        """Has the answers of a method encoded by `encode` and not as generated code would. Call it before `add`."""
        self._encoders[method] = encode

    def add(self, adder: Callable[[ServicerT, Any], None], servicer: ServicerT) -> None:
        """Adds a servicer by the `add_..._to_server` that protoc generated for it."""
        adder(servicer, self)

    def add_registered_method_handlers(self, service_name: str, method_handlers: Mapping[str, Handler]) -> None:
        """What generated code calls on a server: takes the handlers in, guarded."""
        self._names.append(service_name)
        for name, handler in method_handlers.items():
            method = f"/{service_name}/{name}"
            parse = self._parsers.get(method) or handler.request_deserializer or bytes
            encode = self._encoders.get(method) or handler.response_serializer or bytes
            self._bare[method], self._handlers[method] = _bare_and_guarded(
                handler, parse, encode, method, self._stall_timeout_s
            )

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        """What generated code calls too, with the same handlers once more: nothing is left to do."""

    def alias(self, service_name: str, alias: str) -> None:
        """Answers for `alias` with the handlers of a service whose messages are the same on the wire."""
        prefix = f"/{service_name}/"
        self._names.append(alias)
        for handlers in (self._bare, self._handlers):
            for method, handler in list(handlers.items()):
                if method.startswith(prefix):
                    handlers[f"/{alias}/{method.removeprefix(prefix)}"] = handler

    def handler(self, path: str) -> Handler | None:
        """The handler of a path, for a guard of the caller's own; None for one that is not ours."""
        return self._bare.get(path)

    def unary(self, path: str) -> Callable[[bytes, ServerContext], Awaitable[bytes]] | None:
        """Answers a unary rpc as bytes, for a guard of the caller's own; None for one that is not ours.

        Raises OPERATION_STREAMS for one that is not unary.
        """
        handler = self._bare.get(path)
        if handler is None:
            return None
        # The stubs type a handler's behaviours for threads; in an asyncio server they are coroutines.
        behavior: Any = handler.unary_unary
        encode = handler.response_serializer or bytes
        if behavior is None:
            raise streams(path.removeprefix("/"))

        async def answer(request: bytes, context: ServerContext) -> bytes:
            return encode(await behavior(request, context))

        return answer

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler | None:
        """The handler of a method, None for one that is not ours."""
        return self._handlers.get(handler_call_details.method)


def _bare_and_guarded(
    handler: Handler,
    parse: Callable[[bytes], object],
    encode: Callable[[Any], bytes],
    method: str,
    stall_timeout_s: float,
) -> tuple[Handler, Handler]:
    """The same handler, taking its requests as bytes: as it is, and with a guard around what it does."""
    # The stubs type a handler's behaviours for threads; in an asyncio server they are coroutines and async generators.
    behavior: Any = handler.unary_unary or handler.stream_unary or handler.unary_stream or handler.stream_stream
    make: Any = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }[handler.request_streaming, handler.response_streaming]

    def stream(requests: AsyncIterator[bytes], context: ServerContext) -> object:
        return behavior(_Parsed(requests, parse), context)

    def single(request: bytes, context: ServerContext) -> object:
        return behavior(_parsed(request, parse), context)

    bare: Any = stream if handler.request_streaming else single
    if handler.response_streaming and not inspect.iscoroutinefunction(behavior):
        guarded = make(guard_stream(bare, method, encode, stall_timeout_s), None, None)
    else:  # it returns its answer, or sends its answers itself
        guarded = make(guard_single(bare, method), None, encode)
    return make(bare, None, encode), guarded


class _Parsed(AsyncIterator[RequestT]):
    """The messages of a request stream."""

    def __init__(self, requests: AsyncIterator[bytes], parse: Callable[[bytes], RequestT]) -> None:
        self._requests = requests
        self._messages: AsyncIterator[bytes] | None = None  # gRPC complains of one that was made and never read
        self._parse = parse

    async def __anext__(self) -> RequestT:
        if self._messages is None:
            self._messages = aiter(self._requests)
        return _parsed(await anext(self._messages), self._parse)


def _parsed(data: bytes, parse: Callable[[bytes], RequestT]) -> RequestT:
    try:
        return parse(data)
    except DecodeError as error:
        raise InvalidArgumentError(
            "MALFORMED_REQUEST", "the request is not the message that this rpc takes", field="request"
        ) from error
