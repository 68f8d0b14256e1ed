"""Paglets that keep what their states do not declare: `--allow tests.host.misfit`. Their service is counting."""

from __future__ import annotations

from dataclasses import dataclass, field

from paglet.examples.counter.v1 import counter_pb2
from paglets.patterns.operations import OperationPaglet

__all__ = ["COLLECTOR_TYPE", "MISFIT_MODULE", "NAMELESS_TYPE", "Collector", "Nameless"]

MISFIT_MODULE = "tests.host.misfit"
COLLECTOR_TYPE = f"{MISFIT_MODULE}.Collector"
NAMELESS_TYPE = f"{MISFIT_MODULE}.Nameless"


@dataclass
class Coin:
    """What is collected."""

    value: int = 0


@dataclass
class Medal(Coin):
    """A coin, and more than that."""

    year: int = 1900


@dataclass
class CollectorState:
    """Coins, as declared."""

    coins: list[Coin] = field(default_factory=list[Coin])


class Collector(OperationPaglet[CollectorState]):
    """Counts coins; what has a negative value is a medal."""

    Services = (counter_pb2.DESCRIPTOR.services_by_name["CounterService"],)

    async def add(self, request: counter_pb2.AddRequest) -> counter_pb2.AddResponse:
        """Takes one more."""
        self.state.coins.append((Coin if request.amount >= 0 else Medal)(request.amount))
        return counter_pb2.AddResponse(value=len(self.state.coins))

    async def get(self, request: counter_pb2.GetRequest) -> counter_pb2.GetResponse:
        """Their number."""
        return counter_pb2.GetResponse(value=len(self.state.coins))


@dataclass
class NamelessState:
    """Has a default that it cannot have."""

    name: str = None  # pyright: ignore[reportAssignmentType] - the mistake that is tested


class Nameless(OperationPaglet[NamelessState]):
    """Looks at its state late."""

    Services = (counter_pb2.DESCRIPTOR.services_by_name["CounterService"],)

    async def add(self, request: counter_pb2.AddRequest) -> counter_pb2.AddResponse:
        """Counts the letters."""
        return counter_pb2.AddResponse(value=len(self.state.name))

    async def get(self, request: counter_pb2.GetRequest) -> counter_pb2.GetResponse:
        """Counts the letters."""
        return counter_pb2.GetResponse(value=len(self.state.name))
