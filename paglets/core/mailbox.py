"""Who waits for a paglet, and in which order. Pure: no clock, no loop, no disk, no gRPC."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from paglets.errors import ExhaustedError, Resource

__all__ = ["Mailbox", "Ticket"]


@dataclass(eq=False, slots=True)
class Ticket:
    """A place in the queue, held by a call of `size_bytes`, or by work of the paglet's `own`."""

    size_bytes: int = 0
    own: bool = False


class Mailbox:
    """A bounded queue of tickets, first come, first served. One ticket at a time is being served."""

    def __init__(self, paglet_id: str, max_calls: int, max_bytes: int) -> None:
        self._paglet_id = paglet_id
        self._max_calls = max_calls
        self._max_bytes = max_bytes
        self._waiting: OrderedDict[Ticket, None] = OrderedDict()
        self._bytes = 0
        self._serving: Ticket | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def waiting_bytes(self) -> int:
        """How many bytes of calls wait."""
        return self._bytes

    @property
    def busy(self) -> bool:
        """Whether a ticket is being served."""
        return self._serving is not None

    def put(self, ticket: Ticket) -> None:
        """Queues a ticket. Raises MAILBOX_FULL when it would be one, or its bytes, too many.

        The bounds are for callers: the paglet's own work is never turned away, whoever besieges it.
        """
        if not ticket.own and self._is_full(ticket):
            raise ExhaustedError(
                "MAILBOX_FULL",
                f"{len(self._waiting)} calls with {self._bytes} bytes wait for paglet {self._paglet_id} already;"
                f" it takes {self._max_calls} calls and {self._max_bytes} bytes",
                resource=Resource("paglet", self._paglet_id),
                retry_after_s=0.1,
            )
        self._waiting[ticket] = None
        self._bytes += ticket.size_bytes

    def _is_full(self, ticket: Ticket) -> bool:
        return len(self._waiting) >= self._max_calls or self._bytes + ticket.size_bytes > self._max_bytes

    def remove(self, ticket: Ticket) -> None:
        """Takes a waiting ticket out of the queue; one that does not wait is ignored."""
        if ticket in self._waiting:
            del self._waiting[ticket]
            self._bytes -= ticket.size_bytes

    def serve(self) -> Ticket | None:
        """Begins to serve the first ticket; None when one is being served or none waits."""
        if self._serving is not None or not self._waiting:
            return None
        ticket, _ = self._waiting.popitem(last=False)
        self._bytes -= ticket.size_bytes
        self._serving = ticket
        return ticket

    def served(self, ticket: Ticket) -> None:
        """Ends the service of a ticket; one that is not being served is ignored."""
        if self._serving is ticket:
            self._serving = None
