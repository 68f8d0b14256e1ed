"""RebuildService: registers again what a lost directory knew, and this host's part in that."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from paglet.v1 import rebuild_pb2 as pb
from paglet.v1 import rebuild_pb2_grpc
from paglets.host.host import Host
from paglets.host.rebuild import Rebuilt
from paglets.services.guard import ServerContext

__all__ = ["RebuildServicer", "messages_of"]

_READY_S = 10.0
_PAGLETS = 1000
_BYTES = 1 << 20  # the names of many hosts can be long; a message has 4 MiB at most


class RebuildServicer(rebuild_pb2_grpc.RebuildServiceServicer):
    """Every rpc is one call of the host; put it behind the guard."""

    def __init__(self, host: Host) -> None:
        self._host = host

    async def RebuildDirectory(
        self, request: pb.RebuildDirectoryRequest, context: ServerContext
    ) -> AsyncIterator[pb.RebuildDirectoryResponse]:
        """Registers what the directory does not know, then tells of all of it."""
        await self._host.wait_ready(_READY_S)
        for message in messages_of(await self._host.rebuild.run(dry_run=request.dry_run)):
            yield message

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


def messages_of(rebuilt: Rebuilt) -> Iterator[pb.RebuildDirectoryResponse]:
    """The answer in messages that are small enough, one at least: the hosts are in the first."""
    message = pb.RebuildDirectoryResponse(heard=rebuilt.heard, unheard=rebuilt.unheard)
    taken = 0
    for found in rebuilt.paglets:
        taken += found.ByteSize()
        if len(message.paglets) == _PAGLETS or taken > _BYTES:
            yield message
            message, taken = pb.RebuildDirectoryResponse(), found.ByteSize()
        message.paglets.append(found)
    yield message
