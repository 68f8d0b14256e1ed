"""Server reflection, v1 and v1alpha: the same messages under two names."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from operator import methodcaller
from typing import Final

import grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha._async import ReflectionServicer

from paglets.services.guard import GuardedServices, ServerContext

__all__ = ["REFLECTION_SERVICES", "add_reflection"]

REFLECTION_SERVICES: Final = ("grpc.reflection.v1alpha.ServerReflection", "grpc.reflection.v1.ServerReflection")


def add_reflection(services: GuardedServices, names: Iterable[str]) -> None:
    """Lets the host describe its own services and, by `names`, those that its paglets answer."""
    servicer = ReflectionServicer((*services.service_names, *REFLECTION_SERVICES, *names))

    async def describe(
        requests: AsyncIterator[reflection_pb2.ServerReflectionRequest], context: ServerContext
    ) -> AsyncIterator[reflection_pb2.ServerReflectionResponse]:
        # The stubs leave the servicer's method half typed.
        answers: AsyncIterator[reflection_pb2.ServerReflectionResponse]
        answers = methodcaller("ServerReflectionInfo", requests, context)(servicer)
        async for answer in answers:
            yield answer

    handler = grpc.stream_stream_rpc_method_handler(
        describe,
        reflection_pb2.ServerReflectionRequest.FromString,
        reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    services.add_registered_method_handlers(REFLECTION_SERVICES[0], {"ServerReflectionInfo": handler})
    services.alias(*REFLECTION_SERVICES)
