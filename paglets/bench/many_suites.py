"""A host that has very many paglets: its start, what each of them weighs, and calls of those that rest."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles

from paglet.examples.counter.v1 import counter_pb2, counter_pb2_grpc
from paglets.bench.many import active_id, fill, inactive_id
from paglets.bench.processes import Child, host_command, program
from paglets.bench.rounds import Say, in_turn
from paglets.bench.samples import Reference, Row, Sample
from paglets.bench.stage import Stage
from paglets.client.client import Client

__all__ = ["many_rows"]

_ACTIVE, _INACTIVE, _CALLED = 10_000, 100_000, 500
_KIB, _GIB, _MS = 1024, 1024**3, 1000.0
_PAUSE_S, _IDLE_CPU_S = 0.5, 0.03


@dataclass(frozen=True, slots=True)
class _Crowd:
    """Hosts of one folder that were filled: `both` has active and inactive paglets, `empty` none."""

    folder: Path
    active: int
    inactive: int

    @asynccontextmanager
    async def host(self, name: str) -> AsyncGenerator[Child, None]:
        """Starts one; when the block ends, so does it."""
        command = host_command(name, self.folder, "--allow", "paglets.examples.counter")
        async with program(name, command, self.folder, one_arena=False) as child:
            yield child

    async def fill(self, say: Say) -> None:
        """Makes the data folders."""
        for name, active, inactive in (
            ("empty", 0, 0),
            ("active", self.active, 0),
            ("inactive", 0, self.inactive),
            ("both", self.active, self.inactive),
        ):
            say(f"many: making {active} active and {inactive} inactive paglets")
            async with self.host(name):
                pass
            await fill(self.folder / name, name, active=active, inactive=inactive)


async def many_rows(stage: Stage, say: Say) -> list[Row]:
    """Of 10,000 active paglets and 100,000 inactive ones; fewer where `--size` is less than 1 GiB."""
    folder = stage.folder / "many"
    folder.mkdir()
    share = min(1.0, stage.settings.size_bytes / _GIB)
    crowd = _Crowd(folder, max(2, int(_ACTIVE * share)), max(2, int(_INACTIVE * share)))
    await crowd.fill(say)
    measures = {name: lambda name=name: _start(crowd, name) for name in ("both", "empty")}
    starts = await in_turn("many, start", stage.settings.rounds, measures, say)
    people = f"{crowd.active} active and {crowd.inactive} inactive"
    return [
        _row(f"start, {people}", "s", starts["both"], Reference("start, no paglets", starts["empty"])),
        *await _weights(crowd, stage.echo.rss_bytes, say),
        await _calls(crowd, say),
    ]


async def _start(crowd: _Crowd, name: str) -> Sample:
    """Seconds from the start of the process to its first answer."""
    began = time.perf_counter()
    async with crowd.host(name) as host, Client(host.address) as client:
        await client.reach()
        return Sample(time.perf_counter() - began)


async def _weights(crowd: _Crowd, process_bytes: int, say: Say) -> list[Row]:
    """What a host holds more for each paglet, once all that come back have."""
    held: dict[str, int] = {}
    for name in ("empty", "active", "inactive"):
        say(f"many: what the paglets of host {name} weigh")
        async with crowd.host(name) as host:
            await _settled(host)
            held[name] = host.rss_bytes
    return [
        _row(
            f"memory, {kind} paglet",
            "KiB",
            [Sample(max(1, held[kind] - held["empty"]) / count / _KIB)],
            Reference("bare gRPC server, as many would need", [Sample(process_bytes / _KIB)]),
        )
        for kind, count in (("active", crowd.active), ("inactive", crowd.inactive))
    ]


async def _settled(host: Child) -> None:
    """Waits until a host that was started has nothing left to do."""
    before = -1.0
    while host.cpu_s - before > _IDLE_CPU_S:
        before = host.cpu_s
        await asyncio.sleep(_PAUSE_S)


async def _calls(crowd: _Crowd, say: Say) -> Row:
    say("many: calls of paglets that rest, and of such that do not")
    async with crowd.host("both") as host, Client(host.address) as client:
        await _settled(host)
        sleeping = [inactive_id(number) for number in _some(crowd.inactive)]
        awake = [active_id(number) for number in _some(crowd.active)]
        ours, theirs = await _p99(client, sleeping), await _p99(client, awake)
    return _row("p99 of a call of an inactive one", "ms", [ours], Reference("of an active one", [theirs]))


def _some(count: int) -> list[int]:
    return random.sample(range(count), min(count, _CALLED))


async def _p99(client: Client, paglet_ids: Sequence[str]) -> Sample:
    """Of one call of each, one after the other."""
    took_ms: list[float] = []
    for paglet_id in paglet_ids:
        stub: counter_pb2_grpc.CounterServiceAsyncStub = client.proxy(paglet_id).stub(
            counter_pb2_grpc.CounterServiceStub
        )
        began = time.perf_counter()
        await stub.Get(counter_pb2.GetRequest())
        took_ms.append((time.perf_counter() - began) * _MS)
    return Sample(quantiles(took_ms, n=100)[-1])


def _row(name: str, unit: str, samples: Sequence[Sample], reference: Reference) -> Row:
    return Row(suite="many", name=name, unit=unit, samples=samples, references=[reference], less_is_better=True)
