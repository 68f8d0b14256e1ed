"""Guarded writes to the directory whose outcome is always known in the end: it is read, never guessed."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from paglets.directory.contract import Directory, Guard, JourneyRecord, PagletRow, RowWrite
from paglets.errors import ConflictError, InternalError, UnavailableError

__all__ = ["backoff", "settle_write", "until_reached"]

T = TypeVar("T")
_log = logging.getLogger(__name__)
_FIRST_PAUSE_S = 0.05
_LAST_PAUSE_S = 1.0


def backoff(attempt: int) -> float:
    """How long to pause before trying again, in seconds: doubled up to one second, with jitter."""
    return min(_LAST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** min(attempt, 10)) * (0.5 + random.random() / 2)  # noqa: S311


async def until_reached(call: Callable[[], Awaitable[T]]) -> T:
    """Repeats a call that is safe to repeat until the directory answers, however long that takes.

    An answer that only says that something went wrong there is none: what it did is not known either.
    """
    attempt = 0
    while True:
        try:
            return await call()
        except (UnavailableError, InternalError) as error:
            if attempt == 0:
                _log.warning("the directory does not answer, trying on: %s", error)
        await asyncio.sleep(backoff(attempt))
        attempt += 1


async def settle_write(
    directory: Directory,
    guard: Guard,
    wanted: PagletRow,
    *,
    cause: str,
    journeys: Sequence[JourneyRecord] = (),
) -> PagletRow:
    """Makes one guarded write and returns the row as written, whether this attempt or a lost one made it.

    `cause` is the event of the paglet's life that the row's history will tell.
    Raises EPOCH_FENCED when the row is something else: somebody else changed it, and nothing was written.
    """

    async def attempt() -> PagletRow:
        try:
            (row,) = await directory.apply([RowWrite(guard, wanted, cause)], journeys=journeys)
        except ConflictError:
            found = await directory.get(wanted.paglet_id)
            if found is None or not _is(found, wanted):
                raise
            return found
        return row

    return await until_reached(attempt)


def _is(found: PagletRow, wanted: PagletRow) -> bool:
    """Whether a row is the one that was to be written."""
    return wanted.epoch in {0, found.epoch} and (found.owner, found.state, found.intent, found.request_id) == (
        wanted.owner,
        wanted.state,
        wanted.intent,
        wanted.request_id,
    )
