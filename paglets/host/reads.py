"""The reads of one paglet: they run beside its turns and each other, wherever the paglet is when they begin."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from paglets.host.gate import Gate
from paglets.host.threads import is_cancelled

__all__ = ["Reads"]


class Reads:
    """The reads that are at work. They need no turn, only a gate that is open."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._reads: dict[asyncio.Task[bytes], asyncio.Event] = {}

    async def run(self, read: Callable[[], Coroutine[Any, Any, bytes]], deadline: float | None) -> bytes:
        """Runs a read; one that is interrupted begins anew when the gate opens, or ends with why it is shut.

        `deadline`, a time of the loop's clock, bounds the wait for the gate. Raises DEADLINE_BEFORE_RUN.
        """
        while True:
            await self._gate.passage(deadline)
            interrupted = asyncio.Event()
            task = asyncio.create_task(read())
            self._reads[task] = interrupted
            try:
                return await task
            except asyncio.CancelledError:
                if not (interrupted.is_set() and task.cancelled()) or is_cancelled():
                    task.cancel()
                    raise
            finally:
                self._reads.pop(task, None)

    def interrupt(self) -> None:
        """Cuts off every read; the gate must let none in, or those begin at once anew."""
        for task, interrupted in list(self._reads.items()):
            interrupted.set()
            task.cancel()
