"""A watch of a remote directory's rows that outlives its connection: it goes on where it was, and nobody notices."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing

from paglet.v1 import directory_pb2, directory_pb2_grpc
from paglets.client.calls import errors_of_calls
from paglets.directory.contract import PagletRow
from paglets.errors import InvalidArgumentError, PagletError
from paglets.wire.directory import row_from_message

__all__ = ["watch_rows"]

_FIRST_PAUSE_S = 0.1
_LAST_PAUSE_S = 2.0

_log = logging.getLogger(__name__)


async def watch_rows(
    stub: directory_pb2_grpc.DirectoryServiceAsyncStub, after_revision: int
) -> AsyncGenerator[PagletRow, None]:
    """Rows with greater revisions, then each change; a stream that ends is asked for again, from the last row seen.

    Ends only when it is closed or cancelled, or by an error: the request itself is refused, or its channel is closed.
    Each broken stream is logged.
    """
    seen, pause_s = after_revision, _FIRST_PAUSE_S
    while True:
        began = asyncio.get_running_loop().time()
        async with aclosing(_one_stream(stub, seen)) as rows:
            async for row in rows:
                seen = row.revision
                yield row
        if asyncio.get_running_loop().time() - began > _LAST_PAUSE_S:
            pause_s = _FIRST_PAUSE_S
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 2, _LAST_PAUSE_S)


async def _one_stream(
    stub: directory_pb2_grpc.DirectoryServiceAsyncStub, after_revision: int
) -> AsyncGenerator[PagletRow, None]:
    """The rows of one stream; its end is logged and no error, unless the directory finds fault with the request."""
    request = directory_pb2.WatchRowsRequest(after_revision=after_revision)
    call = stub.WatchRows(request, wait_for_ready=True)
    why = "it ended"
    try:
        with errors_of_calls():
            async for message in call:
                yield row_from_message(message.row)
    except InvalidArgumentError:
        raise
    except PagletError as error:
        why = repr(error)
    finally:
        call.cancel()
    _log.warning("the watch of the directory broke: %s; it goes on after the last row seen", why)
