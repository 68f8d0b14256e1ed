"""Programs as processes of their own: started, asked, looked at, ended. None outlives whoever started it.

This file must never know what the programs do.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec
import psutil

from paglets.bench.worker import Ready

__all__ = ["Child", "ProgramFailedError", "host_command", "program", "program_command"]

AnswerT = TypeVar("AnswerT")
_START_S = 60.0
_GRACE_S = 10.0
_FOREIGN = ("PAGLETS_", "MALLOC_", "PYTHONDONTWRITEBYTECODE", "PYTHONOPTIMIZE", "PYTHONASYNCIODEBUG")


class ProgramFailedError(Exception):
    """A program of the bench did not start, ended too early, or gave an answer that is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """A running program. `pid` is its own, also where another program watches it."""

    name: str
    address: str
    pid: int
    process: Process
    log: Path

    async def ask(self, command: object, answer_type: type[AnswerT]) -> AnswerT:
        """Gives a command and waits for the answer, however long it takes."""
        if self.process.stdin is not None:
            self.process.stdin.write(msgspec.json.encode(command) + b"\n")
        return msgspec.json.decode(await _line(self.name, self.process, self.log), type=answer_type)

    @property
    def rss_bytes(self) -> int:
        """The memory it holds now."""
        return psutil.Process(self.pid).memory_info().rss

    @property
    def cpu_s(self) -> float:
        """The CPU time that it has taken so far, in ticks of 10 ms."""
        times = psutil.Process(self.pid).cpu_times()
        return times.user + times.system


def program_command(module: str, *arguments: str) -> list[str]:
    """How a program of this package is started."""
    return [sys.executable, "-m", f"paglets.bench.{module}", *arguments]


def host_command(name: str, folder: Path, *options: str) -> list[str]:
    """How a host is started: as users do it, without their settings and without bounds on what it stores."""
    config = folder / "no-settings.toml"
    config.touch()
    command = [sys.executable, "-m", "paglets", "--config", str(config), "host", "serve", "--json", "--until-eof"]
    command += ["--name", name, "--data", str(folder / name), "--listen", "127.0.0.1:0"]
    return [*command, "--artifact-quota", "none", "--artifact-max-size", "none", *options]


@asynccontextmanager
async def program(
    name: str, command: Sequence[str], folder: Path, *, one_arena: bool = True
) -> AsyncGenerator[Child, None]:
    """A program that is ready; when the block ends, so does it. Raises ProgramFailedError when it does not start.

    It has a session of its own, so that Ctrl-C reaches us alone. `one_arena` keeps glibc to one malloc arena, as hosts
    and the client of artifacts do for themselves.
    """
    log = folder / f"{name}.log"
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=PIPE,
            stdout=PIPE,
            stderr=errors,
            start_new_session=True,
            env=_environment(folder, one_arena=one_arena),
        )
    try:
        try:
            line = await asyncio.wait_for(_line(name, process, log), _START_S)
        except TimeoutError as error:
            raise ProgramFailedError(f"{name} was not ready within {_START_S:g} s{_tail(log)}") from error
        ready = msgspec.json.decode(line, type=Ready)
        yield Child(name=name, address=ready.address, pid=ready.pid, process=process, log=log)
    finally:
        await _end(process)


def _environment(folder: Path, *, one_arena: bool) -> dict[str, str]:
    """Ours, without what would change a host, with gRPC's own log off, and with byte code kept as an installation does.

    That is kept below `folder`, so that a checkout stays as it is.
    """
    kept = {key: value for key, value in os.environ.items() if not key.startswith(_FOREIGN)}
    own = {"GRPC_VERBOSITY": "NONE", "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}
    return {**kept, **own, **({"MALLOC_ARENA_MAX": "1"} if one_arena else {})}


async def _line(name: str, process: Process, log: Path) -> bytes:
    line = await process.stdout.readline() if process.stdout else b""
    if not line:
        code = await process.wait()
        raise ProgramFailedError(f"{name} ended with {code}{_tail(log)}")
    return line


async def _end(process: Process) -> None:
    """Closes its input, which ends it; makes it end if it does not."""
    if process.returncode is not None:
        return
    if process.stdin is not None:
        process.stdin.close()
    try:
        await asyncio.wait_for(process.wait(), _GRACE_S)
    except TimeoutError:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return "; its last words: " + " / ".join(lines[-3:]) if lines else ""
