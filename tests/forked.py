"""Starts `python -m paglets` as forks of a process that has imported it: `tests/forkserver.py`, one a test session.

A host needs more of a processor for its imports than for all else until it serves, and the tests start many hundreds.
A fork is a process as any other: its own pid, streams, environment, folder, exit code, and end by any signal. What it
cannot be is started as users start it.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

__all__ = ["ForkServer", "Forked"]

ROOT = Path(__file__).resolve().parent.parent
_PROGRAM = (sys.executable, "-m", "paglets")
# What is read as Python, its libraries or the C library start; a fork has what its server was started with.
_AT_START = ("PYTHON", "COVERAGE", "GRPC_", "PROTOCOL_BUFFERS_", "LANG", "LC_", "TZ", "LD_", "MALLOC_", "GLIBC_")
_STDIN = 0
_END_S = 30.0


class ForkServer:
    """Forks in place of starting; the server is started when it is first needed, and ends with this process at last.

    `with` ends it, and with it all that it has forked.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._environment = {**os.environ, "GRPC_VERBOSITY": "NONE"}  # as the command itself sets it, if nobody does
        self._control, self._far_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._control.close()
        self._far_end.close()
        if self._process is not None:
            self._process.wait(_END_S)

    @property
    def pid(self) -> int:
        """Of the server; 0 before it is needed."""
        return self._process.pid if self._process is not None else 0

    def can(self, command: Sequence[str], environment: Mapping[str, str]) -> bool:
        """Whether a fork is all that a process started with this command would be."""
        paths = _paths(self._environment) | {ROOT}
        return (
            sys.platform == "linux"
            and tuple(command[: len(_PROGRAM)]) == _PROGRAM
            and _paths(environment) <= paths
            and _at_start({"GRPC_VERBOSITY": "NONE", **environment}) == _at_start(self._environment)
        )

    def ask(self, command: Sequence[str], environment: Mapping[str, str], folder: Path, *streams: int) -> socket.socket:
        """Has a process forked; gives the socket that tells its pid and, when it has ended, its exit code."""
        if self._process is None:
            self._process = self._start()
        request = json.dumps([command[len(_PROGRAM) :], str(folder), dict(environment)]).encode()
        answers, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self._control, [request], [theirs.fileno(), *streams])
        return answers

    def _start(self) -> subprocess.Popen[bytes]:
        with self._far_end as far_end:
            return subprocess.Popen(
                (sys.executable, "-m", "tests.forkserver", str(far_end.fileno())),
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[far_end.fileno()],
            )

    async def spawn(
        self, command: Sequence[str], environment: Mapping[str, str], stderr: IO[bytes]
    ) -> Forked | asyncio.subprocess.Process:
        """A process for a `HostProcess`, forked if it can be."""
        if not self.can(command, environment):
            return await asyncio.create_subprocess_exec(
                *command, env=environment, stdout=asyncio.subprocess.PIPE, stderr=stderr
            )
        read, write = os.pipe()
        answers = self.ask(command, environment, Path.cwd(), _STDIN, write, stderr.fileno())
        os.close(write)
        loop, stdout = asyncio.get_running_loop(), asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdout), os.fdopen(read, "rb", 0))
        _, told = await loop.create_connection(_Answers, sock=answers)
        return Forked(await told.pid, stdout, told.code)


class Forked:
    """A forked process, as `asyncio.subprocess.Process` shows one."""

    def __init__(self, pid: int, stdout: asyncio.StreamReader, code: asyncio.Future[int]) -> None:
        self.pid = pid
        self.stdout = stdout
        self._code = code

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal, once it has ended."""
        return self._code.result() if self._code.done() else None

    async def wait(self) -> int:
        """Waits for its end; the exit code."""
        return await asyncio.shield(self._code)


class _Answers(asyncio.Protocol):
    """What the server tells of one fork: its pid, then its exit code."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.pid: asyncio.Future[int] = loop.create_future()
        self.code: asyncio.Future[int] = loop.create_future()
        self._told = b""

    def data_received(self, data: bytes) -> None:
        """Takes what came; it may be a part of a line."""
        *lines, self._told = (self._told + data).split(b"\n")
        for line in lines:
            (self.code if self.pid.done() else self.pid).set_result(int(line))

    def connection_lost(self, exc: Exception | None) -> None:
        """The server has told all, or it has ended."""
        for untold in (self.pid, self.code):
            if not untold.done():
                untold.set_exception(RuntimeError("the fork server has ended"))


def _paths(environment: Mapping[str, str]) -> set[Path]:
    return {Path(path) for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path}


def _at_start(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in environment.items() if name.startswith(_AT_START) and name != "PYTHONPATH"}
