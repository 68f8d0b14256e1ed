"""A call that is passed on to another host: its messages go both ways as they come, its metadata untouched."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import grpc

from paglets.client.call_end import CallEnd
from paglets.errors import PagletError
from paglets.host.threads import is_cancelled
from paglets.services.outlet import Outlet
from paglets.services.requests import Requests

__all__ = ["Passing"]


class Passing:
    """One call of another host, `call`, for a caller of this one, who is told by `outlet`."""

    def __init__(self, call: grpc.aio.StreamStreamCall[bytes, bytes], outlet: Outlet) -> None:
        self._call = call
        self._end = CallEnd(call)
        self._outlet = outlet
        self._begun = False
        self._cut: PagletError | None = None

    def cut(self, error: PagletError) -> None:
        """Ends it by an error if it is a stream that has begun: its host has said who answers, ahead of the answers."""
        if self._begun:
            self._cut = error
            self._call.cancel()

    async def run(self, requests: Requests) -> Sequence[tuple[str, str | bytes]]:
        """Passes everything on to the end; gives the trailing metadata.

        Raises AioRpcError as the host ended the call, and what it was cut by. Once the host has said anything the
        requests are its own; a refusal comes without initial metadata.
        """
        try:
            initial = tuple(await self._call.initial_metadata() or ())
            if initial:
                requests.settle()
                self._begun = True
                await self._outlet.begin(initial)
            async for message in self._call:
                requests.settle()
                await self._outlet.send(message)
            return self._end.trailing_metadata
        except grpc.aio.AioRpcError as error:
            found = await self._end.error(error)
            if found is None:
                return self._end.trailing_metadata
            raise found from error
        except asyncio.CancelledError as error:
            if self._cut is None or is_cancelled():
                raise
            raise self._cut from error
        finally:
            self._call.cancel()
