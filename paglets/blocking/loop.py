"""The one event loop of all blocking faces, in a thread of its own, and the ways of other threads onto it.

This file must never know what runs there.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterable
from concurrent.futures import CancelledError, Future
from contextlib import AbstractAsyncContextManager, AbstractContextManager, ExitStack, suppress
from functools import partial
from types import TracebackType
from typing import TypeVar

from anyio import to_thread
from anyio.from_thread import BlockingPortal, start_blocking_portal

from paglets.errors import CancelledCallError
from paglets.loop import loop_factory

__all__ = ["Loop", "pulled"]

T = TypeVar("T")
_END = object()


class Loop:
    """A lease on the event loop: it runs until the last lease is given back, which cancels what is left on it."""

    def __init__(self) -> None:
        self._portal: BlockingPortal | None = _thread.lease()

    @property
    def is_running(self) -> bool:
        """Whether the lease was not given back yet."""
        return self._portal is not None

    def give_back(self) -> None:
        """Ends the lease. Safe to repeat, also in several threads."""
        with _thread.lock:
            portal, self._portal = self._portal, None
        if portal is not None:
            _thread.give_back()

    def begin(self, work: Callable[[], Awaitable[T]]) -> Future[T]:
        """Has `work` called and awaited on the loop; whoever cancels the future cancels that.

        Raises CANCELLED when the lease has ended, RuntimeError on the loop itself.
        """
        return self._running().start_task_soon(work)

    def wait(self, work: Callable[[], Awaitable[T]]) -> T:
        """As `begin`, and waits for the result; whatever interrupts the waiting, e.g. Ctrl-C, cancels the work."""
        begun = self.begin(work)
        try:
            return begun.result()
        except CancelledError as error:
            raise _ended() from error
        finally:
            begun.cancel()

    def call(self, function: Callable[[], T]) -> T:
        """Calls a function on the loop, e.g. one that makes what belongs to a loop, and awaits nothing."""

        async def called() -> T:
            return function()

        return self.wait(called)

    def iterate(self, items: Callable[[], AsyncIterator[T]]) -> Generator[T]:
        """The items of an async iterator, each asked for when it is wanted; a generator is closed when this is."""
        source = self.call(items)
        while (item := self.wait(partial(anext, source, _END))) is not _END:
            try:
                yield item  # pyright: ignore[reportReturnType] - the end is no item
            except BaseException:
                if isinstance(source, AsyncGenerator):
                    with suppress(CancelledCallError):  # the loop has ended, and with it the generator
                        self.wait(source.aclose)
                raise

    def entered(self, manager: AbstractAsyncContextManager[T]) -> AbstractContextManager[T]:
        """The same context for a thread; one task enters it and leaves it. It ends with the lease: CANCELLED."""
        return _Entered(self, self._running().wrap_async_context_manager(manager))

    def _running(self) -> BlockingPortal:
        if self._portal is None:
            raise _ended()
        return self._portal


class _Entered(AbstractContextManager[T]):
    """A context on the loop, which may have ended before it is left."""

    def __init__(self, loop: Loop, inner: AbstractContextManager[T]) -> None:
        self._loop = loop
        self._inner = inner

    def __enter__(self) -> T:
        return self._inner.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        try:
            return self._inner.__exit__(kind, error, trace)
        except RuntimeError as told:  # so it is told that the loop has ended
            if self._loop.is_running:
                raise
            raise _ended() from told


class _Thread:
    """The thread of the loop, which is there as long as somebody has a lease."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._leases = 0
        self._running = ExitStack()

    def lease(self) -> BlockingPortal:
        with self.lock:
            if not self._leases:
                options = {"loop_factory": loop_factory()}
                portals = start_blocking_portal(backend_options=options, name="paglets-blocking")
                self._portal = self._running.enter_context(portals)
            self._leases += 1
            return self._portal

    def give_back(self) -> None:
        with self.lock:
            self._leases -= 1
            if not self._leases:
                self._portal.call(partial(self._portal.stop, cancel_remaining=True))
                self._running.close()


_thread = _Thread()


def _ended() -> CancelledCallError:
    return CancelledCallError("CANCELLED", "the call was cancelled, or what it was made with is closed")


async def pulled(items: Iterable[T]) -> AsyncGenerator[T]:
    """The items of an iterable that may block, as they are wanted; it is asked for each in some thread or other."""
    iterator = iter(items)
    while (item := await to_thread.run_sync(next, iterator, _END, abandon_on_cancel=True)) is not _END:
        yield item  # pyright: ignore[reportReturnType] - the end is no item
