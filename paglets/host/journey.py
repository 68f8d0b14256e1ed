"""One journey under way, as everybody at its source may look at it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from paglets.core.turn import OwnRequest
from paglets.errors import PagletError
from paglets.host.disposal import Disposal
from paglets.host.patience import Patience
from paglets.host.records import Departure
from paglets.host.resident import Resident
from paglets.values import JourneyInfo, JourneyPhase, PagletState

__all__ = ["Journey", "Outcome"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a committed journey ended at the target: ACTIVE, INACTIVE, or FAILED with the error of the arrival turn."""

    state: PagletState
    error: PagletError | None = None


@dataclass(slots=True)
class Journey:
    """How far a journey has come. `ended` holds its outcome, or why it was given up before its commit.

    `resident` is what it takes away, as long as that is here. `own_request` is that of the paglet itself, if it was the
    paglet that asked for the journey. `disposal` is what ends a clone that is on its way.
    """

    departure: Departure
    source: str
    phase: JourneyPhase = JourneyPhase.QUIESCE
    bytes_done: int = 0
    bytes_total: int = 0
    resident: Resident | None = None
    own_request: OwnRequest | None = None
    disposal: Disposal | None = None
    patience: Patience = field(init=False)
    committed: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Future[Outcome] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def __post_init__(self) -> None:
        self.patience = Patience(self.departure)

    async def decided(self) -> None:
        """Waits until it is committed or was given up."""
        committed = asyncio.ensure_future(self.committed.wait())
        try:
            await asyncio.wait([self.ended, committed], return_when=asyncio.FIRST_COMPLETED)
        finally:
            committed.cancel()

    def info(self) -> JourneyInfo:
        """The journey for the eyes of others."""
        return JourneyInfo(
            transfer_id=self.departure.transfer_id,
            source=self.source,
            target=self.departure.target,
            phase=self.phase,
            bytes_done=self.bytes_done,
            bytes_total=self.bytes_total,
            started_at=self.departure.started_at,
        )
