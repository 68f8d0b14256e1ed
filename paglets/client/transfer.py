"""How one host speaks to another about a transfer."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

import grpc

from paglet.v1 import transfer_pb2 as pb
from paglet.v1.transfer_pb2_grpc import TransferServiceStub
from paglets.errors import DeadlineError, UnavailableError
from paglets.wire.status import from_rpc_error

__all__ = ["TransferPeer"]

ReplyT = TypeVar("ReplyT")
_COMES_BACK_S = 3.0
"""Longer than a channel pauses before it connects again."""


class TransferPeer:
    """TransferService of one host. Raises PagletErrors; every call is idempotent by its transfer."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = TransferServiceStub(channel)

    async def prepare(self, request: pb.PrepareTransferRequest, timeout_s: float) -> pb.PrepareTransferResponse:
        """Offers a paglet; a host that was away until now, and is known to be back, is given a moment."""
        try:
            return await _raised(self._stub.PrepareTransfer(request, timeout=timeout_s))
        except UnavailableError as error:
            if error.reason != "TRANSPORT":
                raise
            unreached = error
        try:
            again = self._stub.PrepareTransfer(request, timeout=min(timeout_s, _COMES_BACK_S), wait_for_ready=True)
            return await _raised(again)
        except DeadlineError:
            raise unreached from None

    async def seal(self, transfer_id: str, timeout_s: float) -> pb.SealTransferResponse:
        """Asks for the proof that everything is durable."""
        return await _raised(
            self._stub.SealTransfer(pb.SealTransferRequest(transfer_id=transfer_id), timeout=timeout_s)
        )

    async def nudge(self, transfer_id: str) -> pb.NudgeTransferResponse:
        """Tells of the commit, and waits for the end of the arrival turn."""
        return await _raised(self._stub.NudgeTransfer(pb.NudgeTransferRequest(transfer_id=transfer_id)))

    async def abort(self, transfer_id: str, timeout_s: float) -> None:
        """Tells that there will be no commit."""
        await _raised(self._stub.AbortTransfer(pb.AbortTransferRequest(transfer_id=transfer_id), timeout=timeout_s))

    async def phase(self, transfer_id: str, timeout_s: float) -> pb.TransferPhase.ValueType:
        """How far the target has come."""
        request = pb.GetTransferRequest(transfer_id=transfer_id)
        return (await _raised(self._stub.GetTransfer(request, timeout=timeout_s))).phase


async def _raised(call: Awaitable[ReplyT]) -> ReplyT:
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error) from error
