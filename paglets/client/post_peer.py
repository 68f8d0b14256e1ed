"""How a host passes on what its paglets post."""

from __future__ import annotations

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage

from paglet.v1 import operation_pb2, operation_pb2_grpc
from paglets.client.calls import errors_of_calls
from paglets.core.cause import OutgoingPost
from paglets.wire.metadata import CHAIN_KEY

__all__ = ["PostPeer"]


class PostPeer:
    """OperationService of one host, through which all paglets are reached. Raises PagletErrors."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub: operation_pb2_grpc.OperationServiceAsyncStub = operation_pb2_grpc.OperationServiceStub(channel)

    async def send(self, sender: str, post: OutgoingPost, timeout_s: float) -> None:
        """Leaves a post of the paglet `sender` with its receiver; safe to repeat."""
        request = operation_pb2.PostOperationRequest(
            request_id=post.request_id,
            paglet_id=post.paglet_id,
            operation=post.operation,
            request=AnyMessage(type_url=post.type_url, value=post.request),
        )
        with errors_of_calls():
            await self._stub.PostOperation(request, timeout=timeout_s, metadata=((CHAIN_KEY, sender),))
