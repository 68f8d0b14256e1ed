"""The request that ends a paglet for good, and the row that it leaves behind."""

from __future__ import annotations

from dataclasses import dataclass, replace

from paglets.core.lifecycle import LifecycleEvent, next_state
from paglets.directory.contract import PagletRow

__all__ = ["Disposal"]


@dataclass(frozen=True, slots=True)
class Disposal:
    """Who asks for the end of a paglet: a request id, empty for none, and its fingerprint."""

    request_id: str = ""
    fingerprint: bytes = b""

    def tombstone(self, row: PagletRow) -> PagletRow:
        """What is to become of a row, by which late duplicates of the request know that it was done.

        It takes an intent away and raises the epoch then: a commit that is under way finds its guard broken. Raises
        ILLEGAL_TRANSITION.
        """
        return replace(
            row,
            state=next_state(row.paglet_id, row.state, LifecycleEvent.DISPOSE),
            intent=None,
            epoch=row.epoch if row.intent is None else row.epoch + 1,
            request_id=self.request_id,
            earlier_request_id=row.request_id,
            fingerprint=self.fingerprint,
            error="",
        )
