"""What the children of a fan-out have found, and nobody has taken yet.

It is bounded: a reader who stays away costs a host so much memory, and no more. It never knows who reads, or of turns.
"""

from __future__ import annotations

import asyncio

from google.protobuf.any_pb2 import Any as AnyMessage

__all__ = ["MAX_WAITING_BYTES", "WaitingResults"]

MAX_WAITING_BYTES = 16 * 1024 * 1024
"""How much may wait; one result may whatever its size."""

_EACH_BYTES = 512
"""What a result takes beside its message, about."""


class WaitingResults:
    """Results with the hosts that they are from, in the order in which they came."""

    def __init__(self) -> None:
        self._queue = asyncio.Queue[tuple[str, AnyMessage] | None]()
        self._waiting_bytes = 0

    def put(self, host: str, result: AnyMessage) -> bool:
        """Takes a result in, if there is room for it; whether there is."""
        size = _size_of(result)
        if self._waiting_bytes and self._waiting_bytes + size > MAX_WAITING_BYTES:
            return False
        self._waiting_bytes += size
        self._queue.put_nowait((host, result))
        return True

    def end(self) -> None:
        """Nothing comes any more."""
        self._queue.put_nowait(None)

    async def take(self) -> tuple[str, AnyMessage] | None:
        """The next result, waiting for it; None at the end."""
        found = await self._queue.get()
        if found is not None:
            self._waiting_bytes -= _size_of(found[1])
        return found


def _size_of(result: AnyMessage) -> int:
    return result.ByteSize() + _EACH_BYTES
