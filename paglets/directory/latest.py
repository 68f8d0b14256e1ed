"""What was written last, kept in memory: who watches and keeps up reads no table."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from paglets.directory.contract import PagletRow

__all__ = ["LatestRows"]


class LatestRows:
    """The last `limit` rows written, in the order of their revisions; add each as soon as it is durable."""

    def __init__(self, limit: int) -> None:
        self._rows: deque[PagletRow] = deque(maxlen=limit)

    def add(self, rows: Iterable[PagletRow]) -> None:
        """Keeps what was written after everything before."""
        self._rows.extend(rows)

    def after(self, revision: int) -> Sequence[PagletRow] | None:
        """All rows of greater revisions, each once, as it is now; None when there may be more than are kept here."""
        if not self._rows or not self._rows[0].revision - 1 <= revision <= self._rows[-1].revision:
            return None
        newest = dict[str, PagletRow]()
        for row in reversed(self._rows):
            if row.revision <= revision:
                break
            newest.setdefault(row.paglet_id, row)
        return list(reversed(newest.values()))
