"""What a host knows of the services of its mesh, as it is told by its directory; look-ups are answered from here.

It asks nobody, and must never decide who owns a paglet: who is told of a place here finds out by a call.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from paglets.directory.contract import ServiceNews
from paglets.discovery import ServiceChange, ServiceKey, ServiceNotice, ServiceQuery, ServiceRecord
from paglets.values import HostRef

__all__ = ["Board"]


@dataclass(frozen=True, slots=True)
class _Known:
    """A record, and when it ends by this host's clock; None for never."""

    record: ServiceRecord
    end: float | None


class Board:
    """The records that one host may tell of, and the hosts. `clock` is the loop's; use it on one loop."""

    def __init__(self, here: str, clock: Callable[[], float]) -> None:
        self._here = here
        self._clock = clock
        self._known: dict[ServiceKey, _Known] = {}
        self._coming: dict[ServiceKey, _Known] = {}
        self._hosts: Mapping[str, HostRef] = {}
        self._told = asyncio.Event()
        self._told_of_hosts = asyncio.Event()
        self._changed = asyncio.Event()

    async def filled(self) -> None:
        """Waits until the directory has told of all services and hosts for the first time."""
        await self._told.wait()
        await self._told_of_hosts.wait()

    # What the directory tells.

    def tell(self, news: ServiceNews) -> None:
        """Takes news of records, which count once they are complete."""
        if news.anew:
            self._coming = {}
        for key in news.gone:
            self._coming.pop(key, None)
        for record in news.records:
            end = None if record.expires_at is None else self._clock() + record.expires_at - news.now
            self._coming[record.key] = self._located(_Known(record, end))
        if not news.more:
            self._known = dict(self._coming)
            self._told.set()
            self._tell()

    def tell_hosts(self, hosts: Sequence[HostRef]) -> None:
        """Takes all hosts as they are now."""
        self._hosts = {host.name: host for host in hosts}
        for records in (self._known, self._coming):
            records.update((key, self._located(known)) for key, known in records.items())
        self._told_of_hosts.set()
        self._tell()

    async def until(self, holds: Callable[[], bool], timeout_s: float) -> None:
        """Waits until something holds of what is known here, or so many seconds."""
        try:
            async with asyncio.timeout(timeout_s):
                while not holds():
                    await self._changed.wait()
        except TimeoutError:
            return

    # What is asked.

    def get(self, key: ServiceKey) -> ServiceRecord | None:
        """One record that counts now."""
        known = self._known.get(key)
        return known.record if known is not None and self._counts(known) else None

    def find(self, query: ServiceQuery) -> list[ServiceRecord]:
        """The services that fit, one a paglet, the best first: on hosts that are there, with little load, and near.

        The rest of the order is that of names, so that the same is found again.
        """
        return sorted(self._found(query).values(), key=self._rank)

    def starter(self, paglet_id: str) -> str | None:
        """The best of the hosts that are there and start this resident service; None when nobody does."""
        starters = {
            known.record.advertiser
            for known in self._known.values()
            if known.record.resident
            and known.record.paglet_id == paglet_id
            and self._is_online(known.record.advertiser)
        }
        return min(starters, key=self._preference, default=None)

    async def watch(self, query: ServiceQuery) -> AsyncGenerator[ServiceNotice, None]:
        """The services that fit, in the order of their names, then what becomes of them as it happens."""
        await self.filled()
        known: dict[ServiceKey, ServiceRecord] | None = None
        while True:
            changed = self._changed
            current = self._found(query)
            for notice in _notices(known, current):
                yield notice
            known = current
            await self._until(changed)

    async def _until(self, changed: asyncio.Event) -> None:
        """Waits for a change, or for the end of a record, of which the directory may be late to tell."""
        now = self._clock()
        ends = (known.end for known in self._known.values())
        following = min((end for end in ends if end is not None and end > now), default=None)
        try:
            async with asyncio.timeout_at(following):
                await changed.wait()
        except TimeoutError:
            return

    def _found(self, query: ServiceQuery) -> dict[ServiceKey, ServiceRecord]:
        """The services that fit, of each the best record. Every watch looks at all of them at every change."""
        found: dict[ServiceKey, ServiceRecord] = {}
        for record in self._fitting(query):
            key = ServiceKey(record.service, record.paglet_id)
            other = found.setdefault(key, record)
            if other is not record and self._rank(record) < self._rank(other):
                found[key] = record
        return found

    def _fitting(self, query: ServiceQuery) -> Iterator[ServiceRecord]:
        for known in self._known.values():
            record = known.record
            if query.takes(record, self._here) and self._counts(known):
                yield record

    def _counts(self, known: _Known) -> bool:
        return known.end is None or self._clock() < known.end

    def _located(self, known: _Known) -> _Known:
        """What is known, with whether the host is there: the same object while that is the same."""
        online = self._is_online(known.record.host)
        return known if known.record.online is online else replace(known, record=replace(known.record, online=online))

    def _is_online(self, name: str) -> bool:
        """Whether a host is there. One that nobody has told of yet has just come: hosts are never forgotten."""
        host = self._hosts.get(name)
        return name == self._here or host is None or host.online

    def _load(self, name: str) -> float:
        host = self._hosts.get(name)
        return 0.0 if host is None else host.load

    def _preference(self, name: str) -> tuple[float, bool, str]:
        """The order of hosts that are there."""
        return self._load(name), name != self._here, name

    def _rank(self, record: ServiceRecord) -> tuple[bool, tuple[float, bool, str], str, str, bool]:
        return not record.online, self._preference(record.host), record.service, record.paglet_id, record.resident

    def _tell(self) -> None:
        told, self._changed = self._changed, asyncio.Event()
        told.set()


def _notices(
    known: Mapping[ServiceKey, ServiceRecord] | None, current: Mapping[ServiceKey, ServiceRecord]
) -> list[ServiceNotice]:
    if known is None:
        return [ServiceNotice(ServiceChange.PRESENT, record) for _, record in sorted(current.items())]
    others = {key: record for key, record in current.items() if known.get(key) is not record}
    gone = [ServiceNotice(ServiceChange.GONE, record) for key, record in sorted(known.items()) if key not in current]
    changed = [
        ServiceNotice(ServiceChange.CHANGED if key in known else ServiceChange.ADVERTISED, record)
        for key, record in sorted(others.items())
        if known.get(key) != record
    ]
    return [*gone, *changed]
