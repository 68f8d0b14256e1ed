"""Tasks that outlive the call that began them, each owned and awaited by its owner."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

from paglets.errors import as_paglet_error
from paglets.host.gate import shutting_down
from paglets.host.threads import is_cancelled

__all__ = ["Tasks"]

T = TypeVar("T")
_log = logging.getLogger(__name__)
_UNWIND_S = 2.0


class Tasks:
    """A set of running tasks. A task's failure is in the log; closing cancels them all, and awaits those that end."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._running: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begins a task."""
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def begin(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begins a task whose outcome is for whoever awaits it, if anyone does."""
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return task

    async def shielded(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs work to its end, whatever becomes of the caller, who has its outcome if he is still there.

        Raises SHUTTING_DOWN when it was cut off at the host's end.
        """
        return await self.outcome(self.begin(work))

    async def outcome(self, task: asyncio.Task[T]) -> T:
        """What becomes of a task that `begin` began, for any number of callers. Raises SHUTTING_DOWN when it is cut."""
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError as error:
            if is_cancelled():
                raise
            raise shutting_down() from error

    async def at_most(self, work: Coroutine[Any, Any, T], timeout_s: float) -> T:
        """Runs work for so many seconds, then cancels it; what waits for a thread even so is left to itself.

        Raises TimeoutError then, else what the work raises.
        """
        task = self.begin(work)
        await asyncio.wait([task], timeout=timeout_s)
        if not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=_UNWIND_S)
            raise TimeoutError(f"{self._what} did not end within {timeout_s:g} s")
        return task.result()

    async def close(self, timeout_s: float = 0.0) -> None:
        """Lets the tasks end within `timeout_s` seconds, then cancels the rest and gives them two more to unwind.

        One that waits for a thread of an author's may take for ever, and must not keep the host from its other work.
        """
        if self._running and timeout_s:
            await asyncio.wait(set(self._running), timeout=timeout_s)
        running = set(self._running)
        for task in running:
            task.cancel()
        if not running:
            return
        _, stuck = await asyncio.wait(running, timeout=_UNWIND_S)
        if stuck:
            _log.error("%s does not end, and is left to itself", self._what)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("%s failed: %r", self._what, as_paglet_error(error, self._what))
