"""A paglet that does nothing but carry a file: what a move costs, and nothing beside it."""

from __future__ import annotations

from dataclasses import dataclass

from paglets.core.events import CreationEvent
from paglets.core.paglet import Paglet

__all__ = ["Ballast", "Carrier", "CarrierState"]


@dataclass
class CarrierState:
    """Where the file is that it registers when it is created."""

    path: str = ""


class Carrier(Paglet[CarrierState]):
    """Has a registered file and no operations."""

    async def on_creation(self, event: CreationEvent) -> None:
        """Reads, hashes and registers the file, so that a move afterwards begins with its first step."""
        await self.register_file(self.state.path, "freight")


@dataclass
class BallastState:
    """A state about as large as one may be that every turn keeps."""

    data: str = "x" * (1024 * 1024 - 64)


class Ballast(Paglet[BallastState]):
    """A paglet that is heavy, and does nothing."""
