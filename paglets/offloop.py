"""Threads for what would block the event loop: the house's own, which nothing that an author waits for can take.

Those of `asyncio.to_thread` are a handful, and authors may wait in them as long as they like. This file must never know
what the work is.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from typing import Any, ParamSpec, TypeVar

__all__ = ["await_off_loop", "begin_off_loop", "off_loop"]

P = ParamSpec("P")
T = TypeVar("T")

_threads = ThreadPoolExecutor(32, thread_name_prefix="paglets")
_begun: set[Future[Any]] = set()


def begin_off_loop(work: Callable[[], T]) -> asyncio.Future[T]:
    """Starts work in a thread. Once it has begun it ends, whatever becomes of the future."""
    begun = _threads.submit(contextvars.copy_context().run, work)
    _begun.add(begun)
    begun.add_done_callback(_begun.discard)
    return asyncio.wrap_future(begun)


async def off_loop(function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Calls a function in a thread, and gives what it returns."""
    return await begin_off_loop(partial(function, *arguments, **named))


def await_off_loop() -> None:
    """Waits for the end of all such work; blocking, for a program that ends."""
    wait(list(_begun))
