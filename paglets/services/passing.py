"""A call that is passed on to another host: its messages go both ways as they come, its metadata untouched."""

from __future__ import annotations

from collections.abc import Sequence

import grpc

from paglets.client.call_end import CallEnd
from paglets.services.outlet import Outlet
from paglets.services.requests import Requests

__all__ = ["Passing"]


class Passing:
    """One call of another host, `call`, for a caller of this one, who is told by `outlet`."""

    def __init__(self, call: grpc.aio.StreamStreamCall[bytes, bytes], outlet: Outlet) -> None:
        self._call = call
        self._end = CallEnd(call)
        self._outlet = outlet

    async def run(self, requests: Requests) -> Sequence[tuple[str, str | bytes]]:
        """Passes everything on to the end; gives the trailing metadata. Raises AioRpcError as the host ended the call.

        Once the host has said anything the requests are its own; a refusal comes without initial metadata.
        """
        try:
            initial = tuple(await self._call.initial_metadata() or ())
            if initial:
                requests.settle()
                await self._outlet.begin(initial)
            async for message in self._call:
                requests.settle()
                await self._outlet.send(message)
            return tuple(await self._call.trailing_metadata() or ())
        except grpc.aio.AioRpcError as error:
            found = await self._end.error(error)
            if found is None:
                return tuple(await self._call.trailing_metadata() or ())
            raise found from error
        finally:
            self._call.cancel()
