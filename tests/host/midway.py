"""A method of a host that a test watches or holds midway: who called it, and whether the caller went away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from paglets.directory.contract import RowWrite
from paglets.testing import eventually

__all__ = ["Midway", "anything", "commits", "do"]


def anything(*_arguments: object) -> bool:
    """Any call counts."""
    return True


def commits(writes: Sequence[RowWrite], **_named: object) -> bool:
    """The call of a directory's `apply` by which a paglet changes its owner."""
    return any(write.cause == "commit" for write in writes)


class Midway:
    """Replaces the method `name` of `owner`. Calls that `which` picks are noted; `hold` stops them until `release`.

    A call is held `after` its work was done, or before it. What is held is finished, whatever becomes of the caller.
    """

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        owner: object,
        name: str,
        *,
        which: Callable[..., bool] = anything,
        after: bool = False,
    ) -> None:
        self.callers: list[asyncio.Task[Any]] = []
        self.ended = 0
        self._after = after
        self._free = asyncio.Event()
        self._free.set()
        real: Callable[..., Awaitable[object]] = getattr(owner, name)

        async def call(*arguments: object, **named: object) -> object:
            if not which(*arguments):
                return await real(*arguments, **named)
            caller = asyncio.current_task()
            assert caller is not None
            self.callers.append(caller)
            if self._free.is_set():
                return await self._counted(real(*arguments, **named))
            return await asyncio.shield(asyncio.ensure_future(self._held(lambda: real(*arguments, **named))))

        monkeypatch.setattr(owner, name, call)

    def hold(self) -> Midway:
        """Whoever comes stays."""
        self._free.clear()
        return self

    def release(self) -> None:
        """Lets everybody go."""
        self._free.set()

    async def called(self, times: int = 1) -> None:
        """Waits until so many have called."""
        await eventually(lambda: do(len(self.callers) >= times), what=f"call {times}")

    async def gone(self, index: int = 0) -> None:
        """Waits until it is known here that a caller went away."""
        await eventually(lambda: do(self.callers[index].cancelling() > 0), what="a cancellation")

    async def over(self, times: int = 1) -> None:
        """Waits until so many calls have ended."""
        await eventually(lambda: do(self.ended >= times), what=f"the end of call {times}")

    async def _held(self, work: Callable[[], Awaitable[object]]) -> object:
        if self._after:
            result = await work()
            await self._free.wait()
            self.ended += 1
            return result
        await self._free.wait()
        return await self._counted(work())

    async def _counted(self, work: Awaitable[object]) -> object:
        try:
            return await work
        finally:
            self.ended += 1


async def do(found: bool) -> bool:  # noqa: FBT001 - what was looked at
    """What was looked at, for `eventually`."""
    return found
