"""Calls by the generic door as any client makes them: with the generated stub, and nothing of ours."""

from __future__ import annotations

from collections.abc import Sequence

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.wrappers_pb2 import StringValue

from paglet.v1 import operation_pb2 as pb
from paglet.v1 import operation_pb2_grpc
from tests.host.probe_service import SERVICE
from tests.host.support import Answer

__all__ = ["Pairs", "door", "envelope", "invoke"]

Pairs = Sequence[tuple[str, str | bytes]]


def door(channel: grpc.aio.Channel) -> operation_pb2_grpc.OperationServiceAsyncStub:
    """The generated stub."""
    stub: operation_pb2_grpc.OperationServiceAsyncStub = operation_pb2_grpc.OperationServiceStub(channel)
    return stub


def envelope(
    paglet_id: str, operation: str, text: str = "", *, request_id: str = "", require_active: bool = False
) -> pb.InvokeOperationRequest:
    """One operation of a probe, to be called."""
    packed = AnyMessage()
    packed.Pack(StringValue(value=text))
    return pb.InvokeOperationRequest(
        request_id=request_id,
        paglet_id=paglet_id,
        operation=f"{SERVICE}/{operation}",
        request=packed,
        require_active=require_active,
    )


async def invoke(
    channel: grpc.aio.Channel, request: pb.InvokeOperationRequest, *, metadata: Pairs = (), timeout_s: float = 20.0
) -> Answer:
    """Calls an operation of a probe."""
    running = door(channel).InvokeOperation(request, metadata=metadata, timeout=timeout_s)
    reply = StringValue()
    assert (await running).reply.Unpack(reply)
    return Answer(reply.value, dict(await running.trailing_metadata()))
