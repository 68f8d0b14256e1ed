"""What a paglet's background does with its state: short turns of its own, and waits; on the loop and in threads.

It must never know what the background is: a body beside the turns, a read, or a thread of either.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

from paglets.core.mailbox import Ticket
from paglets.core.turn import Turn
from paglets.errors import PagletError, PreconditionError, Resource
from paglets.host.runner import Runner
from paglets.host.threads import is_cancelled, leaving_place

__all__ = ["Sections"]

T = TypeVar("T")


class Sections:
    """The short turns and the waits of one paglet's background.

    A thread cannot be cancelled, but what it waits for can: `interrupt` ends that, `resume` lets threads wait again.
    """

    __slots__ = ("_interrupted", "_loop", "_paglet_id", "_runner", "_waiting")

    def __init__(self, paglet_id: str, runner: Runner) -> None:
        self._paglet_id = paglet_id
        self._runner = runner
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[asyncio.Future[Any], None] = {}
        self._interrupted = False

    @asynccontextmanager
    async def section(self) -> AsyncGenerator[Any]:
        """A short queued turn for background code; inside a turn, that turn's own state."""
        running = self._runner.own_turn()
        if running is not None:
            yield running.state
            return
        ticket, turn = await self._open()
        try:
            with turn.entered():
                yield turn.state
        except BaseException:
            self._abandon(ticket, turn)
            raise
        await self._close(ticket, turn)

    @contextmanager
    def locked_state(self) -> Generator[Any]:
        """As `section`, for code in any thread but the loop's."""
        running = self._runner.own_turn()
        if running is not None:
            yield running.state
            return
        self._require_worker_thread("lock its state on the event loop: use `async with self.turn()`")
        ticket, turn = self._on_loop(self._open_for_thread())
        try:
            with turn.entered():
                yield turn.state
        except BaseException:
            self._loop.call_soon_threadsafe(self._abandon, ticket, turn)
            raise
        self._on_loop(self._close(ticket, turn))

    def blocking(self, work: Coroutine[Any, Any, T] | Callable[[], Awaitable[T]]) -> T:
        """Runs `work`, or what it gives, on the host's loop for code in any other thread; in a turn, as part of that.

        Outside of a turn `interrupt` ends it: the thread then gets a CancelledError, as a task would.
        """
        if callable(work):
            work = _begun_by(work)
        try:
            self._require_worker_thread("block the event loop: use `await`")
        except PagletError:
            work.close()
            raise
        return self._on_loop(work if self._runner.own_turn() is not None else self._interruptible(work))

    async def wait(self, predicate: Callable[[Any], bool], timeout_s: float | None) -> bool:
        """Waits until the durable state satisfies `predicate`; False at the timeout.

        It is given a copy, the same as all who wait, and only looks.
        """
        if self._runner.own_turn() is not None:
            raise self._in_turn("wait for its own state: wait in the background, or in a read-only operation")
        with self._runner.cell.looking() as look:
            return await self._runner.waits.until(lambda: predicate(look()), timeout_s)

    async def checkpoint(self) -> None:
        """Saves what the turns did; in a turn, with that turn, as it will have left the state."""
        turn = self._runner.own_turn()
        if turn is not None:
            turn.checkpoint = True
        else:
            await self._runner.save()

    def own_turn(self) -> Turn[Any] | None:
        """The turn that the running code belongs to; None in the background."""
        return self._runner.own_turn()

    def notify(self, *, everybody: bool) -> None:
        """Lets those who wait look again: in a turn when that is durable, elsewhere at once. In any thread."""
        waits, turn = self._runner.waits, self._runner.own_turn()
        wake = waits.wake if everybody else waits.wake_one
        if turn is not None:
            turn.outputs.append(wake)
        else:
            self._loop.call_soon_threadsafe(wake)

    def interrupt(self) -> None:
        """Ends all waiting for a turn, and what threads of the background wait for, now and until `resume`."""
        self._interrupted = True
        for waiting in list(self._waiting):
            waiting.cancel()

    def resume(self) -> None:
        """Lets threads of the background wait again."""
        self._interrupted = False

    async def _open(self) -> tuple[Ticket, Turn[Any]]:
        """Waits for a turn and opens it. Who is cancelled for a journey would wait for what waits for him."""
        if self._interrupted and is_cancelled():
            raise asyncio.CancelledError
        gate = self._runner.gate
        entering = asyncio.ensure_future(gate.enter(own=True))
        self._note(entering)
        try:
            ticket = await entering
        except asyncio.CancelledError:
            if entering.done() and not entering.cancelled() and entering.exception() is None:
                gate.leave(entering.result())  # granted in the very step in which it was given up
            raise
        try:
            await self._runner.threads.free()
        except BaseException:
            gate.leave(ticket)
            raise
        return ticket, self._runner.open_turn()

    async def _open_for_thread(self) -> tuple[Ticket, Turn[Any]]:
        if self._interrupted:
            raise asyncio.CancelledError
        return await self._open()

    async def _interruptible(self, work: Coroutine[Any, Any, T]) -> T:
        if self._interrupted:
            work.close()
            raise asyncio.CancelledError
        task = asyncio.ensure_future(work)
        self._note(task)
        return await task

    def _note(self, waiting: asyncio.Future[Any]) -> None:
        self._waiting[waiting] = None
        waiting.add_done_callback(self._waiting.pop)

    async def _close(self, ticket: Ticket, turn: Turn[Any]) -> None:
        """Commits a turn; it is durable on return."""
        try:
            durable = self._runner.commit(turn, turn.finish())
        except BaseException:
            self._abandon(ticket, turn)
            raise
        self._runner.gate.leave(ticket)
        if durable is not None:
            await asyncio.shield(durable)

    def _abandon(self, ticket: Ticket, turn: Turn[Any]) -> None:
        turn.roll_back()
        self._runner.gate.leave(ticket)

    def _on_loop(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs `work` on the host's loop, from any other thread, which leaves its place to others meanwhile."""
        try:
            return asyncio.run_coroutine_threadsafe(leaving_place(work), self._loop).result()
        except concurrent.futures.CancelledError as error:
            raise asyncio.CancelledError from error  # what an author lets pass, unlike an Exception

    def _require_worker_thread(self, what: str) -> None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return
        raise self._in_turn(what)

    def _in_turn(self, what: str) -> PagletError:
        return PreconditionError(
            "WAIT_IN_TURN",
            f"paglet {self._paglet_id} cannot {what}",
            resource=Resource("paglet", self._paglet_id),
        )


async def _begun_by(work: Callable[[], Awaitable[T]]) -> T:
    return await work()
