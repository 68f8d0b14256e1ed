"""The watches of a store: each reads the events that are kept, some at a time, when its caller has taken the last.

They wait for the ledger's news of a write, and never poll.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from functools import partial

from paglets.artifacts import events, refusals
from paglets.artifacts.ledger import Ledger
from paglets.artifacts.store import ArtifactNotice
from paglets.cursors import cursor_expired

__all__ = ["Watches"]

_BATCH = 32
_PASSED_OVER = 256


class Watches:
    """The watches of one store, which keeps `keep_events` events."""

    def __init__(self, ledger: Ledger, host: str, keep_events: int) -> None:
        self._ledger = ledger
        self._host = host
        self._passed_over = min(_PASSED_OVER, max(1, keep_events // 2))
        self._ended = False

    async def watch(self, cursor: str, owner: str | None) -> AsyncGenerator[ArtifactNotice, None]:
        """What `ArtifactStore.watch` promises."""
        now = await self._ledger.read(events.kept)
        seen = told = now.revision_in(cursor) if cursor else now.last
        yield ArtifactNotice(now.cursor(seen))
        while True:
            changed = self._ledger.changed  # before the rows are read: a write that they just missed sets this one
            if self._ended:
                raise refusals.shutting_down()
            rows = await self._ledger.read(partial(events.events_after, revision=seen, limit=_BATCH))
            if rows and rows[0]["revision"] != seen + 1:
                oldest = (await self._ledger.read(events.kept)).oldest
                raise cursor_expired(now.cursor(seen), now.cursor(oldest))
            for row in rows:
                seen = row["revision"]
                if owner in (None, row["owner"]):
                    told = seen
                    yield ArtifactNotice(now.cursor(seen), events.to_event(row, self._host))
            if seen - told >= self._passed_over:  # else its cursor would expire by what happens to others
                told = seen
                yield ArtifactNotice(now.cursor(seen))
            if len(rows) < _BATCH:
                await changed.wait()

    def end(self) -> None:
        """Ends them all, and those to come, with SHUTTING_DOWN. Safe to repeat."""
        self._ended = True
        self._ledger.wake()
