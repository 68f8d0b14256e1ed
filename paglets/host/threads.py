"""The worker threads in which `def` handlers and hooks run: those of a host, and those of one paglet.

A thread cannot be stopped. Whoever is cancelled waits for its end, but for a hook whose time is over: that thread is
left to itself, and until it ends no turn of its paglet begins.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

import anyio
from anyio import to_thread

__all__ = ["Pool", "Threads", "is_cancelled", "leaving_place", "leaving_threads", "wait_for_threads"]

T = TypeVar("T")
_MOST_THREADS = 1024
_place: ContextVar[_Place | None] = ContextVar("paglets_place", default=None)
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


class Pool:
    """The threads of one host, of which as many are at work at once as there are `places`.

    One that waits for the host leaves its place to others, which it may wait for.
    """

    def __init__(self, places: int) -> None:
        self.places = anyio.CapacityLimiter(places)
        self.number = 0

    @property
    def is_full(self) -> bool:
        """Whether there are so many threads that those that wait keep their places."""
        return self.number >= _MOST_THREADS

    async def run(self, function: Callable[..., T], *arguments: object, abandon_on_cancel: bool = False) -> T:
        """Calls a function in a thread, which goes on if the caller is cancelled, and is awaited unless abandoned."""
        place = _Place(self)
        await place.take()
        _place.set(place)
        self.number += 1
        try:
            only = anyio.CapacityLimiter(1)
            return await to_thread.run_sync(function, *arguments, abandon_on_cancel=abandon_on_cancel, limiter=only)
        finally:
            self.number -= 1
            place.give_back()


class _Place:
    """The place of one thread among those at work. Used on the event loop only."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._held = False

    async def take(self) -> None:
        await self._pool.places.acquire_on_behalf_of(self)
        self._held = True

    def give_back(self) -> None:
        if self._held:
            self._held = False
            self._pool.places.release_on_behalf_of(self)

    async def left_for(self, work: Awaitable[T]) -> T:
        if not self._held or self._pool.is_full:
            return await work
        self.give_back()
        try:
            return await work
        finally:
            await self.take()


async def leaving_place(work: Awaitable[T]) -> T:
    """Awaits what a thread waits for, whose place is for others meanwhile; in a task of its own, with its context."""
    place = _place.get()
    if place is None:
        return await work
    _place.set(None)  # what `work` begins has no place to leave
    return await place.left_for(work)


class Threads:
    """The threads of one paglet, from its host's `pool`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._left: set[asyncio.Future[object]] = set()
        self._leaves = False

    @property
    def are_left(self) -> bool:
        """Whether a thread that was left to itself is at work still."""
        return bool(self._left)

    def leave(self) -> None:
        """From here on who is cancelled waits for none of them: their paglet has ended."""
        self._leaves = True

    async def free(self) -> None:
        """Waits until no thread that was left to itself is at work."""
        while self._left:
            await asyncio.wait(set(self._left))

    async def run(self, function: Callable[..., object], *arguments: object) -> object:
        """Calls a function in a worker thread.

        If it was cancelled meanwhile, and that was taken back by its end, its result counts.
        """
        thread = asyncio.ensure_future(self._pool.run(function, *arguments))
        try:
            return await asyncio.shield(thread)
        except asyncio.CancelledError:
            if (self._leaves or _leaves.get()) and not thread.done():
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
