"""The bodies of one task that are at work: which run each belongs to, how one is told to stop, and who has a say.

A body may outlive its run: it was cancelled and does not mind, or it completed the task and lingers. Nothing that it
says then counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NoReturn

from paglets.patterns.task_state import TaskState

__all__ = ["TaskBodies", "has_a_say"]

_run: ContextVar[int | None] = ContextVar("paglets_task_run", default=None)


class TaskBodies:
    """The bodies that are at work, by their runs. Used on the event loop only."""

    def __init__(self) -> None:
        self._tasks: dict[int, asyncio.Task[object] | None] = {}

    def __contains__(self, run: int) -> bool:
        """Whether a body of this run is at work."""
        return run in self._tasks

    @contextmanager
    def at_work(self, run: int) -> Generator[None]:
        """The code inside is the body of this run."""
        self._tasks[run] = asyncio.current_task()
        token = _run.set(run)
        try:
            yield
        finally:
            _run.reset(token)
            del self._tasks[run]

    def cancel(self, run: int) -> None:
        """Tells the body of this run to stop, if it is at work."""
        body = self._tasks.get(run)
        if body is not None:
            body.cancel()

    def stop(self, run: int) -> NoReturn:
        """Ends the running code, which is the body of this run, as one that was told to stop."""
        self.cancel(run)
        raise asyncio.CancelledError


def has_a_say(state: TaskState) -> bool:
    """Whether the running code may change how the task stands: all but bodies whose run has ended, or is another."""
    run = _run.get()
    return run is None or (state.run == run and not state.done)
