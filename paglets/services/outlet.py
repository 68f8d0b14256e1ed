"""How a stream answers: bytes to its caller, for as long as he takes them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any, TypeAlias

import grpc

from paglets.artifacts.disk import unbroken
from paglets.errors import CancelledCallError, DeadlineError
from paglets.host.threads import is_cancelled

__all__ = ["STALL_TIMEOUT_S", "Outlet", "ServerContext"]

STALL_TIMEOUT_S = 60.0
"""How long a caller may take nothing of what a stream has for him."""

ServerContext: TypeAlias = grpc.aio.ServicerContext[Any, Any]


class Outlet:
    """The answers of one stream. One at a time; a caller who is gone is CANCELLED."""

    def __init__(self, context: ServerContext, stall_timeout_s: float = STALL_TIMEOUT_S) -> None:
        self._context = context
        self._stall_timeout_s = stall_timeout_s
        self._begun = False

    async def begin(self, metadata: Sequence[tuple[str, str | bytes]] = ()) -> None:
        """Sends the initial metadata, if they are not sent yet.

        To its end: gRPC cannot tell a status where it does not know whether the metadata have left.
        """
        if not self._begun:
            self._begun = True
            await self._heard(unbroken(self._context.send_initial_metadata(tuple(metadata))))

    async def send(self, data: bytes) -> None:
        """Sends a message, initial metadata first. Raises DEADLINE_EXCEEDED when he stands still for too long."""
        await self.begin()
        try:
            async with asyncio.timeout(self._stall_timeout_s):
                await self._heard(self._context.write(data))
        except TimeoutError as error:
            raise DeadlineError(
                "DEADLINE_EXCEEDED", f"the caller took nothing for {self._stall_timeout_s} s"
            ) from error

    async def _heard(self, sending: Awaitable[None]) -> None:
        """Awaits what gRPC sends; a caller who has left is an error like any other, and no cancellation of ours."""
        try:
            await sending
        except (grpc.aio.InternalError, asyncio.CancelledError) as error:
            if is_cancelled():
                raise
            raise CancelledCallError("CANCELLED", "the caller has left") from error
