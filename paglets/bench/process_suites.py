"""What a host costs to start and to have: beside the interpreter with gRPC, and beside a bare gRPC server."""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from paglet.examples.counter.v1 import counter_pb2, counter_pb2_grpc
from paglets.bench.processes import host_command, program, program_command
from paglets.bench.rounds import Say, in_turn
from paglets.bench.samples import Reference, Row, Sample
from paglets.bench.stage import Stage
from paglets.client.client import Client

__all__ = ["Memory", "memory_of", "memory_rows", "start_rows"]

_MIB = 1024 * 1024
_IMPORT, _ECHO, _NEW, _AGAIN = "python, import grpc", "bare gRPC server", "start, new folder", "start, same folder"


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident bytes of a host, and of the bare gRPC server beside it."""

    host_bytes: int
    echo_bytes: int


async def start_rows(stage: Stage, say: Say) -> list[Row]:
    """Seconds from the start of a process to the first answer of an rpc; of the import, to its end."""
    folder = Path(tempfile.mkdtemp(dir=stage.folder))
    measures = {
        _NEW: lambda: _start_host(folder, anew=True),
        _AGAIN: lambda: _start_host(folder, anew=False),
        _ECHO: lambda: _start(program_command("echo"), folder, _ask_echo),
        _IMPORT: lambda: _start([sys.executable, "-c", "import grpc.aio; print('{}')"], folder, _ask_nobody),
    }
    found = await in_turn("start", stage.settings.rounds, measures, say)
    references = [Reference(name, found[name]) for name in (_IMPORT, _ECHO)]
    return [
        Row(suite="start", name=name, unit="s", samples=found[name], references=references, less_is_better=True)
        for name in (_NEW, _AGAIN)
    ]


def memory_of(stage: Stage) -> Memory:
    """As it is now."""
    return Memory(stage.alpha.rss_bytes, stage.echo.rss_bytes)


def memory_rows(idle: Memory, after: Memory) -> list[Row]:
    """MiB before anything was asked of the host, and after everything."""
    return [_memory_row("memory, idle", idle), _memory_row("memory, after the run", after)]


def _memory_row(name: str, memory: Memory) -> Row:
    return Row(
        suite="memory",
        name=name,
        unit="MiB",
        samples=[Sample(memory.host_bytes / _MIB)],
        references=[Reference(_ECHO, [Sample(memory.echo_bytes / _MIB)])],
        less_is_better=True,
    )


async def _start_host(folder: Path, *, anew: bool) -> Sample:
    if anew:
        await asyncio.to_thread(shutil.rmtree, folder / "starting", ignore_errors=True)
    return await _start(host_command("starting", folder), folder, _ask_host)


async def _start(command: list[str], folder: Path, ask: Callable[[str], Awaitable[object]]) -> Sample:
    began = time.perf_counter()
    async with program("starting", command, folder, one_arena=False) as child:
        await ask(child.address)
        return Sample(time.perf_counter() - began)


async def _ask_host(address: str) -> None:
    async with Client(address) as client:
        await client.reach()


async def _ask_echo(address: str) -> None:
    async with Client(address) as client:
        stub: counter_pb2_grpc.CounterServiceAsyncStub = counter_pb2_grpc.CounterServiceStub(client.channel)
        await stub.Get(counter_pb2.GetRequest())


async def _ask_nobody(_address: str) -> None:
    """The line that says that the program is ready was all."""
