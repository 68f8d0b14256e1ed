"""The queue of those who wait for a paglet, held against a plain list."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from paglets.core.mailbox import Mailbox, Ticket
from paglets.errors import ExhaustedError

MAX_CALLS, MAX_BYTES = 3, 100


class MailboxModel(RuleBasedStateMachine):
    """Every order of puts, removals and services, against a list of who waits and a name of who is served."""

    tickets: Bundle[Ticket] = Bundle("tickets")

    def __init__(self) -> None:
        super().__init__()
        self.mailbox = Mailbox("p-1", MAX_CALLS, MAX_BYTES)
        self.waiting: list[Ticket] = []
        self.serving: Ticket | None = None

    def bytes_waiting(self) -> int:
        """How many bytes the model has waiting."""
        return sum(ticket.size_bytes for ticket in self.waiting)

    @rule(target=tickets, size_bytes=st.integers(0, MAX_BYTES + 1))
    def put(self, size_bytes: int) -> Ticket:
        """A ticket is queued exactly if there is room for it."""
        ticket = Ticket(size_bytes)
        if len(self.waiting) < MAX_CALLS and self.bytes_waiting() + size_bytes <= MAX_BYTES:
            self.mailbox.put(ticket)
            self.waiting.append(ticket)
        else:
            with pytest.raises(ExhaustedError) as full:
                self.mailbox.put(ticket)
            assert (full.value.reason, full.value.retry_after_s) == ("MAILBOX_FULL", 0.1)
        return ticket

    @rule(target=tickets, size_bytes=st.integers(0, MAX_BYTES + 1))
    def put_own(self, size_bytes: int) -> Ticket:
        """The paglet's own work always finds room."""
        ticket = Ticket(size_bytes, own=True)
        self.mailbox.put(ticket)
        self.waiting.append(ticket)
        return ticket

    @rule(ticket=consumes(tickets))
    def remove(self, ticket: Ticket) -> None:
        """A ticket leaves the queue wherever it stands; one that does not wait is ignored."""
        self.mailbox.remove(ticket)
        if ticket in self.waiting:
            self.waiting.remove(ticket)

    @rule()
    def serve(self) -> None:
        """The first in the queue is served, and nobody while somebody is."""
        wanted = self.waiting.pop(0) if self.serving is None and self.waiting else None
        assert self.mailbox.serve() is wanted
        self.serving = wanted or self.serving

    @rule(ticket=tickets)
    def served(self, ticket: Ticket) -> None:
        """Only the ticket that is being served can end its service."""
        self.mailbox.served(ticket)
        if ticket is self.serving:
            self.serving = None

    @invariant()
    def agrees(self) -> None:
        """Counts are those of the model."""
        found = (len(self.mailbox), self.mailbox.waiting_bytes, self.mailbox.busy)
        assert found == (len(self.waiting), self.bytes_waiting(), self.serving is not None)


TestMailbox = MailboxModel.TestCase
TestMailbox.settings = settings(max_examples=50)


def test_core_8_full_mailbox_names_its_bounds() -> None:
    """Whoever is refused learns how many wait, and what the mailbox takes."""
    mailbox = Mailbox("p-1", 1, 10)
    mailbox.put(Ticket(4))
    with pytest.raises(
        ExhaustedError, match="1 calls with 4 bytes wait for paglet p-1 already; it takes 1 calls and 10"
    ):
        mailbox.put(Ticket())
