"""Paglets whose state says exactly which requests ran, in which order, and which journeys arrived."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from blake3 import blake3

from paglet.examples.counter.v1 import counter_pb2
from paglets.core.events import CreationEvent, MobilityEvent
from paglets.patterns.operations import OperationPaglet
from paglets.values import FileMode

__all__ = ["Ledger", "LedgerState", "seal"]


@dataclass
class LedgerState:
    """Every amount in the order of the turns, every host arrived at, the files to take along, and whom to tell what.

    `peer` is told of the amounts that are no less than `told_from`.
    """

    amounts: list[int] = field(default_factory=list[int])
    visits: list[str] = field(default_factory=list[str])
    moved: str = ""
    copied: str = ""
    peer: str = ""
    told_from: int = 0


class Ledger(OperationPaglet[LedgerState]):
    """Answers the counter's service: `Add` with how many amounts there are, `Get` with a seal of all of them."""

    Services = (counter_pb2.DESCRIPTOR.services_by_name["CounterService"],)

    async def on_creation(self, event: CreationEvent) -> None:
        """Registers the files that the state names."""
        for path, mode in ((self.state.moved, FileMode.MOVE), (self.state.copied, FileMode.COPY)):
            if path:
                await self.register_file(path, mode=mode)

    async def on_arrival(self, event: MobilityEvent) -> None:
        """Runs once or more for a journey, but only the run that is kept may be seen."""
        self.state.visits.append(event.target)

    async def add(self, request: counter_pb2.AddRequest) -> counter_pb2.AddResponse:
        """Takes an amount down, without asking whether it is there; none below 0; may post it to its peer."""
        if request.amount < 0:
            raise ValueError("no ledger takes that")
        self.state.amounts.append(request.amount)
        if self.state.peer and request.amount >= self.state.told_from:
            self.post(self.state.peer, "paglet.examples.counter.v1.CounterService/Add", request)
        return counter_pb2.AddResponse(value=len(self.state.amounts))

    async def get(self, request: counter_pb2.GetRequest) -> counter_pb2.GetResponse:
        """Two ledgers with the same seal have the same amounts."""
        return counter_pb2.GetResponse(value=seal(self.state.amounts))


def seal(amounts: Iterable[int]) -> int:
    """A number that stands for a sequence of amounts."""
    return int.from_bytes(blake3(",".join(map(str, amounts)).encode()).digest(length=7))
