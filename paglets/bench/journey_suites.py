"""Moves of paglets: with next to no state beside durable calls, and with a file beside an upload of the same bytes."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import AsyncExitStack
from typing import Any

from paglets.bench.calling import Ask, counting
from paglets.bench.carrier import Ballast, Carrier, CarrierState
from paglets.bench.processes import ProgramFailedError
from paglets.bench.rounds import Say, in_turn, with_cpu
from paglets.bench.samples import Reference, Row, Sample
from paglets.bench.stage import Stage
from paglets.bench.transfers import Transfer, TransferCommand
from paglets.client.client import Client
from paglets.client.proxy import PagletProxy
from paglets.core.paglet import Paglet
from paglets.examples.counter import Counter

__all__ = ["MOVE_S", "Shuttle", "dispatch_rows", "load_freight"]

_MIB = 1024 * 1024
MOVE_S = 300.0
"""How long a move may take before the bench gives up: a move that hangs must not hang the run."""

_ADD, _MOVE, _HEAVY = "Add with request ids", "dispatch, empty state", "dispatch, state of 1 MiB"
_CARRY, _UPLOAD = "dispatch with a file", "upload"


class Shuttle:
    """A paglet, by default a counter, that goes to and fro between the hosts."""

    def __init__(self, stage: Stage, alpha: Client, beta: Client, kind: type[Paglet[Any]] = Counter) -> None:
        self._kind = kind
        self._hosts = (stage.alpha, stage.beta)
        self._clients = (alpha, beta)
        self._at = 0
        self._paglet = ""

    async def start(self) -> None:
        """Makes the paglet."""
        self._paglet = (await self._clients[0].create(self._kind)).paglet_id

    async def move(self) -> None:
        """One move, asked of the host where the paglet is."""
        there = 1 - self._at
        info = await self._clients[self._at].dispatch(self._paglet, self._hosts[there].name, timeout_s=MOVE_S)
        if info.host != self._hosts[there].name:
            raise ProgramFailedError(f"the paglet was to be at {self._hosts[there].name} and is at {info.host}")
        self._at = there

    async def moves_per_second(self, seconds: float) -> Sample:
        """Moves one after the other."""

        async def moving() -> tuple[int, float]:
            count, began = 0, time.perf_counter()
            while time.perf_counter() < began + seconds:
                await self.move()
                count += 1
            return count, time.perf_counter() - began

        (count, took_s), cpu_s = await with_cpu(self._hosts, moving())
        return Sample(count / took_s, cpu_s / count)


async def dispatch_rows(stage: Stage, say: Say) -> list[Row]:
    """Moves a second of a counter and of a heavy paglet; MiB/s of a paglet with a registered file."""
    async with AsyncExitStack() as stack:
        alpha = await stack.enter_async_context(Client(stage.alpha.address))
        beta = await stack.enter_async_context(Client(stage.beta.address))
        counter = await stack.enter_async_context(counting(stage))
        shuttle, heavy = Shuttle(stage, alpha, beta), Shuttle(stage, alpha, beta, Ballast)
        await shuttle.start()
        await heavy.start()
        add = counter.measure(Ask(server=stage.alpha, method="add", by="stub with request ids"), 1)
        measures = {
            _MOVE: lambda: shuttle.moves_per_second(stage.settings.seconds),
            _HEAVY: lambda: heavy.moves_per_second(stage.settings.seconds),
            _ADD: add,
            _CARRY: lambda: _carry_freight(stage, alpha),
            _UPLOAD: lambda: _upload_freight(stage),
        }
        found = await in_turn("dispatch", stage.settings.rounds, measures, say)
    return [
        _row(_MOVE, "moves/s", found[_MOVE], Reference(f"{_ADD}, 1 caller", found[_ADD])),
        _row(_HEAVY, "moves/s", found[_HEAVY], Reference(_MOVE, found[_MOVE])),
        _row(_CARRY, "MiB/s", found[_CARRY], Reference("upload of the same file", found[_UPLOAD])),
    ]


async def load_freight(stage: Stage, alpha: Client) -> PagletProxy:
    """A new paglet at alpha with the freight registered. Dispose it to be rid of the freight."""
    return await alpha.create(Carrier, state=CarrierState(path=str(stage.freight)))


async def _carry_freight(stage: Stage, alpha: Client) -> Sample:
    """Moves the freight from alpha to beta."""
    paglet = await load_freight(stage, alpha)
    await asyncio.to_thread(os.sync)
    began = time.perf_counter()
    _, cpu_s = await with_cpu((stage.alpha, stage.beta), paglet.dispatch("beta", timeout_s=MOVE_S))
    mib = stage.settings.file_bytes / _MIB
    rate = mib / (time.perf_counter() - began)
    await paglet.dispose()
    return Sample(rate, cpu_s / mib)


async def _upload_freight(stage: Stage) -> Sample:
    """Uploads the freight to the host that the paglet goes to."""
    client, name = stage.artifact_client, "bench-freight"
    command = TransferCommand(action="put", address=stage.beta.address, name=name, path=str(stage.freight))
    done, cpu_s = await with_cpu((client, stage.beta), client.ask(command, Transfer))
    await client.ask(TransferCommand(action="delete", address=stage.beta.address, name=name), Transfer)
    mib = done.size_bytes / _MIB
    return Sample(mib / done.seconds, cpu_s / mib)


def _row(name: str, unit: str, samples: list[Sample], reference: Reference) -> Row:
    return Row(suite="dispatch", name=name, unit=unit, samples=samples, references=[reference])
