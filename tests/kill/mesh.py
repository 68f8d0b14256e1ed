"""A mesh of host processes that die and come back."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from paglets.testing import HostProcess

__all__ = ["PATIENCE_S", "Mesh", "running_mesh"]

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 25.0
"""Long enough for a busy machine; only a test that fails waits so long."""


@dataclass(kw_only=True)
class Mesh:
    """Hosts by name. `directory` names the one that holds the rows; `source` and `target` those of the journeys.

    `armed` has the point at which a host is going to die.
    """

    folder: Path
    directory: str
    source: str = "alpha"
    target: str = "beta"
    hosts: dict[str, HostProcess] = field(default_factory=dict[str, HostProcess])
    armed: dict[str, str] = field(default_factory=dict[str, str])
    pids: list[int] = field(default_factory=list[int])

    def __iter__(self) -> Iterator[HostProcess]:
        return iter(self.hosts.values())

    def role(self, name: str) -> str:
        """The host that plays a role: source, target or directory."""
        return {"source": self.source, "target": self.target, "directory": self.directory}[name]

    def address(self, name: str) -> str:
        """Where a host listens, dead or alive."""
        return self.hosts[name].address

    @property
    def files(self) -> Path:
        """The folder below which paglets may register files."""
        return self.folder / "files"

    async def open(self) -> None:
        """Starts the directory's host, then the others."""
        self.files.mkdir(parents=True)
        for name in dict.fromkeys((self.directory, self.source, self.target)):
            homely = ["tests.kill.homebody"] if name != self.target else []
            self.hosts[name] = HostProcess(
                name=name,
                data=self.folder / name,
                allow=["tests.kill.ledger", "tests.kill.settler", *homely],
                file_roots=[self.files],
                join=self.hosts[self.directory].address if self.hosts else "",
                python_path=[ROOT],
            )
            await self.start(name)

    async def start(self, name: str, fault: str = "") -> None:
        """Starts a host that is down; `fault` is the point at which it is to die."""
        self.arm(name, fault)
        await self.hosts[name].start(self._environment(name))
        self.pids.append(self.hosts[name].pid)

    async def launch(self, name: str, fault: str) -> None:
        """Starts a host that is to die before it serves."""
        self.arm(name, fault)
        await self.hosts[name].launch(self._environment(name))
        self.pids.append(self.hosts[name].pid)

    def arm(self, name: str, fault: str) -> None:
        """Tells a host, running or not, at which point it is to die from now on; at none when that is empty."""
        self._faults(name).write_text(fault, encoding="utf-8")
        self.armed.pop(name, None)
        if fault:
            self.armed[name] = fault

    def _faults(self, name: str) -> Path:
        return self.folder / f"{name}.fault"

    def _environment(self, name: str) -> dict[str, str]:
        return {"PAGLETS_FAULT": f"@{self._faults(name)}"}

    async def restart(self, name: str, fault: str) -> None:
        """Kills a host and starts it with a point at which it is to die."""
        await self.hosts[name].kill()
        await self.start(name, fault)

    async def died(self, name: str) -> None:
        """Waits for a host to be killed at its point; AssertionError when it ended otherwise, or was not."""
        try:
            code = await self.hosts[name].ended(PATIENCE_S)
        except TimeoutError as error:
            raise AssertionError(f"host {name} never passed {self.armed[name]}") from error
        assert code == -signal.SIGKILL, f"host {name} ended with {code}"

    def logs(self) -> str:
        """The last words of all hosts."""
        return "\n".join(f"--- {host.name}\n{host.log()[-4000:]}" for host in self)

    async def close(self) -> None:
        """Ends all hosts as an operator does, the directory's last, and sees that no process is left."""
        for name in reversed(self.hosts):
            code = await self.hosts[name].stop()
            assert code == 0, f"host {name} ended with {code}: {self.hosts[name].log()[-2000:]}"
        left = [pid for pid in self.pids if psutil.pid_exists(pid)]
        assert not left, f"processes are left: {left}"

    async def abandon(self) -> None:
        """Ends whatever still runs."""
        await asyncio.gather(*(host.kill() for host in self if host.running))


@asynccontextmanager
async def running_mesh(folder: Path, *, directory: str = "gamma", source: str = "alpha") -> AsyncGenerator[Mesh]:
    """A mesh of alpha and beta, and of the directory's host if that is a third; its logs come with what fails."""
    mesh = Mesh(folder=folder, directory=directory, source=source, target="beta" if source == "alpha" else "alpha")
    try:
        await mesh.open()
        yield mesh
        await mesh.close()
    except BaseException as error:
        error.add_note(mesh.logs())
        raise
    finally:
        await mesh.abandon()
