"""A ledger that settles wherever it is: what one life of an id leaves behind, no later one may find."""

from __future__ import annotations

from dataclasses import dataclass, field

from paglets.core.events import ActivationEvent, CreationEvent, MobilityEvent
from tests.kill.ledger import Ledger, LedgerState

__all__ = ["Settler", "SettlerState"]


@dataclass
class SettlerState(LedgerState):
    """As a ledger's; `life` tells the lives of one id apart, and `strange` is what this one found of others."""

    life: int = 0
    strange: list[str] = field(default_factory=list[str])


class Settler(Ledger):
    """Keeps a file in its work folder, named after its life."""

    State = SettlerState

    async def on_creation(self, event: CreationEvent) -> None:
        """As a ledger; then settles."""
        await super().on_creation(event)
        await self._settle()

    async def on_arrival(self, event: MobilityEvent) -> None:
        """As a ledger; then settles."""
        await super().on_arrival(event)
        await self._settle()

    async def on_activation(self, event: ActivationEvent) -> None:
        """Settles, where it arrived at rest."""
        await self._settle()

    async def _settle(self) -> None:
        assert isinstance(self.state, SettlerState)
        folder, own = await self.work_folder(), f"life-{self.state.life}"
        self.state.strange += [found.name for found in folder.iterdir() if found.name != own]
        (folder / own).touch()
