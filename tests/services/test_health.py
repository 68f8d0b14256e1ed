"""grpc.health.v1 as stock clients use it: checked, and watched to keep calls away from a host that ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import grpc
import pytest
from grpc_health.v1 import health_pb2

from paglets.testing import local_host
from tests.host.support import call

UNKNOWN_SERVICE = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
GET_HOST = "/paglet.v1.MeshService/GetHost"


async def _watch(channel: grpc.aio.Channel, service: str) -> AsyncIterator[int]:
    rpc = channel.unary_stream(
        "/grpc.health.v1.Health/Watch",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    async for answer in rpc(health_pb2.HealthCheckRequest(service=service), timeout=20):
        yield answer.status


async def _check(channel: grpc.aio.Channel, service: str) -> int:
    request = health_pb2.HealthCheckRequest(service=service).SerializeToString()
    return health_pb2.HealthCheckResponse.FromString(
        await call(channel, "/grpc.health.v1.Health/Check", request)
    ).status


async def test_health_is_checked() -> None:
    """The host and each of its services serve; what it does not have is NOT_FOUND."""
    async with local_host() as host, grpc.aio.insecure_channel(host.address) as channel:
        for service in ("", "paglet.v1.MeshService", "grpc.health.v1.Health"):
            assert await _check(channel, service) == SERVING
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await _check(channel, "nope")
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("service", ["", "paglet.v1.LifecycleService"])
async def test_watch_follows_the_end_of_the_host(service: str) -> None:
    """A watch tells SERVING, then NOT_SERVING once the host is about to end, and holds up its end no longer."""
    async with AsyncExitStack() as stack:
        host = await stack.enter_async_context(local_host())
        async with grpc.aio.insecure_channel(host.address) as channel:
            statuses = _watch(channel, service)
            assert await anext(statuses) == SERVING
            ending = asyncio.create_task(stack.aclose())
            assert await anext(statuses) == NOT_SERVING
            assert [status async for status in statuses] == []
            await ending


async def test_service_that_is_unknown_is_watched_all_the_same() -> None:
    """A watch of a service that the host does not have tells SERVICE_UNKNOWN, and stays open."""
    async with local_host() as host, grpc.aio.insecure_channel(host.address) as channel:
        statuses = _watch(channel, "nope")
        assert await anext(statuses) == UNKNOWN_SERVICE
        waiting = asyncio.ensure_future(anext(statuses))
        assert await _check(channel, "") == SERVING
        assert not waiting.done()
        waiting.cancel()
        await asyncio.wait([waiting])


async def test_client_that_checks_health_gets_through() -> None:
    """A stock channel with a health check in its service config calls the host as soon as that serves."""
    config = '{"loadBalancingConfig": [{"round_robin": {}}], "healthCheckConfig": {"serviceName": ""}}'
    options = [("grpc.service_config", config)]
    async with local_host() as host, grpc.aio.insecure_channel(host.address, options=options) as channel:
        assert await call(channel, GET_HOST, b"")
