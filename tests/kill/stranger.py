"""A paglet type that has nothing to do with ledgers."""

from dataclasses import dataclass

from paglets.core.paglet import Paglet

__all__ = ["Stranger"]


@dataclass
class StrangerState:
    """Nothing."""


class Stranger(Paglet[StrangerState]):
    """Does nothing."""
