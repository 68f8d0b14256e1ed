"""What an author does to the task that runs his code is over when that is."""

from __future__ import annotations

import asyncio

import pytest

from paglets.host.tame import tame


async def _cancels_itself_and_hangs(hangs: asyncio.Event | None = None) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        if hangs is not None:
            hangs.set()
        await asyncio.Event().wait()


async def test_time_limit_of_who_cancelled_himself() -> None:
    """Whoever waits for it is told that the time is over, not that he was cancelled himself."""
    task = asyncio.current_task()
    assert task is not None
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await tame(_cancels_itself_and_hangs())
    assert task.cancelling() == 0


async def test_cancellation_of_who_cancelled_himself() -> None:
    """A cancellation from outside is what is left of both."""
    hangs = asyncio.Event()

    async def run() -> int:
        task = asyncio.current_task()
        assert task is not None
        try:
            await tame(_cancels_itself_and_hangs(hangs))
        except asyncio.CancelledError:
            return task.cancelling()
        return -1

    running = asyncio.create_task(run())
    await hangs.wait()
    running.cancel()
    assert await running == 1
