"""Keeps what an author wrote from ending more than itself: the process, or the task that runs it."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Awaitable, Callable, Generator
from typing import Any, TypeVar

__all__ = ["call_tamed", "tame"]

T = TypeVar("T")


async def tame(work: Awaitable[T]) -> T:
    """Awaits what an author wrote; what would end the whole process, e.g. `sys.exit()`, is a failure like any other.

    So is a cancellation of the running task by the author himself: nobody waits for that in vain.
    """
    try:
        return await _uncancelled(work)
    except (Exception, asyncio.CancelledError):
        raise
    except BaseException as error:
        raise _wild(error) from error


def call_tamed(function: Callable[..., T], *arguments: object) -> T:
    """As `tame`, for what is called in a thread."""
    try:
        return function(*arguments)
    except (Exception, asyncio.CancelledError):
        raise
    except BaseException as error:
        raise _wild(error) from error


@types.coroutine
def _uncancelled(work: Awaitable[T]) -> Generator[Any, Any, T]:
    """Awaits `work`, and takes back how often it has cancelled the running task itself.

    Others cancel a task while it waits, so it was the author if it comes about between two waits.
    """
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("what an author wrote is awaited in a task")
    steps, thrown, own = work.__await__(), None, 0
    try:
        while True:
            before = task.cancelling()
            try:
                waited_for = next(steps) if thrown is None else steps.throw(thrown)
            finally:
                own = max(0, own + task.cancelling() - before)
            try:
                yield waited_for
                thrown = None
            except BaseException as error:  # noqa: BLE001 - it is the work's own
                thrown = error
    except StopIteration as end:
        yield from _take_back(task, own)
        return end.value
    except asyncio.CancelledError as error:
        if not own or task.cancelling() > own:
            for _ in range(own):  # what is left is others'
                task.uncancel()
            raise
        yield from _take_back(task, own)
        raise RuntimeError("the task that ran it was cancelled by what an author wrote") from error
    except Exception:
        yield from _take_back(task, own)
        raise


def _take_back(task: asyncio.Task[Any], own: int) -> Generator[None, Any, None]:
    """Takes cancellations back; one that was to come at the next wait comes here."""
    if not own:
        return
    for _ in range(own):
        task.uncancel()
    try:
        yield
    except asyncio.CancelledError:
        if task.cancelling():
            raise


def _wild(error: BaseException) -> RuntimeError:
    return RuntimeError(f"{type(error).__name__} came out of what an author wrote")
