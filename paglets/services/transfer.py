"""TransferService: what the source of a journey asks of this host as its target."""

from __future__ import annotations

from paglet.v1 import transfer_pb2 as pb
from paglet.v1 import transfer_pb2_grpc
from paglets.host.host import Host
from paglets.services.guard import ServerContext
from paglets.wire.states import state_to_message
from paglets.wire.status import to_status

__all__ = ["TransferServicer"]

_READY_S = 10.0


class TransferServicer(transfer_pb2_grpc.TransferServiceServicer):
    """Every rpc is one call of the host's arrivals; put it behind the guard."""

    def __init__(self, host: Host) -> None:
        self._host = host

    async def PrepareTransfer(
        self, request: pb.PrepareTransferRequest, context: ServerContext
    ) -> pb.PrepareTransferResponse:
        """Takes an offer, or refuses it."""
        await self._host.wait_ready(_READY_S)
        return await self._host.arrivals.prepare(request)

    async def SealTransfer(self, request: pb.SealTransferRequest, context: ServerContext) -> pb.SealTransferResponse:
        """Proves that everything is here."""
        await self._host.wait_ready(_READY_S)
        return pb.SealTransferResponse(phase=await self._host.arrivals.seal(request.transfer_id))

    async def NudgeTransfer(self, request: pb.NudgeTransferRequest, context: ServerContext) -> pb.NudgeTransferResponse:
        """Looks at the directory, and tells how the arrival ended."""
        await self._host.wait_ready(_READY_S)
        outcome = await self._host.arrivals.nudge(request.transfer_id)
        status = b"" if outcome.error is None else to_status(outcome.error).SerializeToString()
        return pb.NudgeTransferResponse(state=state_to_message(outcome.state), status=status)

    async def AbortTransfer(self, request: pb.AbortTransferRequest, context: ServerContext) -> pb.AbortTransferResponse:
        """Looks at the directory, and drops what is off."""
        await self._host.wait_ready(_READY_S)
        await self._host.arrivals.abort(request.transfer_id)
        return pb.AbortTransferResponse()

    async def GetTransfer(self, request: pb.GetTransferRequest, context: ServerContext) -> pb.GetTransferResponse:
        """Tells how far a transfer has come here."""
        await self._host.wait_ready(_READY_S)
        return pb.GetTransferResponse(phase=self._host.arrivals.phase(request.transfer_id))
