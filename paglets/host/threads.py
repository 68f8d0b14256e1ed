"""The worker threads in which the `def` handlers and hooks of one paglet run.

A thread cannot be stopped. Whoever is cancelled waits for its end, but for a hook whose time is over: that thread is
left to itself, and until it ends no turn of its paglet begins.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar

import anyio
from anyio import to_thread

__all__ = ["Threads", "is_cancelled", "leaving_threads", "wait_for_threads"]

_leaves: ContextVar[bool] = ContextVar("paglets_leaves_threads", default=False)


def is_cancelled() -> bool:
    """Whether the running task itself is being cancelled, rather than something that it awaits."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


@contextmanager
def leaving_threads() -> Generator[None]:
    """What is cancelled in the block waits for no thread: what that does is rolled back, and wanted by nobody."""
    token = _leaves.set(True)
    try:
        yield
    finally:
        _leaves.reset(token)


def wait_for_threads() -> None:
    """From here on the running task waits for its threads, whatever began it."""
    _leaves.set(False)


class Threads:
    """The threads of one paglet; `limiter` bounds how many of the host's are at work at once."""

    def __init__(self, limiter: anyio.CapacityLimiter) -> None:
        self._limiter = limiter
        self._left: set[asyncio.Future[object]] = set()

    @property
    def are_left(self) -> bool:
        """Whether a thread that was left to itself is at work still."""
        return bool(self._left)

    async def free(self) -> None:
        """Waits until no thread that was left to itself is at work."""
        while self._left:
            await asyncio.wait(set(self._left))

    async def run(self, function: Callable[..., object], *arguments: object) -> object:
        """Calls a function in a worker thread.

        If it was cancelled meanwhile, and that was taken back by its end, its result counts.
        """
        thread = asyncio.ensure_future(to_thread.run_sync(function, *arguments, limiter=self._limiter))
        try:
            return await asyncio.shield(thread)
        except asyncio.CancelledError:
            if _leaves.get() and not thread.done():
                self._leave(thread)
                raise
            while not thread.done():
                try:
                    await asyncio.wait([thread])
                except asyncio.CancelledError:
                    continue
            if is_cancelled():
                raise
            return thread.result()

    def _leave(self, thread: asyncio.Future[object]) -> None:
        self._left.add(thread)
        thread.add_done_callback(self._left.discard)
        thread.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
