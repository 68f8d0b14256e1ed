"""Operations of a paglet as values: called or posted by whoever has no stub of their service, or learns it late."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message

from paglet.v1 import operation_pb2 as pb
from paglet.v1 import operation_pb2_grpc
from paglets.client.proxy import PagletProxy
from paglets.client.safe_channel import SafeChannel
from paglets.client.unpack import unpack
from paglets.core.turn import next_request_id
from paglets.operations import ServiceOperation

__all__ = ["OperationClient"]

ReplyT = TypeVar("ReplyT", bound=Message)


@dataclass(frozen=True, slots=True)
class OperationClient:
    """The operations of one paglet, wherever it is: `await OperationClient(proxy).call(ADD, request, AddResponse)`.

    Each call has a fresh request id unless it is given one, and while the host cannot be reached, or the paglet moves,
    it is made again with the same id: it runs once. All methods raise PagletErrors, as the proxy's stubs do.
    """

    proxy: PagletProxy

    async def call(
        self,
        operation: ServiceOperation,
        request: Message,
        reply_type: type[ReplyT],
        *,
        require_active: bool = False,
        request_id: str = "",
        timeout_s: float | None = None,
    ) -> ReplyT:
        """Calls a unary operation and gives its reply, which is the same as by its stub.

        With `require_active` a paglet that is inactive stays so, and the call fails with PAGLET_INACTIVE. `timeout_s`
        is in seconds, the client's own for None, `math.inf` for none. Raises before anything is sent: OPERATION_STREAMS
        for one that is not unary, CONTRACT_VIOLATED if it takes or gives other messages than these; and REPLY_INVALID
        for a reply that is no `reply_type`.
        """
        operation.require_unary()
        operation.require_messages(type(request), reply_type)
        reply = await self.call_any(
            operation.full_name,
            _packed(request),
            require_active=require_active,
            request_id=request_id,
            timeout_s=timeout_s,
        )
        return unpack(reply, reply_type, f"the reply of {operation.full_name}")

    async def call_any(
        self,
        operation: str,
        request: AnyMessage,
        *,
        require_active: bool = False,
        request_id: str = "",
        timeout_s: float | None = None,
    ) -> AnyMessage:
        """As `call`, of `pkg.Service/Method` and messages that nobody here needs to know.

        Raises MALFORMED_REQUEST for a request of another type. The reply has no type if the paglet answers the
        operation without a descriptor of it.
        """
        wanted = pb.InvokeOperationRequest(
            request_id=request_id or next_request_id(),
            paglet_id=self.proxy.paglet_id,
            operation=operation,
            request=request,
            require_active=require_active,
        )
        return (await self._stub().InvokeOperation(wanted, timeout=timeout_s)).reply

    async def post(self, operation: ServiceOperation, request: Message, *, request_id: str = "") -> str:
        """Leaves an operation with the paglet and does not wait for it; returns the post's id, as `Client.post` does.

        Raises OPERATION_STREAMS and CONTRACT_VIOLATED before anything is sent, as `call` does.
        """
        operation.require_unary()
        operation.require_messages(type(request))
        return await self.post_any(operation.full_name, _packed(request), request_id=request_id)

    async def post_any(self, operation: str, request: AnyMessage, *, request_id: str = "") -> str:
        """As `post`, of `pkg.Service/Method` and a message that nobody here needs to know."""
        wanted = pb.PostOperationRequest(
            request_id=request_id or next_request_id(),
            paglet_id=self.proxy.paglet_id,
            operation=operation,
            request=request,
        )
        return (await self._stub().PostOperation(wanted)).post_id

    def _stub(self) -> operation_pb2_grpc.OperationServiceAsyncStub:
        home = self.proxy.client
        stub: operation_pb2_grpc.OperationServiceAsyncStub = operation_pb2_grpc.OperationServiceStub(
            SafeChannel(home.channel, policy=home.policy)
        )
        return stub


def _packed(request: Message) -> AnyMessage:
    packed = AnyMessage()
    packed.Pack(request)
    return packed
