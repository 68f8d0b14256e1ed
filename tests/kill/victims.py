"""Hosts that die while something goes on, each at one point after the other, and are brought back at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from paglets.testing import HostProcess
from tests.kill.kills import Kill
from tests.kill.mesh import Mesh

__all__ = ["Victims"]


class Victims:
    """`arm` before, `disarm` after what is to be disturbed.

    `deaths` has the kills that happened; `restarts` the times of the loop's clock at which a dead host served again.
    """

    def __init__(self, mesh: Mesh, fates: Sequence[Sequence[Kill]]) -> None:
        self.deaths: list[Kill] = []
        self.restarts: list[float] = []
        self._mesh = mesh
        self._fates = fates
        self._enough = asyncio.Event()
        self._lives: list[asyncio.Task[None]] = []

    def arm(self, group: asyncio.TaskGroup) -> None:
        """Tells each victim its first point; `group` owns their deaths, and ends when one fails."""
        for kills in self._fates:
            self._mesh.arm(self._mesh.role(kills[0].victim), kills[0].fault)
        self._lives = [group.create_task(self._live(kills)) for kills in self._fates]

    async def disarm(self) -> None:
        """Takes the points away that were not passed, by a kill and a restart; all hosts serve on return."""
        self._enough.set()
        if self._lives:
            await asyncio.wait(self._lives)

    async def _live(self, kills: Sequence[Kill]) -> None:
        name = self._mesh.role(kills[0].victim)
        for number, kill in enumerate(kills):
            if number > 0:
                with suppress(RuntimeError):  # it may die before it serves
                    await self._mesh.start(name, kill.fault)
                    self._serves()
            if not await self._ended(self._mesh.hosts[name]):
                break
            await self._mesh.died(name)
            self.deaths.append(kill)
        await self._mesh.restart(name, "")
        self._serves()

    async def _ended(self, host: HostProcess) -> bool:
        """Waits until a host has ended by itself; False when it is to be disarmed first."""
        ending = asyncio.create_task(host.ended(timeout_s=600))
        enough = asyncio.create_task(self._enough.wait())
        try:
            await asyncio.wait([ending, enough], return_when=asyncio.FIRST_COMPLETED)
            return ending.done()
        finally:
            ending.cancel()
            enough.cancel()

    def _serves(self) -> None:
        self.restarts.append(asyncio.get_running_loop().time())
