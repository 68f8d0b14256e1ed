"""A paglet that counts: the smallest one that is worth having, and the one to read first.

Its service is `protos/paglet/examples/counter/v1/counter.proto`. Start a host with `--allow paglets.examples.counter`,
create a `paglets.examples.counter.Counter`, and call it from any language with the stub made from that proto and the
metadata `paglet-id`.
"""

from __future__ import annotations

from dataclasses import dataclass

from paglet.examples.counter.v1 import counter_pb2
from paglets.errors import InvalidArgumentError
from paglets.patterns.operations import OperationPaglet

__all__ = ["Counter", "CounterState"]

_MIN, _MAX = -(2**63), 2**63 - 1


@dataclass
class CounterState:
    """All that the counter keeps, and all that moves with it."""

    value: int = 0


class Counter(OperationPaglet[CounterState]):
    """Counts. One method an rpc; each changes the state or raises, and the host does the rest."""

    Services = (counter_pb2.DESCRIPTOR.services_by_name["CounterService"],)

    async def add(self, request: counter_pb2.AddRequest) -> counter_pb2.AddResponse:
        """A turn: when the reply leaves, the new count is on the disk. An error leaves the count as it was."""
        value = self.state.value + request.amount
        if not _MIN <= value <= _MAX:
            raise InvalidArgumentError(
                "MALFORMED_REQUEST",
                f"adding {request.amount} to {self.state.value} leaves the 64 bits of a count",
                field="amount",
            )
        self.state.value = value
        return counter_pb2.AddResponse(value=value)

    async def get(self, request: counter_pb2.GetRequest) -> counter_pb2.GetResponse:
        """The proto says NO_SIDE_EFFECTS: this reads the durable state, at once, beside any turn."""
        return counter_pb2.GetResponse(value=self.state.value)
