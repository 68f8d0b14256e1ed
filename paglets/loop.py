"""The event loop of this process. For programs, not for libraries.

This file must never know what runs on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, TypeVar

__all__ = ["interrupt", "loop_factory", "run"]

ResultT = TypeVar("ResultT")


@dataclass(slots=True)
class _Program:
    task: asyncio.Task[Any]
    interrupted: bool = False


_programs: list[_Program] = []
"""The one that runs, if one does."""


def run(main: Coroutine[Any, Any, ResultT]) -> ResultT:
    """Runs a program as `asyncio.run` does, but on uvloop where that is installed: a call costs a host less then.

    Raises `KeyboardInterrupt` if Ctrl-C or `interrupt` ended it.
    """
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            return runner.run(_noted(main))
    except asyncio.CancelledError:
        if any(program.interrupted for program in _programs):
            raise KeyboardInterrupt from None
        raise
    finally:
        _programs.clear()


async def _noted(main: Coroutine[Any, Any, ResultT]) -> ResultT:
    if task := asyncio.current_task():
        _programs.append(_Program(task))
    return await main


def interrupt() -> bool:
    """Cancels what `run` runs, as Ctrl-C does, so that it ends what it began; False if nothing runs, or it was asked.

    For signal handlers: an exception out of one may hit the loop itself, which forgets who waited for what then.
    """
    for program in _programs:
        if program.interrupted:
            return False
        program.interrupted = True
        loop = program.task.get_loop()
        if not loop.is_closed():
            loop.call_soon_threadsafe(program.task.cancel)
        return True
    return False


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """What makes such a loop; None for asyncio's own."""
    if find_spec("uvloop") is None:
        return None
    import uvloop

    return uvloop.new_event_loop
