"""The leases on one paglet: while one is live, the paglet does not rest for being idle.

Pure, and in memory alone: a lease keeps nothing safe. Its holder renews it, wherever the paglet is by then.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from paglets.errors import ExhaustedError, InvalidArgumentError, Resource

__all__ = ["Leases"]

_log = logging.getLogger(__name__)
_MAX_LEASES = 1000
_MAX_TTL_S = 24 * 3600.0
_RETRY_S = 1.0


class Leases:
    """The leases on one paglet, by their ids. `clock` is monotonic, in seconds."""

    __slots__ = ("_clock", "_ends", "_last_end", "_paglet_id")

    def __init__(self, paglet_id: str, clock: Callable[[], float]) -> None:
        self._paglet_id = paglet_id
        self._clock = clock
        self._ends: dict[str, float] = {}
        self._last_end = 0.0

    @property
    def live(self) -> int:
        """How many have not ended."""
        self._drop_ended()
        return len(self._ends)

    @property
    def last_end(self) -> float:
        """When the last of all leases so far ends, or has ended; 0.0 if there was none."""
        self._drop_ended()
        return max(self._ends.values(), default=self._last_end)

    def acquire(self, lease_id: str, ttl_s: float) -> bool:
        """Takes a lease for so long from now, or renews it; says whether it was live.

        Raises MALFORMED_REQUEST for a time that is none, TOO_MANY_LEASES.
        """
        if not 0 < ttl_s <= _MAX_TTL_S:
            raise InvalidArgumentError(
                "MALFORMED_REQUEST",
                f"a lease lasts more than 0 and at most {_MAX_TTL_S:.0f} seconds, got {ttl_s}",
                field="ttl",
            )
        self._drop_ended()
        is_live = lease_id in self._ends
        if not is_live and len(self._ends) >= _MAX_LEASES:
            raise ExhaustedError(
                "TOO_MANY_LEASES",
                f"{_MAX_LEASES} leases on paglet {self._paglet_id} are live, which is as many as there may be",
                resource=Resource("paglet", self._paglet_id),
                retry_after_s=_RETRY_S,
            )
        self._ends[lease_id] = self._clock() + ttl_s
        return is_live

    def release(self, lease_id: str) -> None:
        """Ends a lease now, if it is live. Safe to repeat."""
        self._drop_ended()
        if self._ends.pop(lease_id, None) is not None:
            self._last_end = self._clock()

    def _drop_ended(self) -> None:
        now = self._clock()
        for lease_id, end in list(self._ends.items()):
            if end <= now:
                del self._ends[lease_id]
                self._last_end = max(self._last_end, end)
                _log.info("lease %s on paglet %s has ended without being released", lease_id, self._paglet_id)
