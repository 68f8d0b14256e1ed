"""One host of a mesh, asked from here: whether it is the one that it should be, and how its store and paglets are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from typing import TYPE_CHECKING

from paglets.cli.checks.finding import Finding, failed, ok, warning
from paglets.cli.checks.listener import explained
from paglets.cli.output import size_text
from paglets.errors import PagletError
from paglets.values import PagletState
from paglets.version import __version__

if TYPE_CHECKING:
    from paglets.artifacts.store import StoreUsage
    from paglets.client.client import Client
    from paglets.values import HostRef

__all__ = ["member"]

_NEARLY = 0.9
_UNWELL = {PagletState.FAILED, PagletState.QUARANTINED}
_SHOWN = 5
_LISTEN = "Its --listen must name what others reach it by, and no two hosts the same"


async def member(known: HostRef, timeout_s: float) -> list[Finding]:
    """What it tells of itself in that time."""
    from paglets.client.client import Client

    found = list[Finding]()
    try:
        async with asyncio.timeout(timeout_s), Client(known.address, timeout_s=timeout_s) as client:
            async for finding in _told(client, known):
                found.append(finding)
    except (PagletError, TimeoutError) as error:
        found.append(_cut(known, error, timeout_s) if found else await _silent(known, timeout_s))
    return found


def _cut(known: HostRef, error: Exception, timeout_s: float) -> Finding:
    why = str(error) or f"it takes longer than {timeout_s:g} s"
    return warning(
        f"host {known.name}", f"not all of it was looked at: {why}", "Give more time with --timeout SECONDS."
    )


async def _silent(known: HostRef, timeout_s: float) -> Finding:
    why = await explained(known.address, timeout_s)
    return warning(
        f"host {known.name}",
        f"it is online, but does not answer at {known.address} from here: {why}",
        f"See whether its process hangs. {_LISTEN}; other hosts may reach it no better.",
    )


async def _told(client: Client, known: HostRef) -> AsyncGenerator[Finding]:
    """What it says, a part after the other, so that what takes too long comes last."""
    introduced = _introduced(known, await client.reach())
    yield introduced
    if introduced.status == "failed":
        return
    check = f"host {known.name}"
    for finding in _store(check, await client.artifacts.usage(page_size=1000)):
        yield finding
    async for finding in _paglets(check, client, known.name):
        yield finding
    async for finding in _artifacts(check, client):
        yield finding


def _introduced(known: HostRef, answering: HostRef) -> Finding:
    """Whether it is the host that was asked for, and of our version."""
    check = f"host {known.name}"
    if answering.name != known.name:
        return failed(check, f"at its address {known.address} answers host {answering.name}", f"{_LISTEN}.")
    if answering.version != __version__:
        return warning(
            check,
            f"it answers at {known.address}, and runs paglets {answering.version}; here it is {__version__}",
            "Install the same version on both.",
        )
    return ok(check, f"it answers at {known.address}; paglets on it: {answering.paglet_count}")


def _store(check: str, usage: StoreUsage) -> Iterator[Finding]:
    if usage.disk_free < usage.disk_floor:
        yield failed(
            check,
            f"its disk has {size_text(usage.disk_free)} left, of which uploads leave {size_text(usage.disk_floor)}:"
            " none is taken",
            "Make room on its disk, or start it with a smaller --artifact-min-free.",
        )
    for part in (usage.host, *usage.owners):
        if part.limit is not None and part.used + part.reserved >= _NEARLY * part.limit:
            whose = f"owner {part.owner} has" if part.owner else "it has"
            yield warning(
                check,
                f"{whose} taken {size_text(part.used + part.reserved)} of {size_text(part.limit)} for artifacts",
                "Delete some (`paglets artifact usage`, `rm`), or start it with a larger --artifact-quota, or"
                " --artifact-owner-quota.",
            )


async def _paglets(check: str, client: Client, host: str) -> AsyncGenerator[Finding]:
    """Its paglets that need somebody, the first few."""
    shown = 0
    async for info in client.list(host=host, page_size=1000):
        if shown < _SHOWN and (info.state in _UNWELL or info.stuck):
            shown += 1
            why = info.error or "a turn has outlived its deadline by far"
            yield failed(
                check,
                f"paglet {info.paglet_id} is {'stuck' if info.stuck else info.state.value}: {why}",
                f"Look at `paglets paglet why {info.paglet_id}`; there may be more than {_SHOWN} such paglets.",
            )


async def _artifacts(check: str, client: Client) -> AsyncGenerator[Finding]:
    """Its artifacts that have lost their bytes, the first few."""
    shown, token = 0, ""
    while shown < _SHOWN:
        page = await client.artifacts.list(page_size=1000, page_token=token)
        for ref in page.refs:
            if ref.corrupt and shown < _SHOWN:
                shown += 1
                yield failed(
                    check,
                    f"artifact {ref.artifact_id} has lost its bytes",
                    f"Put the same bytes again, which heals it, or delete it; `paglets artifact verify --all --host"
                    f" {client.address}` tells of all.",
                )
        token = page.next_token
        if not token:
            return
