"""Calls that come later: background bodies that wait first, and end with the paglet's stay like any other."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable

from paglets.core.context import Context
from paglets.errors import InvalidArgumentError

__all__ = ["Timer"]


class Timer:
    """A call that comes later, once or again and again; `cancel` takes back what has not begun.

    Each call is a body of its own: what it asks of the host is done when it has ended well.
    """

    def __init__(self, context: Context, body: Callable[[], Awaitable[None]], pause_s: float, *, again: bool) -> None:
        if not 0.0 <= pause_s < math.inf or (again and not pause_s):
            wanted = "more than 0" if again else "0 or more"
            raise InvalidArgumentError("MALFORMED_REQUEST", f"a timer waits {wanted} seconds, got {pause_s}")
        self._context = context
        self._body = body
        self._pause_s = pause_s
        self._again = again
        self._cancelled = False

    def start(self) -> None:
        """Begins to wait, when the running turn is durable or the running body has ended."""
        self._context.start_background(self._tick)

    def cancel(self) -> None:
        """No further call begins; one that has begun goes on. Safe to repeat, and in any thread."""
        self._cancelled = True

    async def _tick(self) -> None:
        await asyncio.sleep(self._pause_s)
        if self._cancelled:
            return
        await self._body()
        if self._again and not self._cancelled:
            self.start()
