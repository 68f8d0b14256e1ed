"""The host that commands ask: whether it is there, serves, and is one of ours; and what stands in its way."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import suppress
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from paglets.cli.checks.finding import Finding, failed, ok, warning
from paglets.cli.checks.listener import explained
from paglets.cli.checks.mesh import mesh
from paglets.errors import DeadlineError, NotFoundError, OperationNotFoundError, PagletError, UnavailableError

if TYPE_CHECKING:
    from paglets.client.client import Client

__all__ = ["asked_host", "proxies"]

_PROXIES = ("grpc_proxy", "https_proxy", "http_proxy")
_SPARING = ("no_grpc_proxy", "no_proxy")
"""What gRPC reads, in this order, and in small letters only."""
_OURS = "paglet.v1.MeshService"
"""A service that every host of this protocol has, and nothing else."""
_REMEDY = "Start one with `paglets host serve`, or name another with --host ADDRESS or PAGLETS_HOST."


def proxies(address: str) -> Iterator[Finding]:
    """Proxies that a gRPC client of anybody's own would go by. Ours never do."""
    name = address.rpartition(":")[0].strip("[]")
    proxy, spared = _first_set(_PROXIES), os.environ.get(_first_set(_SPARING), "")
    if proxy and not address.startswith("unix:") and not any(_fits(name, part) for part in spared.split(",")):
        yield warning(
            "proxy",
            f"{proxy} is set: gRPC clients of your own call {name} through it, though paglets does not",
            f"Add {name} to {_first_set(_SPARING) or 'no_proxy'}, or have them set grpc.enable_http_proxy=0.",
        )


def _first_set(variables: Iterable[str]) -> str:
    return next((variable for variable in variables if os.environ.get(variable)), "")


def _fits(name: str, spared: str) -> bool:
    """Whether gRPC takes a name or an address as one that a part of no_proxy spares: by its end, or as a network."""
    spared = spared.strip()
    with suppress(ValueError):
        return ip_address(name) in ip_network(spared, strict=False)
    return spared != "" and name.endswith(spared)


async def asked_host(address: str, timeout_s: float) -> AsyncGenerator[Finding]:
    """Asks it how it is, then of its mesh; nothing more of one that is not there."""
    from paglets.client.client import Client

    async with Client(address, timeout_s=timeout_s) as client:
        answered = await _answered(client, timeout_s)
        yield answered
        if answered.status == "ok":
            async for finding in mesh(client, timeout_s):
                yield finding


async def _answered(client: Client, timeout_s: float) -> Finding:
    from grpc_health.v1.health_pb2 import HealthCheckResponse

    try:
        serves = await _health(client, "", timeout_s) == HealthCheckResponse.SERVING
        began = time.perf_counter()
        if serves:
            await _health(client, _OURS, timeout_s)
        took_ms = (time.perf_counter() - began) * 1000
    except (UnavailableError, DeadlineError):
        why = await explained(client.address, timeout_s)
        return failed("host", f"no host answers at {client.address}: {why}", _REMEDY)
    except (NotFoundError, OperationNotFoundError) as error:
        return failed("host", f"a gRPC server is at {client.address}, but no host ({error.message})", _REMEDY)
    except PagletError as error:
        return failed("host", f"{client.address} answers by an error: {error.message}", f"Try again later. {_REMEDY}")
    if not serves:
        return failed(
            "host",
            f"the host at {client.address} does not serve: it has not started yet, or ends",
            "Wait a moment. If it stays so, its own output tells why; --log-level info tells more.",
        )
    return ok("host", f"{client.address} serves, and answers in {took_ms:.1f} ms")


async def _health(client: Client, service: str, timeout_s: float) -> int:
    """How a service stands. Raises NotFoundError for one that there is not."""
    from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

    from paglets.client.calls import errors_of_calls

    check = client.channel.unary_unary(
        "/grpc.health.v1.Health/Check", HealthCheckRequest.SerializeToString, HealthCheckResponse.FromString
    )
    with errors_of_calls():
        reply = await check(HealthCheckRequest(service=service), timeout=timeout_s)
    return reply.status
