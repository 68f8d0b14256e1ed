"""How many calls are under way at this host, by paglet and by caller: nobody takes the room of all others."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TypeVar

from paglets.errors import ExhaustedError, Resource

__all__ = ["Flights"]

KeyT = TypeVar("KeyT")
_RETRY_S = 0.1


class Flights:
    """Counts the calls of paglets, here and passed on: those that wait, those that run, and reads."""

    def __init__(self, max_of_paglet: int, max_of_caller: int) -> None:
        self._max_of_paglet = max_of_paglet
        self._max_of_caller = max_of_caller
        self._of_paglet: dict[str, int] = {}
        self._of_caller: dict[tuple[str, str], int] = {}

    @contextmanager
    def one(self, paglet_id: str, caller: str) -> Generator[None]:
        """One call, for the block. Raises TOO_MANY_CALLS when the caller, or all together, have too many."""
        mine = (paglet_id, caller)
        if self._of_caller.get(mine, 0) >= self._max_of_caller:
            raise _too_many(paglet_id, f"this caller has {self._max_of_caller} calls")
        if self._of_paglet.get(paglet_id, 0) >= self._max_of_paglet:
            raise _too_many(paglet_id, f"there are {self._max_of_paglet} calls")
        _count(self._of_paglet, paglet_id, 1)
        _count(self._of_caller, mine, 1)
        try:
            yield
        finally:
            _count(self._of_paglet, paglet_id, -1)
            _count(self._of_caller, mine, -1)


def _count(counts: dict[KeyT, int], key: KeyT, change: int) -> None:
    """Counts up or down, and forgets whom nothing is counted of."""
    left = counts.get(key, 0) + change
    if left:
        counts[key] = left
    else:
        del counts[key]


def _too_many(paglet_id: str, what: str) -> ExhaustedError:
    return ExhaustedError(
        "TOO_MANY_CALLS",
        f"{what} under way at paglet {paglet_id} by way of this host; nothing was run",
        resource=Resource("paglet", paglet_id),
        retry_after_s=_RETRY_S,
    )
