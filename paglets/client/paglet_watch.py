"""A watch of the paglets of a mesh that outlives its connection, and restarts of all hosts."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import grpc

from paglet.v1 import lifecycle_pb2, lifecycle_pb2_grpc
from paglets.client.calls import errors_of_calls
from paglets.client.resume import resumed
from paglets.values import PagletNotice
from paglets.wire.paglet_events import paglet_notice_from_message

__all__ = ["watch_paglets"]


def watch_paglets(
    stub: lifecycle_pb2_grpc.LifecycleServiceAsyncStub, wanted: lifecycle_pb2.WatchPagletsRequest
) -> AsyncGenerator[PagletNotice, None]:
    """What `wanted` asks for, from its cursor on, over any number of connections. Ends as `resumed` does."""

    def open_call(
        after: str,
    ) -> grpc.aio.UnaryStreamCall[lifecycle_pb2.WatchPagletsRequest, lifecycle_pb2.WatchPagletsResponse]:
        request = lifecycle_pb2.WatchPagletsRequest()
        request.CopyFrom(wanted)
        request.cursor = after
        with errors_of_calls():
            return stub.WatchPaglets(request, wait_for_ready=True)

    return resumed("paglets", wanted.cursor, open_call, paglet_notice_from_message, lambda notice: notice.cursor)
