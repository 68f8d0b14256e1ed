"""A call of any operation from JSON to JSON, with messages made of what the paglet's host tells of its services."""

from __future__ import annotations

from typing import Any

import click
import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.json_format import ParseError
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from paglets.cli.reflection import Reflection
from paglets.client.proxy import PagletProxy
from paglets.client.safe_channel import SafeChannel
from paglets.errors import OperationNotFoundError
from paglets.wire.metadata import PAGLET_ID_KEY, REQUEST_ID_KEY

__all__ = ["call_operation", "post_operation"]


async def call_operation(proxy: PagletProxy, operation: str, text: str, request_id: str = "") -> dict[str, Any]:
    """Calls `pkg.Service/Method` of a paglet with a request in JSON; the reply as what JSON can hold.

    Raises OPERATION_NOT_FOUND naming the paglet's services, a usage error for JSON that does not fit the request, and
    whatever the operation raises.
    """
    reflection = _reflection(proxy)
    method, request = await _request(proxy, reflection, operation, text)
    reply = await _call(proxy, method, request, request_id)
    return await _shown(reflection, operation, reply)


async def post_operation(proxy: PagletProxy, operation: str, text: str, request_id: str = "") -> str:
    """Posts `pkg.Service/Method` to a paglet with a request in JSON; the post's id. Raises as `call_operation`."""
    method, request = await _request(proxy, _reflection(proxy), operation, text)
    name = f"{method.containing_service.full_name}/{method.name}"
    return await proxy.post(name, request, request_id=request_id)


def _reflection(proxy: PagletProxy) -> Reflection:
    metadata = ((PAGLET_ID_KEY, proxy.paglet_id),)
    return Reflection(SafeChannel(proxy.client.channel, metadata=metadata), proxy.client.policy.timeout_s)


async def _request(
    proxy: PagletProxy, reflection: Reflection, operation: str, text: str
) -> tuple[MethodDescriptor, Message]:
    method = await _find(proxy, reflection, operation)
    request = GetMessageClass(method.input_type)()
    try:
        await reflection.parse(text, request)
    except ParseError as error:
        raise click.UsageError(f"the request does not fit {method.input_type.full_name}: {error}") from error
    return method, request


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
    if found.client_streaming or found.server_streaming:
        raise click.UsageError(f"{operation} is a stream; `paglets op` takes operations of one request and one reply")
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
