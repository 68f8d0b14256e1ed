"""What a host and its clients take of memory while many clients move large artifacts both ways at once.

All are processes of their own, started as the bench starts them: as users do.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from paglets.bench.processes import Child, host_command, program, program_command
from paglets.bench.transfers import Transfer, TransferCommand

__all__ = ["Growth", "memory_load"]

MIB = 1024 * 1024
ALLOWED_BYTES = 64 * MIB
"""What a process may take beyond what it has idle."""
STREAM_BYTES = 4 * MIB
"""And this for each stream."""
_LOOK_S = 0.005
_PIECE_BYTES = 4 * MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """The most that the host, and any of the clients, took beyond what they had idle, in bytes."""

    host: int
    client: int
    streams: int

    def check(self) -> None:
        """Fails where that is more than they may take."""
        assert self.host <= ALLOWED_BYTES + STREAM_BYTES * self.streams, str(self)
        assert self.client <= ALLOWED_BYTES + STREAM_BYTES, str(self)

    def __str__(self) -> str:
        host, client = self.host // MIB, self.client // MIB
        return f"over idle: the host {host} MiB with {self.streams} streams, a client {client} MiB"


class _Peaks:
    """The most memory that each of some processes had."""

    def __init__(self, children: Sequence[Child]) -> None:
        self._idle = {child.name: child.rss_bytes for child in children}
        self._most = dict(self._idle)
        self._children = children

    def growth(self, name: str) -> int:
        """How far one of them is above what it had."""
        return self._most[name] - self._idle[name]

    @asynccontextmanager
    async def watched(self) -> AsyncGenerator[None]:
        """Looks again and again while the block runs."""
        looking = asyncio.create_task(self._look())
        try:
            yield
        finally:
            looking.cancel()
            await asyncio.wait((looking,))

    async def _look(self) -> None:
        while True:
            for child in self._children:
                self._most[child.name] = max(self._most[child.name], child.rss_bytes)
            await asyncio.sleep(_LOOK_S)


async def memory_load(folder: Path, *, clients: int, size: int, rounds: int) -> Growth:
    """Each of so many clients sends `rounds` artifacts of `size` bytes and fetches each one again.

    One half of them is a step ahead of the other, so that bytes go both ways at once. Whatever arrives is right.
    """
    async with AsyncExitStack() as stack:
        host = await stack.enter_async_context(program("alpha", host_command("alpha", folder), folder, one_arena=False))
        movers = [
            await stack.enter_async_context(
                program(f"client-{number}", program_command("artifact_client"), folder, one_arena=False)
            )
            for number in range(clients)
        ]
        for mover in movers:  # both connections are there before anything is measured
            await _move(folder, mover, host, "put", 1)
            await _move(folder, mover, host, "delete", 1)
        peaks = _Peaks([host, *movers])
        async with peaks.watched(), asyncio.TaskGroup() as moving:
            for number, mover in enumerate(movers):
                moving.create_task(_there_and_back(folder, mover, host, size, rounds, ahead=number % 2 == 0))
        return Growth(
            host=peaks.growth("alpha"), client=max(peaks.growth(mover.name) for mover in movers), streams=clients
        )


async def _there_and_back(folder: Path, mover: Child, host: Child, size: int, rounds: int, *, ahead: bool) -> None:
    if ahead:
        await _round(folder, mover, host, size // 2)
    for _ in range(rounds):
        await _round(folder, mover, host, size)


async def _round(folder: Path, mover: Child, host: Child, size: int) -> None:
    put = await _move(folder, mover, host, "put", size)
    got = await _move(folder, mover, host, "get", size)
    assert (got.digest, got.size_bytes) == (put.digest, size)
    await _move(folder, mover, host, "delete", size)


async def _move(
    folder: Path, mover: Child, host: Child, action: Literal["put", "get", "delete"], size: int
) -> Transfer:
    source, landed = folder / f"{mover.name}.source", folder / f"{mover.name}.landed"
    if action == "put":
        await asyncio.to_thread(_write_random, source, size)
    command = TransferCommand(
        action=action,
        address=host.address,
        name=mover.name,
        path=str(landed if action == "get" else source),
        size_bytes=size,
    )
    return await mover.ask(command, Transfer)


def _write_random(path: Path, size: int) -> None:
    with path.open("wb") as file:
        for start in range(0, size, _PIECE_BYTES):
            file.write(os.urandom(min(_PIECE_BYTES, size - start)))
