"""What the tests of hosts share: probes, raw calls as any client makes them, refusals as they are on the wire."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import methodcaller

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, ResourceInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from paglets.testing import eventually
from tests.host.probe_service import SERVICE

__all__ = ["PROBE_MODULE", "PROBE_TYPE", "Answer", "Refusal", "ask", "call", "eventually", "new_request", "refused"]

PROBE_MODULE = "tests.host.probe"
PROBE_TYPE = "tests.host.probe.Probe"
_PATIENCE_S = 20.0


@dataclass(frozen=True)
class Answer:
    """A reply, and what came after it."""

    text: str
    trailing: Mapping[str, str | bytes]

    @property
    def replayed(self) -> bool:
        """Whether it was given before."""
        return self.trailing.get("paglet-replayed") == "true"


@dataclass(frozen=True)
class Refusal:
    """An error as a client in any language sees it."""

    code: grpc.StatusCode
    reason: str
    message: str
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    domain: str = ""
    retry_s: float | None = None
    fields: Sequence[str] = ()
    resource: tuple[str, str] | None = None
    trailing: Mapping[str, str | bytes] = field(default_factory=dict[str, str | bytes])

    @property
    def what(self) -> tuple[grpc.StatusCode, str]:
        """Code and reason."""
        return self.code, self.reason


async def ask(
    channel: grpc.aio.Channel,
    paglet_id: str,
    operation: str,
    text: str = "",
    *,
    request_id: str = "",
    timeout_s: float | None = _PATIENCE_S,
    metadata: Sequence[tuple[str, str | bytes]] = (),
) -> Answer:
    """One operation of a probe, called as a generated stub calls it: with the metadata `paglet-id`, nothing of ours."""
    extra: list[tuple[str, str | bytes]] = [("paglet-id", paglet_id), *metadata]
    if request_id:
        extra.append(("paglet-request-id", request_id))
    rpc = channel.unary_unary(
        f"/{SERVICE}/{operation}",
        request_serializer=StringValue.SerializeToString,
        response_deserializer=StringValue.FromString,
    )
    running = rpc(StringValue(value=text), metadata=extra, timeout=timeout_s)
    reply = await running
    return Answer(reply.value, dict(await running.trailing_metadata()))


async def call(
    channel: grpc.aio.Channel,
    path: str,
    request: bytes,
    *,
    metadata: Sequence[tuple[str, str | bytes]] = (),
    timeout_s: float = _PATIENCE_S,
) -> bytes:
    """One unary call of bytes."""
    rpc: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(path)
    return await rpc(request, metadata=metadata, timeout=timeout_s)


async def refused(failing: Awaitable[object]) -> Refusal:
    """How a call that must fail fails."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await failing
    return refusal_of(caught.value)


def refusal_of(error: grpc.aio.AioRpcError) -> Refusal:
    """An error, decoded by the library that everybody uses."""
    info, bad, retry, resource = ErrorInfo(), BadRequest(), RetryInfo(), ResourceInfo()
    # Its types ask for more than it does.
    status: Status | None = methodcaller("from_call", error)(rpc_status)
    details = status.details if status is not None else ()
    found = {type(message) for detail in details for message in (info, bad, retry, resource) if detail.Unpack(message)}
    return Refusal(
        code=error.code(),
        reason=info.reason,
        message=error.details() or "",
        metadata=dict(info.metadata),
        domain=info.domain,
        retry_s=retry.retry_delay.ToNanoseconds() / 1e9 if type(retry) in found else None,
        fields=[violation.field for violation in bad.field_violations],
        resource=(resource.resource_type, resource.resource_name) if type(resource) in found else None,
        trailing=dict(error.trailing_metadata() or ()),
    )


def new_request() -> str:
    """A fresh request id."""
    return str(uuid.uuid4())
