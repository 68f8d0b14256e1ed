"""Learns a service from the server that has it: descriptors by reflection, messages made of them, JSON in and out.

Nothing of the service needs to be installed here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import Any, TypeVar

import grpc
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, MethodDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from grpc_reflection.v1alpha import reflection_pb2

from paglets.client.call_end import replies_of
from paglets.client.calls import errors_of_calls
from paglets.errors import Code, NotFoundError, OperationNotFoundError, error_for

__all__ = ["Reflection"]

ResultT = TypeVar("ResultT")

# The two versions have the same messages.
_PATHS = (
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
)


class Reflection:
    """What a server tells of its services. `channel` decides whom it asks; `timeout_s` bounds each question."""

    def __init__(self, channel: grpc.aio.Channel, timeout_s: float) -> None:
        self.pool = DescriptorPool()
        self._channel = channel
        self._timeout_s = timeout_s
        self._paths = list(_PATHS)
        self._known: set[str] = set()

    async def methods(self, service: str) -> Sequence[MethodDescriptor]:
        """The rpcs of a service. Raises OPERATION_NOT_FOUND when the server does not know it."""
        await self.learn(service)
        return list(self.pool.FindServiceByName(service).methods)

    async def learn(self, symbol: str) -> None:
        """Adds the file with this service or message, and all that it needs, to the pool. Safe to repeat.

        Raises OPERATION_NOT_FOUND when the server does not know it.
        """
        request = reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol)
        await self._add(await self._ask(request))

    async def parse(self, text: str, message: Message) -> None:
        """Fills a message from JSON. Raises ParseError for what does not fit."""
        _require_object(text, message)
        await self._learning(lambda pool: json_format.Parse(text, message, descriptor_pool=pool))

    async def to_dict(self, message: Message) -> dict[str, Any]:
        """A message as what JSON can hold, with its fields named as in the proto."""
        return await self._learning(
            lambda pool: json_format.MessageToDict(
                message,
                preserving_proto_field_name=True,
                always_print_fields_with_no_presence=True,
                descriptor_pool=pool,
            )
        )

    async def _learning(self, convert: Callable[[Any], ResultT]) -> ResultT:
        """Does a conversion, over again each time that it meets a type inside an Any that is to be learned first."""
        while True:
            noting = _NotingPool(self.pool)
            try:
                return convert(noting)
            except (TypeError, json_format.ParseError):
                if not noting.missing:
                    raise
            await self.learn(noting.missing)

    async def _add(self, files: list[FileDescriptorProto]) -> None:
        """Adds files after the files that they import."""
        waiting = {file.name: file for file in files if file.name not in self._known}
        for file in list(waiting.values()):
            for imported in file.dependency:
                if imported not in self._known and imported not in waiting:
                    request = reflection_pb2.ServerReflectionRequest(file_by_filename=imported)
                    await self._add(await self._ask(request))
        while waiting:
            ready = [file for file in waiting.values() if waiting.keys().isdisjoint(file.dependency)]
            for file in ready or list(waiting.values()):
                self.pool.Add(waiting.pop(file.name))
                self._known.add(file.name)

    async def _ask(self, request: reflection_pb2.ServerReflectionRequest) -> list[FileDescriptorProto]:
        """Asks in the newest version that the server speaks."""
        while True:
            try:
                reply = await self._ask_once(self._paths[0], request)
            except OperationNotFoundError:
                if len(self._paths) == 1:
                    raise
                del self._paths[0]
            else:
                return _files(reply, request)

    async def _ask_once(
        self, path: str, request: reflection_pb2.ServerReflectionRequest
    ) -> reflection_pb2.ServerReflectionResponse:
        make = self._channel.stream_stream(
            path,
            reflection_pb2.ServerReflectionRequest.SerializeToString,
            reflection_pb2.ServerReflectionResponse.FromString,
        )
        with errors_of_calls():
            async with aclosing(replies_of(make(iter((request,)), timeout=self._timeout_s))) as replies:
                async for reply in replies:
                    return reply
        raise NotFoundError("TRANSPORT", "the server's reflection did not answer")


def _files(
    reply: reflection_pb2.ServerReflectionResponse, request: reflection_pb2.ServerReflectionRequest
) -> list[FileDescriptorProto]:
    if reply.HasField("error_response"):
        wanted = request.file_containing_symbol or request.file_by_filename
        if reply.error_response.error_code == Code.NOT_FOUND:
            raise OperationNotFoundError(
                "OPERATION_NOT_FOUND", f"nothing is known of {wanted}", metadata={"operation": wanted}
            )
        raise error_for(reply.error_response.error_code)("HANDLER_FAILED", reply.error_response.error_message)
    return [FileDescriptorProto.FromString(data) for data in reply.file_descriptor_response.file_descriptor_proto]


def _require_object(text: str, message: Message) -> None:
    """Raises ParseError for JSON that is no object, which protobuf takes for an empty message, or stumbles over.

    Some of protobuf's own messages are something else in JSON, e.g. a Timestamp is a string.
    """
    if message.DESCRIPTOR.full_name.startswith("google.protobuf."):
        return
    try:
        found = json.loads(text)
    except ValueError:
        return  # protobuf says where it is no JSON
    if not isinstance(found, dict):
        raise json_format.ParseError("a request is a JSON object, in braces")


class _NotingPool:
    """A pool, as far as JSON conversion asks for one, that remembers the type it did not know."""

    def __init__(self, pool: DescriptorPool) -> None:
        self._pool = pool
        self.missing = ""

    def FindMessageTypeByName(self, name: str) -> Descriptor:  # noqa: N802 - protobuf's name
        """The type of this name; KeyError for none."""
        try:
            return self._pool.FindMessageTypeByName(name)
        except KeyError:
            self.missing = name
            raise
