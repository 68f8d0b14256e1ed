"""A watch of a remote directory's rows that outlives its connection."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import grpc

from paglet.v1 import directory_pb2, directory_pb2_grpc
from paglets.client.resume import resumed
from paglets.directory.contract import PagletRow
from paglets.wire.directory import row_from_message

__all__ = ["watch_rows"]


def watch_rows(
    stub: directory_pb2_grpc.DirectoryServiceAsyncStub, after_revision: int
) -> AsyncGenerator[PagletRow, None]:
    """Rows with greater revisions, then each change, over any number of connections.

    Ends as `resumed` does.
    """

    def open_call(
        revision: int,
    ) -> grpc.aio.UnaryStreamCall[directory_pb2.WatchRowsRequest, directory_pb2.WatchRowsResponse]:
        return stub.WatchRows(directory_pb2.WatchRowsRequest(after_revision=revision), wait_for_ready=True)

    return resumed(
        "the directory",
        after_revision,
        open_call,
        lambda message: row_from_message(message.row),
        lambda row: row.revision,
    )
