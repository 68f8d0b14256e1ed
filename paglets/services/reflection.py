"""Server reflection, v1 and v1alpha: the same messages under two names."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from functools import cache
from operator import methodcaller
from typing import Final

import grpc
from google.protobuf import descriptor_pool, text_format
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha._async import ReflectionServicer

from paglets.services.guard import GuardedServices, ServerContext

__all__ = ["REFLECTION_SERVICES", "add_reflection"]

REFLECTION_SERVICES: Final = ("grpc.reflection.v1alpha.ServerReflection", "grpc.reflection.v1.ServerReflection")

_NEWEST_SYMBOLS, _NEWEST_FILE = "grpc.reflection.v1.", "grpc_reflection/v1/reflection.proto"


def add_reflection(services: GuardedServices, names: Iterable[str]) -> None:
    """Lets the host describe its own services and, by `names`, those that its paglets answer."""
    known = ReflectionServicer((*services.service_names, *REFLECTION_SERVICES, *names))

    async def describe(
        requests: AsyncIterator[reflection_pb2.ServerReflectionRequest], context: ServerContext
    ) -> AsyncIterator[reflection_pb2.ServerReflectionResponse]:
        async for request in requests:
            servicer = _newest() if _is_of_newest(request) else known
            # The stubs leave the servicer's method half typed.
            answers: AsyncIterator[reflection_pb2.ServerReflectionResponse]
            answers = methodcaller("ServerReflectionInfo", _one(_with_service(request)), context)(servicer)
            async for answer in answers:
                answer.original_request.CopyFrom(request)
                yield answer

    handler = grpc.stream_stream_rpc_method_handler(
        describe,
        reflection_pb2.ServerReflectionRequest.FromString,
        reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    services.add_registered_method_handlers(REFLECTION_SERVICES[0], {"ServerReflectionInfo": handler})
    services.alias(*REFLECTION_SERVICES)


async def _one(
    request: reflection_pb2.ServerReflectionRequest,
) -> AsyncIterator[reflection_pb2.ServerReflectionRequest]:
    yield request


@cache
def _newest() -> ReflectionServicer:
    """Tells of reflection's own v1, which grpc_reflection does not bring; it differs from v1alpha in its package only.

    Few ask for it, and a start would take a twentieth longer.
    """
    old = FileDescriptorProto.FromString(reflection_pb2.DESCRIPTOR.serialized_pb)
    text = text_format.MessageToString(old).replace("v1alpha", "v1")
    pool = DescriptorPool()
    pool.Add(text_format.Parse(text, FileDescriptorProto()))
    return ReflectionServicer((), pool)


def _is_of_newest(request: reflection_pb2.ServerReflectionRequest) -> bool:
    return (
        request.file_containing_symbol.startswith(_NEWEST_SYMBOLS)
        or request.file_containing_extension.containing_type.startswith(_NEWEST_SYMBOLS)
        or request.file_by_filename == _NEWEST_FILE
    )


def _with_service(request: reflection_pb2.ServerReflectionRequest) -> reflection_pb2.ServerReflectionRequest:
    """The same, asking for the service where an rpc was asked for: protobuf's pools find no rpc by its name."""
    service, _, rpc = request.file_containing_symbol.rpartition(".")
    try:
        is_rpc = rpc in descriptor_pool.Default().FindServiceByName(service or rpc).methods_by_name
    except KeyError:
        is_rpc = False
    if service in REFLECTION_SERVICES:
        is_rpc = rpc == "ServerReflectionInfo"
    return reflection_pb2.ServerReflectionRequest(file_containing_symbol=service) if is_rpc else request
