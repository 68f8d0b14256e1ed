"""A watch of what is written to a SQLite directory: it reads the events that are kept, a page when the last is taken.

It waits for news of a write, and never polls.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Protocol, TypeVar

from paglets.cursors import cursor_expired
from paglets.directory import events
from paglets.directory.contract import RowNotice
from paglets.directory.events import EventFilter

__all__ = ["Read", "watch_events"]

T = TypeVar("T")
_PAGE = 64


class Read(Protocol):
    """Reads the directory's file; raises when that is closed."""

    def __call__(self, work: Callable[[sqlite3.Connection], T], /) -> Awaitable[T]:
        """What `work` finds."""
        ...


async def watch_events(
    read: Read, news: Callable[[], asyncio.Event], cursor: str, wanted: EventFilter, bookmark_s: float
) -> AsyncGenerator[RowNotice, None]:
    """What `Directory.watch_events` promises. `news` gives the event that the next write will set."""
    loop = asyncio.get_running_loop()
    began = await read(events.kept)
    seen = began.revision_in(cursor) if cursor else began.last
    yield RowNotice(began.cursor(seen), seen)
    told_at = loop.time()
    while True:
        changed = news()  # before the page is read: a write that it just missed sets this very event
        page, kept = await read(partial(events.events_after, revision=seen, limit=_PAGE))
        if kept.oldest > seen:
            raise cursor_expired(kept.cursor(seen), kept.cursor(kept.oldest))
        for event in page:
            seen = event.revision
            if wanted.takes(event):
                yield RowNotice(kept.cursor(seen), seen, event)
                told_at = loop.time()
        if loop.time() >= told_at + bookmark_s:
            yield RowNotice(kept.cursor(seen), seen)
            told_at = loop.time()
        if len(page) < _PAGE:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(told_at + bookmark_s):
                    await changed.wait()
