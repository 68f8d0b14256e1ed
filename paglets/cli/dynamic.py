"""A call of any operation from JSON to JSON, with messages made of what the paglet's host tells of its services."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import click
import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from paglets.cli.dynamic_stream import DynamicStream, only_request, parsed_request
from paglets.cli.json_requests import JsonRequests
from paglets.cli.reflection import Reflection
from paglets.client.proxy import PagletProxy
from paglets.client.safe_channel import SafeChannel
from paglets.errors import OperationNotFoundError
from paglets.wire.metadata import PAGLET_ID_KEY, REQUEST_ID_KEY

__all__ = ["call_operation", "post_operation"]


async def call_operation(
    proxy: PagletProxy, operation: str, requests: JsonRequests, request_id: str = "", timeout_s: float | None = None
) -> AsyncGenerator[tuple[dict[str, Any], bool]]:
    """Calls `pkg.Service/Method` of a paglet; each reply as what JSON can hold, and whether it is one of a stream.

    A call of one request and one reply has the client's deadline and is retried, a stream has `timeout_s` if any.
    Raises OPERATION_NOT_FOUND naming the paglet's services, a usage error for JSON that does not fit the request, and
    whatever the operation raises.
    """
    reflection = _reflection(proxy)
    method = await _find(proxy, reflection, operation)
    if method.client_streaming or method.server_streaming:
        if request_id:
            raise click.UsageError(f"{operation} is a stream, which cannot be run once by a request id")
        stream = DynamicStream(proxy, reflection, method, timeout_s)
        async with aclosing(stream.replies(requests)) as replies:
            async for reply in replies:
                yield await _shown(reflection, operation, reply), method.server_streaming
        return
    if requests.given is None:
        raise click.UsageError(f"{operation} takes one request, and no --lines")
    request = await only_request(reflection, method, requests.given)
    yield await _shown(reflection, operation, await _call(proxy, method, request, request_id)), False


async def post_operation(proxy: PagletProxy, operation: str, text: str, request_id: str = "") -> str:
    """Posts `pkg.Service/Method` to a paglet with a request in JSON; the post's id. Raises as `call_operation`."""
    reflection = _reflection(proxy)
    method = await _find(proxy, reflection, operation)
    if method.client_streaming or method.server_streaming:
        raise click.UsageError(f"{operation} is a stream, which cannot be posted")
    request = await parsed_request(reflection, method, text)
    name = f"{method.containing_service.full_name}/{method.name}"
    return await proxy.post(name, request, request_id=request_id)


def _reflection(proxy: PagletProxy) -> Reflection:
    metadata = ((PAGLET_ID_KEY, proxy.paglet_id),)
    return Reflection(SafeChannel(proxy.client.channel, metadata=metadata), proxy.client.policy.timeout_s)


async def _find(proxy: PagletProxy, reflection: Reflection, operation: str) -> MethodDescriptor:
    service, _, name = operation.strip("/").replace("/", ".").rpartition(".")
    try:
        methods = await reflection.methods(service)
    except OperationNotFoundError as error:
        services = (await proxy.info()).services
        raise _not_found(proxy, operation, f"it answers {', '.join(services) or 'nothing'}") from error
    found = next((method for method in methods if method.name == name), None)
    if found is None:
        raise _not_found(proxy, operation, f"the service has {', '.join(method.name for method in methods)}")
    return found


def _not_found(proxy: PagletProxy, operation: str, instead: str) -> OperationNotFoundError:
    return OperationNotFoundError(
        "OPERATION_NOT_FOUND",
        f"paglet {proxy.paglet_id} has no operation {operation!r}; {instead}",
        metadata={"operation": operation},
    )


async def _call(proxy: PagletProxy, method: MethodDescriptor, request: Message, request_id: str) -> Message:
    def bind(channel: grpc.aio.Channel) -> grpc.aio.UnaryUnaryMultiCallable[Message, Message]:
        reply_class = GetMessageClass(method.output_type)
        path = f"/{method.containing_service.full_name}/{method.name}"
        return channel.unary_unary(path, type(request).SerializeToString, reply_class.FromString)

    metadata = ((REQUEST_ID_KEY, request_id),) if request_id else None
    return await proxy.stub(bind)(request, metadata=metadata)


async def _shown(reflection: Reflection, operation: str, reply: Message) -> dict[str, Any]:
    try:
        return await reflection.to_dict(reply)
    except OperationNotFoundError as error:
        raise click.ClickException(f"{operation} was run, but its reply cannot be shown: {error.message}") from error
