"""Work on one piece after the other in threads, one piece behind whoever has them: he fetches the next meanwhile.

This file must never know what the work is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Self

from paglets.artifacts.disk import Disk, unbroken

__all__ = ["Behind"]


class Behind:
    """Gives pieces to `work` in their order, never two at once."""

    def __init__(self, disk: Disk, work: Callable[[bytes | memoryview], object]) -> None:
        self._disk = disk
        self._work = work
        self._pending: asyncio.Future[object] | None = None

    @classmethod
    @asynccontextmanager
    async def working(cls, disk: Disk, work: Callable[[bytes | memoryview], object]) -> AsyncGenerator[Self, None]:
        """When the context has ended, however it ended, nothing of the work is under way any more."""
        behind = cls(disk, work)
        try:
            yield behind
        finally:
            if behind._pending is not None:
                await unbroken(asyncio.wait((behind._pending,)))
                behind._pending.exception()  # whoever cares for the result has asked for it by `wait`

    async def put(self, piece: bytes | memoryview) -> None:
        """Begins with a piece once the one before is done. Raises what the work raised, then and ever after."""
        await self.wait()
        self._pending = self._disk.begin(partial(self._work, piece))

    async def wait(self) -> None:
        """Waits until every piece is done. Raises what the work raised, then and ever after."""
        if self._pending is not None:
            await unbroken(self._pending)
            self._pending = None
