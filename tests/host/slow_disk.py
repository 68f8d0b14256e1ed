"""A journal whose commits wait until a test lets them go, in their order."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from paglets.host.journal import Journal

__all__ = ["HeldCommits"]


class HeldCommits:
    """Holds the commits of turns. What is not held is the journal's own."""

    def __init__(self, journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
        self._free = asyncio.Event()
        self._commit = journal.commit_turn
        self.count = 0
        monkeypatch.setattr(journal, "commit_turn", self._held)

    def release(self) -> None:
        """Lets the commits go, and all that come."""
        self._free.set()

    def _held(self, *commit_of_a_turn: Any) -> asyncio.Future[None]:  # noqa: ANN401 - as the journal declares them
        self.count += 1

        async def commit() -> None:
            await self._free.wait()
            await self._commit(*commit_of_a_turn)

        return asyncio.ensure_future(commit())
