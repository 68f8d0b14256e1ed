"""Requests with an id run once: a duplicate gets the stored outcome, or joins the run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from paglets.errors import DeadlineError
from paglets.host.gate import shutting_down
from paglets.host.records import StoredReply
from paglets.host.replies import ReplyBook, require_same
from paglets.host.threads import is_cancelled
from paglets.wire.status import from_status_bytes

__all__ = ["Once", "Reply"]


@dataclass(frozen=True, slots=True)
class Reply:
    """The encoded reply; `replayed` says that it was stored from an earlier run of the same request."""

    data: bytes
    replayed: bool = False


@dataclass(slots=True)
class _Running:
    """A request that is being run, for its duplicates to join."""

    fingerprint: bytes
    task: asyncio.Task[bytes]


class Once:
    """The requests of one paglet that are being run; `book` has those that were, and whoever runs one writes in it."""

    def __init__(self, paglet_id: str, book: ReplyBook) -> None:
        self._paglet_id = paglet_id
        self._book = book
        self._running: dict[tuple[str, str], _Running] = {}

    async def run(
        self,
        key: tuple[str, str],
        fingerprint: bytes,
        deadline: float | None,
        turn: Callable[[], Coroutine[Any, Any, bytes]],
    ) -> Reply:
        """Replays the stored outcome of a request, joins it while it runs, or runs it by `turn`.

        It runs to its end whatever becomes of the caller, who may ask again. `deadline`, a time of the loop's clock, is
        the caller's own. Raises REQUEST_ID_REUSED, REPLY_NOT_KEPT, SHUTTING_DOWN, or what the request failed with.
        """
        while (running := self._running.get(key)) is not None:
            require_same(running.fingerprint, fingerprint, key, self._paglet_id)
            try:
                return Reply(await _outcome(running.task), replayed=True)
            except DeadlineError as error:
                if error.reason != "DEADLINE_BEFORE_RUN" or _is_over(deadline):
                    raise  # else it was the deadline of whoever came first
        found = self._book.find(key, fingerprint)
        if found is not None:
            return _replay(found)
        task = asyncio.create_task(turn())
        self._running[key] = _Running(fingerprint, task)
        task.add_done_callback(lambda done: self._ran(key, done))
        return Reply(await _outcome(task))

    async def stop(self, timeout_s: float) -> None:
        """Lets the requests end within `timeout_s` seconds, then cancels the rest."""
        running = [entry.task for entry in self._running.values()]
        if running:
            await asyncio.wait(running, timeout=timeout_s)
        for task in running:
            task.cancel()

    def _ran(self, key: tuple[str, str], task: asyncio.Task[bytes]) -> None:
        del self._running[key]
        if not task.cancelled():
            task.exception()  # the callers have it; nobody may be left to ask


async def _outcome(task: asyncio.Task[bytes]) -> bytes:
    """What becomes of a running request, whoever else waits for it."""
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError as error:
        if is_cancelled():
            raise
        raise shutting_down() from error  # nobody else cancels it


def _is_over(deadline: float | None) -> bool:
    return deadline is not None and deadline <= asyncio.get_running_loop().time()


def _replay(found: StoredReply) -> Reply:
    if found.status:
        raise from_status_bytes(found.status)
    return Reply(found.reply, replayed=True)
