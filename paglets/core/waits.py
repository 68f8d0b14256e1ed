"""Who waits until a paglet's state is as wanted, woken by every change and by whoever says that there is news.

It must never know who changes the state, or when.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

__all__ = ["Waits"]


class Waits:
    """The waits of one paglet, in the order in which they began. Used on the event loop only."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: dict[asyncio.Future[None], None] = {}

    def __bool__(self) -> bool:
        """Whether anybody waits."""
        return bool(self._waiting)

    def wake(self) -> None:
        """Lets everybody look again."""
        for woken in list(self._waiting):
            self._wake(woken)

    def wake_one(self) -> None:
        """Lets the one look again who has waited longest since he looked last."""
        if self._waiting:
            self._wake(next(iter(self._waiting)))

    def _wake(self, woken: asyncio.Future[None]) -> None:
        del self._waiting[woken]
        if not woken.done():
            woken.set_result(None)

    async def until(self, is_so: Callable[[], bool], timeout_s: float | None) -> bool:
        """Looks at once and whenever woken, until it is so; at the timeout (seconds, None for ever) once more.

        A negative timeout is none at all: one look.
        """
        deadline = None if timeout_s is None else asyncio.get_running_loop().time() + max(0.0, timeout_s)
        while not is_so():
            if not await self._woken(deadline):
                return is_so()
        return True

    async def _woken(self, deadline: float | None) -> bool:
        """Waits to be woken; False at the deadline."""
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[woken] = None
        try:
            async with asyncio.timeout_at(deadline):
                await woken
        except TimeoutError:
            return False
        finally:
            self._waiting.pop(woken, None)
        return True
