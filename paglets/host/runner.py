"""Runs the turns of one paglet: one at a time, each committed whole or rolled back.

A turn's reply leaves when its commit is durable. The next turn does not wait for that: turns of one paglet become
durable in their order, and a journal that fails ends the process, so nobody ever builds on what was lost.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from paglets.core.cause import NO_CAUSE, Cause, OutgoingPost
from paglets.core.turn import OwnRequest, StateCell, Turn, current_turn
from paglets.core.waits import Waits
from paglets.errors import ConflictError, Resource, UnavailableError, as_paglet_error
from paglets.host.event_log import EventLog
from paglets.host.gate import Gate
from paglets.host.journal.journal import Journal
from paglets.host.records import StoredReply
from paglets.host.savings import Savings
from paglets.host.tame import call_tamed, tame
from paglets.host.threads import Pool, Threads, is_cancelled

__all__ = ["Runner", "attempt"]

T = TypeVar("T")


async def attempt(work: Awaitable[T], where: str) -> T:
    """Awaits what authors wrote: what it raises comes out as a PagletError, if unexpected with an incident id.

    So does what would end the whole process, e.g. `sys.exit()`.
    """
    try:
        return await work
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        raise as_paglet_error(error, where) from error


class Runner:
    """The turns of one paglet, kept one by one in the journal, or together in savings.

    `def` handlers run in threads of `pool`, which is the host's. A turn that ends more than `stuck_after_s` seconds
    after its deadline is rolled back: nobody counts on it any more, and a thread cannot be ended.

    `on_request` and `on_posts` are called when what a turn asked of the host, or posted, is durable.
    """

    def __init__(
        self,
        paglet_id: str,
        cell: StateCell[Any],
        gate: Gate,
        turns: Journal | Savings,
        pool: Pool,
        events: EventLog,
        *,
        stuck_after_s: float,
    ) -> None:
        self.cell = cell
        self.gate = gate
        self.waits = Waits()
        self.threads = Threads(pool)
        self.events = events
        self._paglet_id = paglet_id
        self._turns = turns
        self._savings = turns if isinstance(turns, Savings) else None
        self._pending: asyncio.Future[None] | None = None
        self._fenced = False
        self._stuck_after_s = stuck_after_s
        self._stuck_at: float | None = None
        self._at_work: asyncio.Task[Any] | None = None
        self._is_cut = False
        self.on_request: Callable[[OwnRequest], None]
        self.on_posts: Callable[[Sequence[OutgoingPost]], None]

    @property
    def is_stuck(self) -> bool:
        """Whether the running turn has outlived its deadline so far that it will be rolled back, or was already."""
        return self.threads.are_left or self._is_late

    @property
    def _is_late(self) -> bool:
        return self._stuck_at is not None and asyncio.get_running_loop().time() > self._stuck_at

    async def invoke(self, function: Callable[..., object], *arguments: object) -> object:
        """Calls a handler or hook: a coroutine function on the loop, any other in a worker thread.

        A cancellation that nobody asked for is a failure like any other: whoever waits must not take it for his own.
        """
        try:
            if inspect.iscoroutinefunction(function):
                result = function(*arguments)
            else:
                result = await self.threads.run(call_tamed, function, *arguments)
            return await tame(result) if inspect.isawaitable(result) else result
        except asyncio.CancelledError as error:
            if is_cancelled():
                raise
            raise RuntimeError("a cancellation came out of what an author wrote") from error

    async def run(
        self,
        body: Callable[[], Awaitable[T]],
        keep: Callable[[T], tuple[StoredReply, list[tuple[str, str]]]] | None = None,
    ) -> T:
        """Runs `body` as a turn; the caller has the gate's ticket, or has closed the gate.

        `keep` makes the outcome to store with the turn. Returns when the turn is durable. For hooks: it does not wait
        for a thread that was left to itself, but raises TURN_STUCK.
        """
        self._require_no_thread()
        result, durable = await self.begin(body, keep)
        if durable is not None:
            await asyncio.shield(durable)
        return result

    async def begin(
        self,
        body: Callable[[], Awaitable[T]],
        keep: Callable[[T], tuple[StoredReply, list[tuple[str, str]]]] | None = None,
        cause: Cause = NO_CAUSE,
    ) -> tuple[T, asyncio.Future[None] | None]:
        """As `run`, but returns as soon as the turn has ended, with the future of its commit.

        A post that is the `cause` is gone with the commit. It begins when no thread that was left to itself is at work.
        Raises EPOCH_FENCED when it is cut.
        """
        await self.threads.free()
        turn = self.open_turn(cause)
        self._stuck_at = None if cause.deadline is None else cause.deadline + self._stuck_after_s
        try:
            with turn.entered():
                result = await self._work(body)
            changed = turn.finish()
            self._require_timely()
            kept = keep(result) if keep is not None else None
        except BaseException:
            turn.roll_back()
            raise
        finally:
            self._stuck_at = None
        return result, self.commit(turn, changed, kept)

    async def rehearse(self, body: Callable[[], Awaitable[object]]) -> Turn[Any]:
        """Runs `body` as a turn that the caller keeps by other means; returns it, its outputs to be let out then.

        For the first turn of a paglet whose gate is closed still. Raises TURN_STUCK as `run` does.
        """
        self._require_no_thread()
        turn = self.open_turn()
        try:
            with turn.entered():
                await body()
            changed = turn.finish()
        except BaseException:
            turn.roll_back()
            raise
        if changed is not None:
            self.cell.latest, self.cell.view = changed
        return turn

    async def store(self, reply: StoredReply, evicted: list[tuple[str, str]]) -> None:
        """Keeps the outcome of a request whose turn was rolled back."""
        await self._turns.commit_turn(self._paglet_id, None, 0, reply, evicted)

    async def forget_post(self, number: int) -> None:
        """Drops a post that is not to be run, as if it had run by a turn that did nothing."""
        await asyncio.shield(self._turns.commit_turn(self._paglet_id, None, 0, None, post=number))

    def fence(self, *, closed: bool) -> None:
        """Refuses every commit from now on, or takes that back: a turn must not outlive its paglet."""
        self._fenced = closed

    def cut(self) -> None:
        """As `fence`, for a paglet that is here no more: whoever waits for a turn that does not end is told so.

        A coroutine is cancelled; a thread is left to itself.
        """
        self.fence(closed=True)
        if self._at_work is not None:
            self._is_cut = True
            self.threads.leave()
            self._at_work.cancel()

    async def _work(self, body: Callable[[], Awaitable[T]]) -> T:
        """Awaits what can be cut: it then ends as a turn of a paglet that is gone, whatever came of it."""
        self._at_work = task = asyncio.current_task()
        try:
            return await body()
        finally:
            self._at_work = None
            if self._is_cut and task is not None and not task.uncancel():
                raise self._fenced_error()

    def _require_timely(self) -> None:
        if self._is_late:
            raise UnavailableError(
                "TURN_STUCK",
                f"a turn of paglet {self._paglet_id} ended more than {self._stuck_after_s:g} s after its deadline and"
                " was rolled back; call again",
                resource=Resource("paglet", self._paglet_id),
            )

    def _require_no_thread(self) -> None:
        if self.threads.are_left:
            raise UnavailableError(
                "TURN_STUCK",
                f"a hook of paglet {self._paglet_id} was given up and is at work still, in a thread; call again",
                resource=Resource("paglet", self._paglet_id),
                retry_after_s=1.0,
            )

    def _require_unfenced(self) -> None:
        if self._fenced:
            raise self._fenced_error()

    def _fenced_error(self) -> ConflictError:
        return ConflictError(
            "EPOCH_FENCED",
            f"paglet {self._paglet_id} left or ended while the turn ran; the turn was rolled back",
            resource=Resource("paglet", self._paglet_id),
        )

    async def settle(self) -> None:
        """Waits until every turn that has ended is durable; for a gate that lets nobody in meanwhile."""
        while self._pending is not None and not self._pending.done():
            await asyncio.wait([self._pending])

    async def save(self) -> None:
        """Makes all that has ended durable, also what counts without; safe to repeat. Raises EPOCH_FENCED."""
        await self.settle()
        if self._savings is not None:
            self._require_unfenced()
            await asyncio.shield(self._savings.save())

    async def catch_up(self) -> None:
        """Waits until all that a turn could have seen which ends now is durable."""
        if self._pending is not None and not self._pending.done():
            await asyncio.wait([self._pending])

    def open_turn(self, cause: Cause = NO_CAUSE) -> Turn[Any]:
        """Opens a turn, for which whoever is called from it waits, too."""
        return self.cell.begin(replace(cause, chain=(*cause.chain, self._paglet_id)))

    def own_turn(self) -> Turn[Any] | None:
        """The turn of this paglet that the running code belongs to; None in its background, or a turn of another."""
        turn = current_turn()
        return turn if turn is not None and turn.cell is self.cell else None

    def commit(
        self,
        turn: Turn[Any],
        changed: tuple[bytes, Any] | None,
        kept: tuple[StoredReply, list[tuple[str, str]]] | None = None,
    ) -> asyncio.Future[None] | None:
        """Sends a finished turn to the journal and its outputs after it; None when there is nothing to wait for.

        A turn that changed nothing may have seen what the turns before it changed, and waits for those.
        """
        own_request, posts, events = turn.request, tuple(turn.posts), tuple(turn.events)
        if changed is not None or kept is not None or own_request is not None or posts or events:
            self._pending = self._write(changed, kept, turn)
        if turn.checkpoint and self._savings is not None:
            self._pending = self._savings.save()
        durable = self._pending

        def committed(future: asyncio.Future[None] | None) -> None:
            if future is not None and (future.cancelled() or future.exception() is not None):
                return
            if changed is not None:
                self._show(changed[1])
            self.events.show(events)
            _release(turn.outputs)
            if posts:
                self.on_posts(posts)
            if own_request is not None:
                self.on_request(own_request)

        if durable is None or (durable.done() and durable.exception() is None):
            committed(None)
            return None
        durable.add_done_callback(committed)
        return durable

    def _write(
        self,
        changed: tuple[bytes, Any] | None,
        kept: tuple[StoredReply, list[tuple[str, str]]] | None,
        turn: Turn[Any],
    ) -> asyncio.Future[None]:
        self._require_unfenced()
        state, reply, evicted = None, None, list[tuple[str, str]]()
        if changed is not None:
            state = self.cell.latest = changed[0]
        if kept is not None:
            reply, evicted = kept
        self.events.take(turn.events)
        version, posts, events = self.cell.codec.version, tuple(turn.posts), tuple(turn.events)
        return self._turns.commit_turn(
            self._paglet_id, state, version, reply, evicted, turn.request, turn.cause.post, posts, events
        )

    def _show(self, view: object) -> None:
        """Makes a durable state the one that everybody sees, and wakes who waits for a change."""
        self.cell.view = view
        self.waits.wake()


def _release(outputs: list[Callable[[], None]]) -> None:
    """Lets out what a turn asked for, now that it is durable."""
    for output in outputs:
        output()
