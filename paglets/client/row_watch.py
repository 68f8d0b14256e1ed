"""Watches of a remote directory that outlive their connections: of rows, of writes to them, of hosts, of services."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

import grpc

from paglet.v1 import directory_pb2, directory_pb2_grpc
from paglets.client.resume import resumed
from paglets.directory.contract import PagletRow, RowNotice, ServiceNews
from paglets.values import HostRef
from paglets.wire.directory import host_from_row_message, notice_from_message, row_from_message
from paglets.wire.services import news_from_message

__all__ = ["watch_host_rows", "watch_row_events", "watch_rows", "watch_service_rows"]


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


def watch_row_events(
    stub: directory_pb2_grpc.DirectoryServiceAsyncStub, cursor: str, wanted: directory_pb2.WatchEventsRequest
) -> AsyncGenerator[RowNotice, None]:
    """Every write after `cursor` that `wanted` asks for, over any number of connections. Ends as `resumed` does."""

    def open_call(
        after: str,
    ) -> grpc.aio.UnaryStreamCall[directory_pb2.WatchEventsRequest, directory_pb2.WatchEventsResponse]:
        request = directory_pb2.WatchEventsRequest()
        request.CopyFrom(wanted)
        request.cursor = after
        return stub.WatchEvents(request, wait_for_ready=True)

    return resumed("what the directory writes", cursor, open_call, notice_from_message, lambda notice: notice.cursor)


def watch_host_rows(
    stub: directory_pb2_grpc.DirectoryServiceAsyncStub,
) -> AsyncGenerator[Sequence[HostRef], None]:
    """All hosts, and again whenever one changes, over any number of connections. Ends as `resumed` does."""

    def open_call(
        _after: str,
    ) -> grpc.aio.UnaryStreamCall[directory_pb2.WatchHostRowsRequest, directory_pb2.WatchHostRowsResponse]:
        return stub.WatchHostRows(directory_pb2.WatchHostRowsRequest(), wait_for_ready=True)

    return resumed(
        "the hosts", "", open_call, lambda message: [host_from_row_message(row) for row in message.hosts], lambda _: ""
    )


def watch_service_rows(
    stub: directory_pb2_grpc.DirectoryServiceAsyncStub, host: str
) -> AsyncGenerator[ServiceNews, None]:
    """The records that `host` may tell of, and what becomes of them; each connection begins anew. Ends as `resumed`."""

    def open_call(
        _after: str,
    ) -> grpc.aio.UnaryStreamCall[directory_pb2.WatchServiceRowsRequest, directory_pb2.WatchServiceRowsResponse]:
        return stub.WatchServiceRows(directory_pb2.WatchServiceRowsRequest(host=host), wait_for_ready=True)

    return resumed("services", "", open_call, news_from_message, lambda _: "")
