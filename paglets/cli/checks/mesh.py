"""The mesh as the host that is asked tells of it: its directory, the directory's clock, its hosts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING

from paglets.cli.checks.finding import Finding, failed, ok, warning
from paglets.cli.checks.member import member
from paglets.cli.output import plain
from paglets.errors import PagletError

if TYPE_CHECKING:
    from paglets.client.client import Client
    from paglets.values import HostRef

__all__ = ["clock", "mesh"]

_CLOCK_S = 30.0
"""A host says that it is there every few seconds, so this much may be between two clocks that agree."""


async def mesh(client: Client, timeout_s: float) -> AsyncGenerator[Finding]:
    """Asks for the hosts, then all of them at once."""
    try:
        hosts = await client.hosts()
    except PagletError as error:
        yield failed(
            "directory",
            f"it does not answer: {error.message}",
            "Start the host that began the mesh, and keep it there: without it nothing is found or moved.",
        )
        return
    yield ok("directory", f"it answers, and knows {len(hosts)} host{'' if len(hosts) == 1 else 's'}")
    for finding in clock(hosts, time.time()):
        yield finding
    for findings in await asyncio.gather(*(_of_host(known, timeout_s) for known in hosts)):
        for finding in findings:
            yield finding


def clock(hosts: Sequence[HostRef], now: float) -> list[Finding]:
    """Whether this machine's clock goes as the directory's, as far as the latest sign of life of a host tells."""
    seen = max((known.seen_at for known in hosts if known.online), default=0.0)
    if not seen:
        return []
    if abs(now - seen) <= _CLOCK_S:
        return [ok("clock", "this machine's and the directory's agree")]
    by_s, way = abs(now - seen), "ahead of" if now > seen else "behind"
    return [
        warning(
            "clock",
            f"this machine's is about {by_s:.0f} s {way} the directory's: what has a time is early or late",
            "Have both machines set by NTP (`timedatectl`).",
        )
    ]


async def _of_host(known: HostRef, timeout_s: float) -> list[Finding]:
    """What becomes of a host: one that is online is asked, of another one the directory tells."""
    if known.online:
        return await member(known, timeout_s)
    check, left_there = f"host {known.name}", f"paglets on it: {known.paglet_count}"
    remedy = f"Start it again as before, with its data folder; it was at {plain(known.address)}."
    if not known.has_left:
        return [(failed if known.paglet_count else warning)(check, f"it is lost; {left_there}", remedy)]
    if known.paglet_count:
        return [warning(check, f"it has left; {left_there}", remedy)]
    return [ok(check, "it has left, and no paglets are on it")]
