"""Hosts as processes of their own, for as long as a block lasts: started, watched, ended."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["HostEndedError", "HostProcess", "host_process"]

_START_S = 30.0
_GRACE_S = 5.0


class HostEndedError(Exception):
    """A host's process ended although it was still needed."""


@dataclass(frozen=True, slots=True)
class HostProcess:
    """A running host."""

    name: str
    address: str
    process: Process
    log: Path

    async def watch(self) -> None:
        """Returns never: raises HostEndedError when the process ends."""
        raise _ended(self.name, self.process.pid, await self.process.wait(), self.log)


@asynccontextmanager
async def host_process(name: str, folder: Path, options: Sequence[str]) -> AsyncGenerator[HostProcess]:
    """A host with its data below `folder`, on a free port of this machine; it has ended when the block has.

    It has a session of its own, so that Ctrl-C reaches us alone, and ends with its standard input, so that it cannot
    outlive us even if we are killed. Raises HostEndedError when it does not come up.
    """
    log = folder / f"{name}.log"
    command = ("-m", "paglets", "host", "serve", "--name", name, "--data", str(folder / name))
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, *command, "--listen", "127.0.0.1:0", "--json", "--until-eof", *options),
            stdin=PIPE,
            stdout=PIPE,
            stderr=errors,
            start_new_session=True,
        )
    try:
        yield HostProcess(name, await _address(name, process, log), process, log)
    finally:
        await _end(process)


async def _address(name: str, process: Process, log: Path) -> str:
    """Where the host listens, from the line that it prints once it serves."""
    try:
        line = await asyncio.wait_for(process.stdout.readline(), _START_S) if process.stdout else b""
    except TimeoutError as error:
        raise HostEndedError(f"host {name} did not come up within {_START_S:g} s{_tail(log)}") from error
    if not line:
        raise _ended(name, process.pid, await process.wait(), log)
    address: str = json.loads(line)["address"]
    return address


async def _end(process: Process) -> None:
    """Asks the process to end, and makes it end if it does not."""
    if process.returncode is None:
        _send_signal(process, signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), _GRACE_S)
        except TimeoutError:
            _send_signal(process, signal.SIGKILL)
            await process.wait()


def _send_signal(process: Process, number: signal.Signals) -> None:
    """Signals the session of a host. Not by the process's own method, which may take its exit code from the loop."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _ended(name: str, pid: int, code: int, log: Path) -> HostEndedError:
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    return HostEndedError(f"host {name} (process {pid}) {how}{_tail(log)}")


def _tail(log: Path) -> str:
    """The last line that the host wrote to its log, if it wrote any."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return f"; its last words: {lines[-1]}" if lines else ""
