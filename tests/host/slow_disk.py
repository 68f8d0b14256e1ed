"""A journal whose commits wait until a test lets them go, in their order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from paglets.host.journal.journal import Journal
from paglets.host.journal.saves import SaveRows
from paglets.host.post_records import StoredPost

__all__ = ["HeldCommits", "HeldPosts", "HeldSaves"]


class _Held:
    """Holds the writes of one kind. What is not held is the journal's own."""

    def __init__(self, owner: object, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self._free = asyncio.Event()
        self._commit: Callable[..., asyncio.Future[None]] = getattr(owner, name)
        self.count = 0
        self._last = asyncio.Event()
        self._last.set()
        monkeypatch.setattr(owner, name, self._held)

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


class HeldCommits(_Held):
    """Holds the commits of turns."""

    def __init__(self, journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(journal, "commit_turn", monkeypatch)


class HeldSaves(_Held):
    """Holds what several turns did at once."""

    def __init__(self, saves: SaveRows, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(saves, "put", monkeypatch)


class HeldPosts:
    """Keeps the posts that come from becoming durable; `came` says that one did."""

    def __init__(self, journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
        self.came = asyncio.Event()
        self._free = asyncio.Event()
        self._put = journal.posts.put
        self._settled = journal.posts.settled
        monkeypatch.setattr(journal.posts, "put", self._held)
        monkeypatch.setattr(journal.posts, "settled", self._held_too)

    def release(self) -> None:
        """Lets them become durable."""
        self._free.set()

    def _held(self, paglet_id: str, posts: Sequence[StoredPost]) -> asyncio.Future[None]:
        self.came.set()

        async def put() -> None:
            await self._free.wait()
            await self._put(paglet_id, posts)

        return asyncio.ensure_future(put())

    async def _held_too(self) -> None:
        await self._free.wait()
        await self._settled()
