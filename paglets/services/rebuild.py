"""RebuildService: registers again what a lost directory knew, and this host's part in that."""

from __future__ import annotations

from paglet.v1 import rebuild_pb2 as pb
from paglet.v1 import rebuild_pb2_grpc
from paglets.host.host import Host
from paglets.services.guard import ServerContext

__all__ = ["RebuildServicer"]

_READY_S = 10.0


class RebuildServicer(rebuild_pb2_grpc.RebuildServiceServicer):
    """Every rpc is one call of the host; put it behind the guard."""

    def __init__(self, host: Host) -> None:
        self._host = host

    async def RebuildDirectory(
        self, request: pb.RebuildDirectoryRequest, context: ServerContext
    ) -> pb.RebuildDirectoryResponse:
        """Registers what the directory does not know."""
        await self._host.wait_ready(_READY_S)
        return await self._host.rebuild.run(dry_run=request.dry_run)

    async def ListJournal(self, request: pb.ListJournalRequest, context: ServerContext) -> pb.ListJournalResponse:
        """Tells one page of what the journal has."""
        await self._host.wait_ready(_READY_S)
        watched = await self._host.watched_revision()
        entries = await self._host.salvage.journal(request.after)
        return pb.ListJournalResponse(entries=entries, watched_revision=watched)

    async def TakeUpPaglets(self, request: pb.TakeUpPagletsRequest, context: ServerContext) -> pb.TakeUpPagletsResponse:
        """Serves what was registered anew."""
        await self._host.wait_ready(_READY_S)
        await self._host.salvage.take_up(request.paglet_ids)
        return pb.TakeUpPagletsResponse()
