"""Hosts on loopback for anyone's tests: in this process, or as processes of their own that can be killed.

async with local_host(allow=["my.module"]) as host, Client(host.address) as client:
    ...
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, ClassVar, Protocol, TypeVar

from paglets.config import HostSettings
from paglets.server import RunningHost, running_host

__all__ = ["HostProcess", "eventually", "local_host", "send_signal"]

T = TypeVar("T")
_LOOK_AGAIN_S = 0.02
_READY_S = 60.0


@asynccontextmanager
async def local_host(
    name: str | None = None,
    *,
    allow: Sequence[str] | None = None,
    file_roots: Sequence[Path] | None = None,
    join: str | None = None,
    data: Path | None = None,
    settings: HostSettings | None = None,
) -> AsyncGenerator[RunningHost]:
    """A host in this process: `alpha`, on a free port of 127.0.0.1, with a temporary folder unless `data` names one.

    `settings` is taken as it is, its address too, but for the arguments given beside it.
    """
    with tempfile.TemporaryDirectory(prefix="paglets-") as folder:
        base = settings or HostSettings(name="alpha", data=Path(folder), listen="127.0.0.1:0", drain_s=2.0)
        wanted = replace(
            base,
            name=base.name if name is None else name,
            data=base.data if data is None else data,
            join=base.join if join is None else join,
            allow=base.allow if allow is None else tuple(allow),
            file_roots=base.file_roots if file_roots is None else tuple(file_roots),
        )
        async with running_host(wanted) as running:
            yield running


async def eventually(look: Callable[[], Awaitable[T | None]], timeout_s: float = 10.0, what: str = "it") -> T:
    """Looks again and again until `look` gives something true, and returns that. Raises TimeoutError naming `what`."""
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout_s
    while True:
        found = await look()
        if found:
            return found
        if loop.time() > end:
            raise TimeoutError(f"{what} did not come about within {timeout_s:g} s")
        await asyncio.sleep(_LOOK_AGAIN_S)


class _Process(Protocol):
    """What is asked of the process behind a `HostProcess`; an `asyncio.subprocess.Process` answers it."""

    @property
    def pid(self) -> int: ...

    @property
    def stdout(self) -> asyncio.StreamReader | None: ...

    @property
    def returncode(self) -> int | None: ...

    async def wait(self) -> int: ...


def send_signal(process: _Process, number: signal.Signals) -> None:
    """Sends a signal; one that has ended meanwhile is left alone. Safe to repeat.

    `process.send_signal` of Pythons before 3.12.8 looks whether the process has ended first, and thereby takes its exit
    code away from the loop that waits for it: who awaits the process is then told 255.
    """
    with suppress(ProcessLookupError):
        os.kill(process.pid, number)


async def _spawned(command: Sequence[str], environment: Mapping[str, str], stderr: IO[bytes]) -> _Process:
    return await asyncio.create_subprocess_exec(
        *command, env=environment, stdout=asyncio.subprocess.PIPE, stderr=stderr
    )


_Spawn = Callable[[Sequence[str], Mapping[str, str], IO[bytes]], Awaitable[_Process]]


@dataclass(kw_only=True)
class HostProcess:
    """A host as a process of its own: start it, kill it, start it again with the same folder."""

    name: str
    data: Path
    allow: Sequence[str] = ()
    file_roots: Sequence[Path] = ()
    join: str = ""
    arguments: Sequence[str] = ()
    python_path: Sequence[Path] = ()
    address: str = ""
    pid: int = 0
    _process: _Process | None = field(default=None, repr=False)
    # How a process begins; our own tests know a way that spares it the imports.
    _spawn: ClassVar[_Spawn] = staticmethod(_spawned)

    async def start(self, environment: Mapping[str, str] | None = None) -> None:
        """Starts the process and waits until the host serves. Raises RuntimeError when it ends instead."""
        await self.launch(environment)
        await self.wait_ready()

    async def launch(self, environment: Mapping[str, str] | None = None) -> None:
        """Starts the process without waiting for the host."""
        path = os.pathsep.join([*map(str, self.python_path), os.environ.get("PYTHONPATH", "")])
        with self._log().open("ab") as log:
            wanted = {**os.environ, "PYTHONPATH": path.strip(os.pathsep), **(environment or {})}
            self._process = await self._spawn(self._command(), wanted, log)
        self.pid = self._process.pid

    async def wait_ready(self) -> None:
        """Waits until the host serves."""
        process = self._require()
        if process.stdout is None:
            raise RuntimeError(f"host {self.name} was not launched by this object")
        line = await asyncio.wait_for(process.stdout.readline(), _READY_S)
        if not line:
            await process.wait()
            raise RuntimeError(f"host {self.name} ended with {process.returncode}: {self.log()[-2000:]}")
        self.address = json.loads(line)["address"]

    async def kill(self) -> None:
        """Ends the process by SIGKILL."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> int:
        """Ends the process by SIGTERM and returns its exit code."""
        return await self._end(signal.SIGTERM)

    async def ended(self, timeout_s: float = 30.0) -> int:
        """Waits for the process to end by itself and returns its exit code, negative for a signal."""
        return await asyncio.wait_for(self._require().wait(), timeout_s)

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.returncode is None

    def log(self) -> str:
        """What the process said on stderr, over all its starts."""
        return self._log().read_text(errors="replace")

    async def _end(self, signal_number: signal.Signals) -> int:
        process = self._require()
        if process.returncode is None:
            send_signal(process, signal_number)
        return await process.wait()

    def _require(self) -> _Process:
        if self._process is None:
            raise RuntimeError(f"host {self.name} was never started")
        return self._process

    def _log(self) -> Path:
        self.data.mkdir(parents=True, exist_ok=True)
        return self.data.parent / f"{self.name}.log"

    def _command(self) -> list[str]:
        command = [sys.executable, "-m", "paglets", "host", "serve", "--json"]
        command += ["--name", self.name, "--listen", "127.0.0.1:0", "--data", str(self.data)]
        for module in self.allow:
            command += ["--allow", module]
        for root in self.file_roots:
            command += ["--file-root", str(root)]
        if self.join:
            command += ["--join", self.join]
        return [*command, *self.arguments]
