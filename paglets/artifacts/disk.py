"""The one door through which a store's blocking work leaves the event loop.

Work that has begun is always awaited to its end, also when its caller is cancelled: no thread may use a file that was
closed. This file must never know what the work is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import anyio

from paglets.artifacts import refusals
from paglets.offloop import begin_off_loop, off_loop

__all__ = ["Disk", "unbroken"]

T = TypeVar("T")


async def unbroken(work: Awaitable[T]) -> T:
    """Awaits work to its end even if the caller is cancelled meanwhile; the cancellation is raised then."""
    future = asyncio.ensure_future(work)
    if future.done():  # a piece that was read or written ahead
        return future.result()
    try:
        await _done(future)
    except asyncio.CancelledError as error:
        cancelled = error
        with anyio.CancelScope(shield=True):  # costs more than the wait itself: only for whoever needs it
            while not future.done():
                try:
                    await _done(future)
                except asyncio.CancelledError as again:
                    cancelled = again
        raise cancelled from (None if future.cancelled() else future.exception())
    return future.result()


async def _done(future: asyncio.Future[T]) -> None:
    """Waits until it is done, whatever came of it; a cancellation of the caller does not reach it."""
    waiter = future.get_loop().create_future()

    def wake(_future: asyncio.Future[T]) -> None:
        if not waiter.done():
            waiter.set_result(None)

    future.add_done_callback(wake)
    await waiter


class Disk:
    """Some threads of its own, so that a slow disk holds up nothing else; or, without a number, the house's."""

    def __init__(self, threads: int | None = None) -> None:
        self._executor = None if threads is None else ThreadPoolExecutor(threads, thread_name_prefix="artifacts")
        self._closed = False

    def begin(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Starts work in a thread; whoever calls must await the future before it lets go of what the work uses."""
        if self._closed:
            raise refusals.shutting_down()
        if self._executor is None:
            return begin_off_loop(work)
        return asyncio.get_running_loop().run_in_executor(self._executor, work)

    async def run(self, work: Callable[[], T]) -> T:
        """Runs work in a thread. A cancellation is raised when the work has ended."""
        return await unbroken(self.begin(work))

    async def release(self, work: Callable[[], object]) -> None:
        """Runs work that lets go of what other work used: in a thread of the house where its own have ended."""
        await unbroken(off_loop(work) if self._closed else self.begin(work))

    async def close(self) -> None:
        """Waits for what was begun and ends the threads."""
        self._closed = True
        if self._executor is not None:
            await off_loop(self._executor.shutdown)
