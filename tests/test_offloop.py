"""What would block the event loop runs in threads of the house, and a program can wait for their end."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from paglets.offloop import await_off_loop, begin_off_loop, off_loop

_said: contextvars.ContextVar[str] = contextvars.ContextVar("said", default="nothing")


async def test_work_runs_in_its_callers_context() -> None:
    """It sees what its caller sees, and gives or raises what the work does."""
    _said.set("something")
    assert await off_loop(_said.get) == "something"
    assert await off_loop(sorted, [2, 1, 3], reverse=True) == [3, 2, 1]
    with pytest.raises(ValueError, match="no"):
        await off_loop(int, "no")


async def test_no_thread_of_the_event_loop_is_needed() -> None:
    """Whoever waits in those holds nothing up."""
    free = threading.Event()
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    waiting = asyncio.create_task(asyncio.to_thread(free.wait))
    assert await off_loop(threading.current_thread) is not threading.current_thread()
    free.set()
    assert await waiting


async def test_program_waits_for_the_end() -> None:
    """Work that has begun is awaited, also when nobody else waits for it any more."""
    begun, free, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        free.wait()
        ended.set()

    begin_off_loop(work)
    await asyncio.to_thread(begun.wait)
    threading.Timer(0.05, free.set).start()
    await_off_loop()
    assert ended.is_set()
