"""What watches wait for: that something happens again. It never knows what."""

from __future__ import annotations

import asyncio

__all__ = ["News"]


class News:
    """Something that happens now and then, for any number of those who wait for the next time. Use it on one loop."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    @property
    def next(self) -> asyncio.Event:
        """What the next time sets. Take it before looking at what there is: what the look just misses sets it."""
        return self._next

    def tell(self) -> None:
        """It has happened: wakes who waits, and lays out the next event. Safe to repeat."""
        told, self._next = self._next, asyncio.Event()
        told.set()
