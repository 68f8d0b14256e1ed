"""Unary calls: of a paglet beside a bare gRPC server, and through another host beside directly."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from paglets.bench.calling import Ask, counting
from paglets.bench.rounds import Say, in_turn
from paglets.bench.samples import Reference, Row, Sample
from paglets.bench.stage import Stage

__all__ = ["call_rows", "forward_rows", "syncs_per_second"]

_CALLERS = (1, 64)
_DISK = "fdatasync of 4 KiB"
_BLOCK = bytes(4096)
_ROWS: Mapping[str, Sequence[str]] = {
    "Get": ("bare gRPC Get",),
    "Get by PagletProxy": ("bare gRPC Get", "Get"),
    "Add": ("bare gRPC Add", _DISK),
    "Add with request ids": ("bare gRPC Add", "Add"),
    "Get multiplexed": ("bare gRPC Get", "Get by PagletProxy"),
    "Add multiplexed": ("bare gRPC Add", "Add with request ids"),
}


async def call_rows(stage: Stage, say: Say) -> list[Row]:
    """Calls a second: `Get` reads, `Add` is a turn that is durable before it is answered."""
    asks = {
        "bare gRPC Get": Ask(server=stage.echo, method="get"),
        "Get": Ask(server=stage.alpha, method="get"),
        "Get by PagletProxy": Ask(server=stage.alpha, method="get", by="proxy"),
        "bare gRPC Add": Ask(server=stage.echo, method="add"),
        "Add": Ask(server=stage.alpha, method="add"),
        "Add with request ids": Ask(server=stage.alpha, method="add", by="stub with request ids"),
        "Get multiplexed": Ask(server=stage.alpha, method="get", by="multiplexed"),
        "Add multiplexed": Ask(server=stage.alpha, method="add", by="multiplexed"),
    }

    async def disk() -> Sample:
        return await asyncio.to_thread(syncs_per_second, stage.folder, stage.settings.seconds / 2)

    rows: list[Row] = []
    async with counting(stage) as counter:
        for callers in _CALLERS:
            measures = {name: counter.measure(ask, callers) for name, ask in asks.items()} | {_DISK: disk}
            found = await in_turn(f"calls, {_people(callers)}", stage.settings.rounds, measures, say)
            rows += [_row("calls", ours, callers, found, _ROWS[ours]) for ours in _ROWS]
    return rows


async def forward_rows(stage: Stage, say: Say) -> list[Row]:
    """Calls a second through a host that does not have the paglet."""
    asks = {
        "direct Get": Ask(server=stage.alpha, method="get"),
        "forwarded Get": Ask(server=stage.beta, method="get", served_by=(stage.alpha, stage.beta)),
    }
    rows: list[Row] = []
    async with counting(stage) as counter:
        for callers in _CALLERS:
            measures = {name: counter.measure(ask, callers) for name, ask in asks.items()}
            found = await in_turn(f"forward, {_people(callers)}", stage.settings.rounds, measures, say)
            rows.append(_row("forward", "forwarded Get", callers, found, ("direct Get",)))
    return rows


def syncs_per_second(folder: Path, seconds: float) -> Sample:
    """How often a second the disk takes 4 KiB more at the end of a file for good."""
    path = folder / "synced"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        count, began = 0, time.perf_counter()
        while time.perf_counter() < began + seconds:
            os.write(descriptor, _BLOCK)
            os.fdatasync(descriptor)
            count += 1
        return Sample(count / (time.perf_counter() - began))
    finally:
        os.close(descriptor)
        path.unlink()


def _row(suite: str, ours: str, callers: int, found: Mapping[str, Sequence[Sample]], references: Sequence[str]) -> Row:
    return Row(
        suite=suite,
        name=f"{ours}, {_people(callers)}",
        unit="calls/s",
        samples=found[ours],
        references=[Reference(name, found[name]) for name in references],
    )


def _people(callers: int) -> str:
    return f"{callers} caller" + ("s" if callers > 1 else "")
