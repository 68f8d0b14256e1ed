"""Tells how a running journey comes on, by asking for it from time to time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

from paglets.errors import PagletError
from paglets.values import JourneyInfo, PagletInfo

__all__ = ["journey_progress"]

_log = logging.getLogger(__name__)


@asynccontextmanager
async def journey_progress(
    get: Callable[[], Awaitable[PagletInfo]], report: Callable[[JourneyInfo], None], period_s: float = 0.25
) -> AsyncGenerator[None]:
    """While the block runs, asks `get` each `period_s` and hands a running journey to `report`.

    What `report` raises ends the block and comes out of it. An answer that does not come is logged and asked for again:
    whether the journey fails is told by whoever waits for its end. The last report may be short of the end.
    """

    async def poll() -> None:
        while True:
            try:
                found = await get()
            except PagletError as error:
                _log.debug("no news of the journey: %r", error)
            else:
                if found.journey is not None:
                    report(found.journey)
            await asyncio.sleep(period_s)

    try:
        async with asyncio.TaskGroup() as group:
            polling = group.create_task(poll())
            yield
            polling.cancel()
    except BaseExceptionGroup as failures:
        first, *others = failures.exceptions
        if others:
            raise
        # What the block raised, or `report`: the group around it is ours alone.
        raise first from None
