"""The watches that a host has open: so many at most, and all ended at once when the host ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TypeVar

from paglets.errors import ExhaustedError, UnavailableError

__all__ = ["Watches"]

T = TypeVar("T")
_RETRY_S = 1.0


class Watches:
    """The watches of one host, of which at most `limit` are open. Make it on the host's event loop."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open = 0
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self, items: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
        """The items of one watch, which is closed at the end. Raises TOO_MANY_READS, and SHUTTING_DOWN once ended."""
        if self._open >= self._limit:
            raise ExhaustedError(
                "TOO_MANY_READS",
                f"{self._limit} watches are open, which is as many as there may be",
                metadata={"limit": str(self._limit)},
                retry_after_s=_RETRY_S,
            )
        self._open += 1
        try:
            async with aclosing(items):
                while True:
                    yield await self._next(items)
        finally:
            self._open -= 1

    def end(self) -> None:
        """Ends them all, and those to come. Safe to repeat."""
        if not self._ended.done():
            self._ended.set_result(None)

    async def _next(self, items: AsyncGenerator[T, None]) -> T:
        item = asyncio.ensure_future(anext(items))
        try:
            await asyncio.wait([item, self._ended], return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not item.done():
                item.cancel()
                await asyncio.wait([item])
        if self._ended.done():
            raise UnavailableError("SHUTTING_DOWN", "the host is shutting down; watch on at another host, or later")
        return item.result()
