"""Brings the posts of one paglet to their turns: each caller's in their order, until each has run, or is dead.

A post that fails is run again after a pause, while the same caller's later ones wait and others' go on. The third
failure makes it a dead letter. UNAVAILABLE is none: the post is run again, for as long as `patience_s` says.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TypeAlias

from paglets.errors import PagletError, UnavailableError
from paglets.faults import point
from paglets.host.gate import Gate
from paglets.host.journal.posts import PostRows
from paglets.host.post_records import StoredPost
from paglets.host.postbox import PostBox
from paglets.host.settle import backoff
from paglets.wire.status import to_status

__all__ = ["DELIVERY_POINTS", "MAX_FAILURES", "Deliveries"]

_log = logging.getLogger(__name__)

MAX_FAILURES = 3
"""How often a post may fail before it is a dead letter."""

DELIVERY_POINTS = ("post.run.before", "post.run.after", "post.fail.after")
"""The named points of a delivery."""


RunOnce: TypeAlias = Callable[[StoredPost, float], Awaitable[bool]]
"""Runs a post, whose turn is late after so many seconds; `Calls.deliver`."""


@dataclass(slots=True)
class _Pause:
    """A caller's first post is to be run again, at a time of the loop's clock; it was tried in vain since another."""

    until: float
    since: float
    attempts: int


class Deliveries:
    """The deliveries of one paglet. Nothing runs before `begin`, and nothing while no post waits.

    `forget` drops a post, by its number, that is not to be run.
    """

    def __init__(
        self,
        paglet_id: str,
        box: PostBox,
        rows: PostRows,
        gate: Gate,
        *,
        patience_s: float,
        timeout_s: float,
        forget: Callable[[int], Awaitable[None]],
    ) -> None:
        self._paglet_id = paglet_id
        self._forget = forget
        self.box = box
        self._rows = rows
        self._gate = gate
        self._patience_s = patience_s
        self._timeout_s = timeout_s
        self._now = asyncio.get_running_loop().time
        self._pauses: dict[str, _Pause] = {}
        self._came: asyncio.Event | None = None  # while posts are being run
        self._run_once: RunOnce | None = None
        self._work: asyncio.Task[None] | None = None

    def begin(self, run_once: RunOnce) -> None:
        """The paglet runs its posts from now on, by `run_once`. Safe to repeat."""
        self._run_once = run_once
        self.look()

    def look(self) -> None:
        """There may be something to run."""
        if self._came is not None:
            self._came.set()
        if (
            self._run_once is not None
            and (self._work is None or self._work.done())
            and next(self.box.waiting(), None) is not None
        ):
            self._work = asyncio.create_task(self._deliver(self._run_once))

    async def stop(self) -> None:
        """Begins no delivery any more; a turn that runs is for others to end."""
        self.abandon()
        if self._work is not None:
            await asyncio.wait([self._work])

    def abandon(self) -> None:
        """As `stop`, without waiting for anything."""
        self._run_once = None
        if self._work is not None:
            self._work.cancel()

    async def _deliver(self, run_once: RunOnce) -> None:
        came = self._came = asyncio.Event()
        while not self._gate.is_shut:
            came.clear()
            post = self._due()
            if post is not None:
                await self._run(post, run_once)
            elif self._pauses:
                await self._rest(came)
            else:
                break
        self._came = None

    def _due(self) -> StoredPost | None:
        """The first post that may be run now: the first of its caller, who does not pause."""
        seen: set[str] = set()
        for post in self.box.waiting():
            if post.principal in seen:
                continue
            seen.add(post.principal)
            pause = self._pauses.get(post.principal)
            if pause is None or pause.until <= self._now():
                return post
        for principal in self._pauses.keys() - seen:  # what they were for was dropped
            del self._pauses[principal]
        return None

    async def _rest(self, came: asyncio.Event) -> None:
        """Waits for the end of a pause, or another post."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(min(pause.until for pause in self._pauses.values())):
                await came.wait()

    async def _run(self, post: StoredPost, run_once: RunOnce) -> None:
        point("post.run.before")
        try:
            if await run_once(post, self._timeout_s):
                await self._forget(post.number)  # it had run before, by whatever way it came
        except PagletError as error:
            if not self._gate.is_shut:  # else it was not run, or nothing can be kept of it: it is run elsewhere
                await self._failed(post, error)
            return
        point("post.run.after")
        self.box.remove(post)
        self._pauses.pop(post.principal, None)

    async def _failed(self, post: StoredPost, error: PagletError) -> None:
        now = self._now()
        pause = self._pauses.setdefault(post.principal, _Pause(until=now, since=now, attempts=0))
        pause.until = now + max(backoff(pause.attempts), error.retry_after_s or 0.0)
        pause.attempts += 1
        may_pass = isinstance(error, UnavailableError) and error.reason != "TURN_STUCK"
        if may_pass and now - pause.since < self._patience_s:
            return
        failures = post.failures + 1
        dead = may_pass or failures >= MAX_FAILURES
        status = to_status(error).SerializeToString()
        failed = replace(post, failures=failures, status=status, dead=dead)
        self.box.put(failed)
        if dead:
            del self._pauses[post.principal]
            _log.warning("post %s of paglet %s is a dead letter: %s", post.post_id, self._paglet_id, error)
        with suppress(PagletError):  # the paglet has just ended, or left with what it had
            await self._rows.put(self._paglet_id, [failed])
        point("post.fail.after")
