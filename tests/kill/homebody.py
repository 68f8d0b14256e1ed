"""A ledger that the target of its journeys has not heard of: every journey is refused and taken back."""

from tests.kill.ledger import Ledger, LedgerState

__all__ = ["Homebody"]


class Homebody(Ledger):
    """A ledger of a type that is allowed at home only."""

    State = LedgerState
