"""A watch of the services that a SQLite directory knows of: it reads them when something happens, and tells the rest.

It waits for news, or for the end of a record, and never polls.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import suppress
from functools import partial

from paglets.directory.contract import ServiceNews
from paglets.directory.event_watch import Read
from paglets.directory.services import list_services
from paglets.discovery import ServiceKey, ServiceRecord

__all__ = ["watch_services"]

_PAGE = 500


async def watch_services(
    read: Read, news: Callable[[], asyncio.Event], clock: Callable[[], float], host: str
) -> AsyncGenerator[ServiceNews, None]:
    """What `Directory.watch_services` promises. `news` gives the event that the next change will set."""
    told: dict[ServiceKey, ServiceRecord] | None = None
    while True:
        changed, now = news(), clock()  # before the look: a change that it just misses sets this very event
        records, ends_at = await read(partial(list_services, host=host, now=now))
        current = {record.key: record for record in records}
        for page in _news(told, current, now):
            yield page
        told = current
        with suppress(TimeoutError):
            async with asyncio.timeout(None if ends_at is None else ends_at - now):
                await changed.wait()


def _news(
    told: Mapping[ServiceKey, ServiceRecord] | None, current: Mapping[ServiceKey, ServiceRecord], now: float
) -> list[ServiceNews]:
    """What has changed, in pages that fit into messages; what is gone is in the first one."""
    known = told or {}
    records = [record for key, record in current.items() if known.get(key) != record]
    gone = tuple(key for key in known if key not in current)
    if not records and not gone and told is not None:
        return []
    return [
        ServiceNews(
            now=now,
            records=tuple(records[start : start + _PAGE]),
            gone=() if start else gone,
            anew=told is None and not start,
            more=start + _PAGE < len(records),
        )
        for start in range(0, len(records) or 1, _PAGE)
    ]
