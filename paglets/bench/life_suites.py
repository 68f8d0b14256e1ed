"""Paglets made, laid down and brought back, on a host of this suite's own: what is made weighs on no other measure."""

from __future__ import annotations

import asyncio
import time
from typing import Literal

from paglets.bench.call_client import By, CallCommand, Calls
from paglets.bench.call_suites import syncs_per_second
from paglets.bench.processes import Child, host_command, program
from paglets.bench.rounds import Say, in_turn, with_cpu
from paglets.bench.samples import Reference, Row, Sample
from paglets.bench.stage import Stage
from paglets.client.client import Client
from paglets.examples.counter import Counter

__all__ = ["life_rows"]

_MAKERS = 16
_CREATE, _MULTIPLEXED, _REST = "create", "create multiplexed", "deactivate and activate"
_ADD, _DISK = "bare gRPC Add", "fdatasync of 4 KiB"


async def life_rows(stage: Stage, say: Say) -> list[Row]:
    """Creations a second by sixteen callers; rests with the return from each, one after the other."""
    command = host_command("life", stage.folder, "--allow", "paglets.examples.counter")
    async with program("life", command, stage.folder, one_arena=False) as host, Client(host.address) as client:
        paglet_id = (await client.create(Counter)).paglet_id

        async def disk() -> Sample:
            return await asyncio.to_thread(syncs_per_second, stage.folder, stage.settings.seconds / 2)

        measures = {
            _CREATE: lambda: _calls(stage, host, paglet_id, "create"),
            _MULTIPLEXED: lambda: _calls(stage, host, paglet_id, "create", by="multiplexed"),
            _ADD: lambda: _calls(stage, stage.echo, paglet_id, "add"),
            _REST: lambda: _rests(host, client, paglet_id, stage.settings.seconds),
            _DISK: disk,
        }
        found = await in_turn("life", stage.settings.rounds, measures, say)
    disks = Reference(_DISK, found[_DISK])
    return [
        *(
            Row(
                suite="life",
                name=f"{name}, {_MAKERS} callers",
                unit="paglets/s",
                samples=found[name],
                references=[Reference(_ADD, found[_ADD]), disks],
            )
            for name in (_CREATE, _MULTIPLEXED)
        ),
        Row(suite="life", name=_REST, unit="pairs/s", samples=found[_REST], references=[disks]),
    ]


async def _calls(
    stage: Stage, server: Child, paglet_id: str, method: Literal["add", "create"], *, by: By = "stub"
) -> Sample:
    client = stage.call_clients[0]
    command = CallCommand(
        address=server.address,
        paglet_id=paglet_id,
        method=method,
        callers=_MAKERS,
        seconds=stage.settings.seconds,
        by=by,
    )
    done, cpu_s = await with_cpu((server,), client.ask(command, Calls))
    return Sample(done.calls / done.seconds, cpu_s / done.calls)


async def _rests(host: Child, client: Client, paglet_id: str, seconds: float) -> Sample:
    """Lays a paglet down and brings it back, one after the other."""

    async def resting() -> tuple[int, float]:
        count, began = 0, time.perf_counter()
        while time.perf_counter() < began + seconds:
            await client.deactivate(paglet_id)
            await client.activate(paglet_id)
            count += 1
        return count, time.perf_counter() - began

    (count, took_s), cpu_s = await with_cpu((host,), resting())
    return Sample(count / took_s, cpu_s / count)
