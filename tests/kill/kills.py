"""Who dies at which point, and who brings the dead back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.kill.homebody import Homebody
from tests.kill.ledger import Ledger
from tests.kill.mesh import Mesh
from tests.kill.story import Story

__all__ = ["Kill", "Kills", "arm", "deaths"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """`victim` plays the role source, target or directory, and dies when it passes `point` the nth time."""

    victim: str
    point: str
    nth: int = 1

    def __str__(self) -> str:
        return f"{self.victim}-{self.point}" + (f"-{self.nth}" if self.nth > 1 else "")

    @property
    def fault(self) -> str:
        """The point as a process is told of it."""
        return f"{self.point}:{self.nth}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kills:
    """The kills of one story; `refused` tells that the target has not heard of the paglet's type."""

    kills: Sequence[Kill]
    refused: bool = field(default=False)

    def __str__(self) -> str:
        return "+".join(map(str, self.kills))

    @property
    def kind(self) -> type[Ledger]:
        """The type of the paglet."""
        return Homebody if self.refused else Ledger


@asynccontextmanager
async def deaths(mesh: Mesh, story: Story) -> AsyncGenerator[None]:
    """While the block runs, and until each has happened, every armed host dies once and is brought back at once."""

    async def die(name: str) -> None:
        await mesh.died(name)
        story.check_sources()
        await mesh.start(name)

    async with asyncio.TaskGroup() as group:
        for name in mesh.armed:
            group.create_task(die(name))
        yield


def arm(mesh: Mesh, kills: Sequence[Kill]) -> None:
    """Tells the victims their points."""
    for kill in kills:
        mesh.arm(mesh.role(kill.victim), kill.fault)
