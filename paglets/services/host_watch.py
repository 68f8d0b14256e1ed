"""What a watch of hosts tells, from what its directory says again whenever something changes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace

from paglets.directory.contract import Directory
from paglets.values import HostChange, HostNotice, HostRef

__all__ = ["host_notices"]


async def host_notices(directory: Directory) -> AsyncGenerator[HostNotice, None]:
    """The hosts that there are, in the order of their names, then each that changes."""
    known: Mapping[str, HostRef] | None = None
    async with aclosing(directory.watch_hosts()) as lists:
        async for hosts in lists:
            for notice in _news(known, hosts):
                yield notice
            known = {host.name: host for host in hosts}


def _news(known: Mapping[str, HostRef] | None, hosts: Sequence[HostRef]) -> list[HostNotice]:
    if known is None:
        return [HostNotice(HostChange.PRESENT, host) for host in hosts]
    changes = [(host, _change(known.get(host.name), host)) for host in hosts]
    return [HostNotice(change, host) for host, change in changes if change is not None]


def _change(before: HostRef | None, now: HostRef) -> HostChange | None:
    was_online = before is not None and before.online
    if now.online != was_online:
        return HostChange.JOINED if now.online else HostChange.LEFT if now.has_left else HostChange.LOST
    if before is None:  # it has come and gone between two looks
        return HostChange.LEFT if now.has_left else HostChange.LOST
    if replace(before, seen_at=0.0, load=0.0) == replace(now, seen_at=0.0, load=0.0):
        return None
    return HostChange.CHANGED if now.online else None
