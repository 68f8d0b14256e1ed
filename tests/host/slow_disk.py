"""A journal whose commits wait until a test lets them go, in their order."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from paglets.host.journal.journal import Journal

__all__ = ["HeldCommits"]


class HeldCommits:
    """Holds the commits of turns. What is not held is the journal's own."""

    def __init__(self, journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
        self._free = asyncio.Event()
        self._commit = journal.commit_turn
        self.count = 0
        self._last = asyncio.Event()
        self._last.set()
        monkeypatch.setattr(journal, "commit_turn", self._held)

    def release(self) -> None:
        """Lets the commits go, and all that come."""
        self._free.set()

    def _held(self, *commit_of_a_turn: Any) -> asyncio.Future[None]:  # noqa: ANN401 - as the journal declares them
        self.count += 1
        before, self._last = self._last, asyncio.Event()
        done = self._last

        async def commit() -> None:
            await self._free.wait()
            await before.wait()
            committing = self._commit(*commit_of_a_turn)
            done.set()  # the next one is behind it in the journal's queue
            await committing

        return asyncio.ensure_future(commit())
