"""Work that has begun is awaited to its end, however often its caller is cancelled meanwhile."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from paglets.artifacts.disk import unbroken


async def turns(count: int = 5) -> None:
    """Lets everything else that is ready go first, so many times."""
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.mark.parametrize("times", [1, 2, 3])
async def test_a_cancellation_is_raised_when_the_work_has_ended(times: int) -> None:
    """The caller learns of it then, and neither the work nor its result is touched before."""
    work = asyncio.get_running_loop().create_future()
    caller = asyncio.ensure_future(unbroken(work))
    await turns()
    for _ in range(times):
        caller.cancel()
        await turns()
        assert not caller.done()
        assert not work.done()
    work.set_result("done")
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert work.result() == "done"


async def test_a_cancelled_caller_learns_how_the_work_failed() -> None:
    """As the cause of his cancellation."""
    work = asyncio.get_running_loop().create_future()
    caller = asyncio.ensure_future(unbroken(work))
    await turns()
    caller.cancel()
    await turns()
    work.set_exception(OSError("full"))
    with pytest.raises(asyncio.CancelledError) as raised:
        await caller
    assert str(raised.value.__cause__) == "full"


async def test_it_gives_what_the_work_gives() -> None:
    """A result, an error, and a cancellation of the work itself, by a future or a coroutine."""

    async def give(error: BaseException | None) -> str:
        await turns(1)
        if error is not None:
            raise error
        return "done"

    assert await unbroken(give(None)) == "done"
    with pytest.raises(OSError, match="full"):
        await unbroken(give(OSError("full")))
    cancelled = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(cancelled.cancel)
    with pytest.raises(asyncio.CancelledError):
        await unbroken(cancelled)


async def test_a_cancelled_scope_waits_without_asking_again_and_again() -> None:
    """A scope that was cancelled cancels a task in it each time round, unless that is shielded from it."""
    work = asyncio.get_running_loop().create_future()
    task = asyncio.current_task()
    assert task is not None
    asked = -1
    with anyio.CancelScope() as scope:
        scope.cancel()
        asyncio.ensure_future(turns(100)).add_done_callback(lambda _: work.set_result("done"))
        try:
            await unbroken(work)
        finally:
            asked = task.cancelling()
    assert scope.cancelled_caught
    assert work.result() == "done"
    assert 1 <= asked <= 3
