"""What the tests of posts share: posts to probes as any client makes them, and a look at what has run."""

from __future__ import annotations

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.wrappers_pb2 import StringValue

from paglet.v1 import operation_pb2 as pb
from paglets.testing import eventually
from tests.host.conftest import Site
from tests.host.probe_service import SERVICE
from tests.host.support import ask

__all__ = ["closed", "post", "ran"]


async def post(
    channel: grpc.aio.Channel,
    paglet_id: str,
    operation: str,
    text: str = "",
    *,
    request_id: str = "",
    timeout_s: float = 20.0,
) -> str:
    """Posts one operation of a probe as a generated stub does; gives the post's id."""
    rpc = channel.unary_unary(
        "/paglet.v1.OperationService/PostOperation",
        request_serializer=pb.PostOperationRequest.SerializeToString,
        response_deserializer=pb.PostOperationResponse.FromString,
    )
    packed = AnyMessage()
    packed.Pack(StringValue(value=text))
    request = pb.PostOperationRequest(
        request_id=request_id, paglet_id=paglet_id, operation=f"{SERVICE}/{operation}", request=packed
    )
    return (await rpc(request, timeout=timeout_s)).post_id


async def ran(site: Site, paglet_id: str, lines: str) -> None:
    """Waits until the durable lines of a probe are these."""

    async def look() -> bool:
        return (await ask(site.channel, paglet_id, "Read")).text == lines

    await eventually(look, what=f"the lines {lines!r}")


async def closed(site: Site, paglet_id: str) -> None:
    """Waits until the gate of a probe lets nobody in, since the probe is about to leave or to end."""

    async def look() -> bool:
        try:
            await ask(site.channel, paglet_id, "Read", timeout_s=0.2)
        except grpc.aio.AioRpcError as error:
            return error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        return False

    await eventually(look, what="a closed gate")
