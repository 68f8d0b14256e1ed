"""RebuildService of one host: what its journal has, and what it is to take up."""

from __future__ import annotations

from collections.abc import Sequence

import grpc

from paglet.v1 import rebuild_pb2 as pb
from paglet.v1 import rebuild_pb2_grpc
from paglets.client.calls import errors_of_calls

__all__ = ["RebuildPeer"]


class RebuildPeer:
    """RebuildService over a channel, which stays its owner's to close. Raises PagletErrors; all is safe to repeat."""

    def __init__(self, channel: grpc.aio.Channel, *, deadline_s: float = 15.0) -> None:
        self._stub: rebuild_pb2_grpc.RebuildServiceAsyncStub = rebuild_pb2_grpc.RebuildServiceStub(channel)
        self._deadline_s = deadline_s

    async def rebuild(self, *, dry_run: bool, timeout_s: float | None = None) -> pb.RebuildDirectoryResponse:
        """Registers what the mesh's directory has lost, or tells what would be; waits as long as it takes.

        All messages of the answer are made one. When it breaks all of it may have been done; repeat it.
        """
        told = pb.RebuildDirectoryResponse()
        with errors_of_calls():
            async for message in self._stub.RebuildDirectory(
                pb.RebuildDirectoryRequest(dry_run=dry_run), timeout=timeout_s
            ):
                told.MergeFrom(message)
        return told

    async def journal(self) -> tuple[Sequence[pb.JournalEntry], int]:
        """All paglets that the host's journal has, and the greatest revision that it has seen."""
        entries: list[pb.JournalEntry] = []
        while True:
            request = pb.ListJournalRequest(after=entries[-1].paglet_id if entries else "")
            with errors_of_calls():
                page = await self._stub.ListJournal(request, timeout=self._deadline_s)
            entries.extend(page.entries)
            if not page.entries:
                return entries, page.watched_revision

    async def take_up(self, paglet_ids: Sequence[str]) -> None:
        """Tells the host that rows of its own, at most 1000, were registered anew."""
        with errors_of_calls():
            await self._stub.TakeUpPaglets(pb.TakeUpPagletsRequest(paglet_ids=paglet_ids), timeout=self._deadline_s)
