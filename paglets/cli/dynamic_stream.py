"""A streaming call of any operation, from JSON to messages."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing

import click
import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.json_format import ParseError
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from paglets.cli.json_requests import JsonRequests
from paglets.cli.reflection import Reflection
from paglets.client.call_end import replies_of
from paglets.client.calls import errors_of_calls
from paglets.client.proxy import PagletProxy

__all__ = ["DynamicStream", "only_request", "parsed_request"]


async def parsed_request(reflection: Reflection, method: MethodDescriptor, text: str) -> Message:
    """The request that a text says. Raises a usage error when it does not fit."""
    request = GetMessageClass(method.input_type)()
    try:
        await reflection.parse(text, request)
    except ParseError as error:
        raise click.UsageError(f"the request does not fit {method.input_type.full_name}: {error}") from error
    return request


async def only_request(reflection: Reflection, method: MethodDescriptor, texts: Sequence[str]) -> Message:
    """The request of a method that takes one; an empty one for no text."""
    if len(texts) > 1:
        raise click.UsageError(f"{method.full_name} takes one request, {len(texts)} are given")
    return await parsed_request(reflection, method, texts[0] if texts else "{}")


class DynamicStream:
    """One call of a streaming method of a paglet; without `timeout_s` it takes as long as it takes."""

    def __init__(
        self, proxy: PagletProxy, reflection: Reflection, method: MethodDescriptor, timeout_s: float | None
    ) -> None:
        self._proxy = proxy
        self._reflection = reflection
        self._method = method
        self._timeout_s = timeout_s
        self._misfit: click.UsageError | None = None

    async def replies(self, requests: JsonRequests) -> AsyncGenerator[Message]:
        """Makes the call and gives the replies as they come. Raises PagletErrors, and usage errors for misfits.

        Nothing is called unless all requests that are given fit.
        """
        call = self._proxy.stub(self._bind)(await self._messages(requests), timeout=self._timeout_s)
        try:
            with errors_of_calls():
                async with aclosing(replies_of(call)) as replies:
                    async for reply in replies:
                        yield reply
        except BaseException:
            if self._misfit is not None:
                raise self._misfit from None
            raise
        finally:
            call.cancel()

    def _bind(self, channel: grpc.aio.Channel) -> grpc.aio.StreamStreamMultiCallable[Message, Message]:
        """On the wire a single message is a stream of one."""
        path = f"/{self._method.containing_service.full_name}/{self._method.name}"
        request_class, reply_class = GetMessageClass(self._method.input_type), GetMessageClass(self._method.output_type)
        return channel.stream_stream(path, request_class.SerializeToString, reply_class.FromString)

    async def _messages(self, requests: JsonRequests) -> AsyncIterator[Message]:
        if not self._method.client_streaming:
            if requests.given is None:
                raise click.UsageError(f"{self._method.full_name} takes one request, and no --lines")
            return _each([await only_request(self._reflection, self._method, requests.given)])
        if requests.given is None:
            return self._parsed(requests.coming)
        return _each([await parsed_request(self._reflection, self._method, text) for text in requests.given])

    async def _parsed(self, texts: AsyncIterator[str]) -> AsyncIterator[Message]:
        """Parses requests as they come; one that does not fit ends the call, for which gRPC has no words of its own."""
        try:
            async for text in texts:
                yield await parsed_request(self._reflection, self._method, text)
        except click.UsageError as error:
            self._misfit = error
            raise


async def _each(requests: Sequence[Message]) -> AsyncIterator[Message]:
    for request in requests:
        yield request
