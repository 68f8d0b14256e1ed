"""The requests of a stream on their way to a paglet, which may turn out to be elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

import grpc

from paglets.errors import DeadlineError, InvalidArgumentError
from paglets.services.outlet import ServerContext

__all__ = ["Requests", "requests_of"]

_MAX_KEPT_BYTES = 1 << 20


async def requests_of(context: ServerContext) -> AsyncGenerator[bytes]:
    """The messages of a call, as they come. Raises CancelledError for a caller who has left.

    To gRPC one who leaves looks like one who has sent all he has, until it is told that the call is cancelled, which
    may be a moment later. Being asked once more it has been told: what it is told comes in order.
    """
    while (message := await context.read()) is not grpc.aio.EOF:
        yield message
    await context.read()


class Requests:
    """The messages that come from a caller, given out from the first one again until somebody has taken the call.

    What was given out is kept for that, up to 1 MiB; `close` it at the end. One `messages` is read at a time.
    """

    def __init__(self, source: AsyncIterator[bytes]) -> None:
        self._source = source
        self._kept: list[bytes] | None = []
        self._kept_bytes = 0
        self._next: asyncio.Task[bytes | None] | None = None

    @property
    def can_begin_anew(self) -> bool:
        """Whether all that was given out is kept."""
        return self._kept is not None

    def settle(self) -> None:
        """Somebody has taken the call: nothing is kept any more."""
        self._kept = None

    async def messages(self) -> AsyncGenerator[bytes]:
        """All messages, as they come."""
        for message in list(self._kept or ()):
            yield message
        while (message := await self._read()) is not None:
            yield message

    async def only(self, timeout_s: float) -> bytes:
        """The one message of a unary call, kept whatever its size. Raises MALFORMED_REQUEST for none, or for more.

        Raises DEADLINE_BEFORE_RUN when the caller has not said within `timeout_s` seconds that there are no more.
        """
        found: list[bytes] = []
        try:
            async with asyncio.timeout(timeout_s), aclosing(self.messages()) as messages:
                async for message in messages:
                    found.append(message)
                    if len(found) > 1:
                        break
        except TimeoutError as error:
            raise DeadlineError("DEADLINE_BEFORE_RUN", "the call has one request, and did not end with it") from error
        if len(found) != 1:
            raise InvalidArgumentError(
                "MALFORMED_REQUEST", "the operation takes one request, and there were none or more", field="request"
            )
        self._kept = found
        return found[0]

    async def close(self) -> None:
        """Ends a read that is under way."""
        if self._next is not None:
            self._next.cancel()
            await asyncio.wait([self._next])

    async def _read(self) -> bytes | None:
        """The next message, None at the end. A read that nobody waits for any more is the next one's."""
        if self._next is None:
            self._next = asyncio.ensure_future(anext(self._source, None))
        message = await asyncio.shield(self._next)
        self._next = None
        self._keep(message)
        return message

    def _keep(self, message: bytes | None) -> None:
        if self._kept is None or message is None:
            return
        self._kept_bytes += len(message)
        if self._kept_bytes > _MAX_KEPT_BYTES:
            self._kept = None
        else:
            self._kept.append(message)
