"""What one paglet does without being called: hooks as turns, and bodies beside the turns.

A body is `run()`, what a turn or another body began, or a stream, whose caller waits for it. What any of them asks for
is let out when it has ended well.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import msgspec

from paglets.core.call import answering
from paglets.core.turn import OwnRequest, Turn
from paglets.errors import DeadlineError, InternalError, InvalidArgumentError, PagletError, PreconditionError
from paglets.host.gate import cut_off
from paglets.host.runner import Runner, attempt
from paglets.host.threads import is_cancelled, leaving_threads, wait_for_threads

__all__ = ["Activities", "hook_failed", "hook_limits"]

_log = logging.getLogger(__name__)
_body: ContextVar[_Body | None] = ContextVar("paglets_body", default=None)


@dataclass(eq=False, slots=True)
class _Body:
    """One run of a body. `outputs` are let out when it has ended well; None then, and for who outlives it.

    `cancels` counts what stands of our cancellations; `spared` says that some were taken back while it was at work.
    """

    work: Callable[[], Awaitable[None]]
    outputs: list[Callable[[], None]] | None = field(default_factory=list[Callable[[], None]])
    cancels: int = 0
    spared: bool = False
    error: PagletError | None = None

    @property
    def cut(self) -> bool:
        """Whether a cancellation that was taken back has ended it; a thread knows of none unless it waited."""
        return self.spared and (self.error is not None or inspect.iscoroutinefunction(self.work))

    def release(self, *, well: bool) -> None:
        """Ends it, and lets its outputs out if it ended well."""
        outputs, self.outputs = self.outputs or [], None
        for output in outputs if well else ():
            output()


class Activities:
    """The hooks and bodies of one paglet. `on_request` is called with what a body asked of the host, at its end.

    `on_cut` tells the paglet of a body that was lost though it stayed. From `cancel` to `resume` no body begins.
    """

    def __init__(self, paglet_id: str, runner: Runner) -> None:
        self._paglet_id = paglet_id
        self._runner = runner
        self._gate = runner.gate
        self._bodies: dict[asyncio.Task[None], _Body] = {}
        self._run: _Body | None = None
        self._resting = False
        self._held: list[Callable[[], Awaitable[None]]] = []
        self.on_request: Callable[[OwnRequest], None]
        self.on_cut: Callable[[], Awaitable[None]]

    # Hooks.

    async def hook(self, hook: Callable[..., Awaitable[None]], *arguments: object) -> None:
        """Runs a hook as a turn. The gate must be closed, or not open yet, or the caller has its ticket."""
        await attempt(self._runner.run(lambda: self._runner.invoke(hook, *arguments)), self._where(hook))

    async def queued_hook(self, hook: Callable[..., Awaitable[None]], *arguments: object) -> None:
        """Runs a hook as a turn that waits for the gate like any other. Raises as `Gate.enter` and the hook do."""
        ticket = await self._gate.enter(own=True)
        try:
            await self.hook(hook, *arguments)
        finally:
            self._gate.leave(ticket)

    async def first_hook(self, hook: Callable[..., Awaitable[None]], *arguments: object) -> Turn[Any]:
        """Runs a hook as a turn that the caller keeps; `Resident.open` lets its outputs out then."""
        return await attempt(self._runner.rehearse(lambda: self._runner.invoke(hook, *arguments)), self._where(hook))

    def _where(self, hook: Callable[..., object]) -> str:
        return f"{getattr(hook, '__name__', 'a hook')} of paglet {self._paglet_id}"

    # Bodies.

    def start_run(self, run: Callable[[], Awaitable[None]]) -> None:
        """Begins the paglet's `run()`, unless it is at work."""
        if self._run is None or self._run not in self._bodies.values():
            self._run = self._spawn(run)

    @property
    def run_error(self) -> str:
        """What `run()` has failed with since it last began; empty if it has not."""
        return "" if self._run is None or self._run.error is None else self._run.error.message

    def start_background(self, body: Callable[[], Awaitable[None]]) -> None:
        """Runs `body` beside the turns, once the running turn is durable."""

        def begin() -> None:
            if self._resting:
                self._held.append(body)
            else:
                self._spawn(body)

        self._after_turn(begin)

    def request(self, wanted: OwnRequest) -> None:
        """Asks the host to do something with this paglet when the running turn or body has ended well.

        Asked in a turn it is as durable as the turn; it is asked once more after a restart, and travels along. Raises
        MALFORMED_REQUEST for what no restart could read.
        """
        wanted = _as_kept(wanted)
        turn = self._runner.own_turn()
        if turn is not None:
            turn.request = wanted
        else:
            self._after_turn(lambda: self.on_request(wanted))

    async def stream(self, work: Callable[[], Awaitable[None]]) -> None:
        """Runs `work` as a body that the caller waits for, and cancels if he is; the gate must be open.

        Raises what it raises, and PAGLET_MOVED, or why the gate is shut, when it was cancelled by the paglet, or asked
        for a turn that is given no more.
        """
        body = _Body(work)
        task = asyncio.create_task(self._run_stream(body))
        self._bodies[task] = body
        task.add_done_callback(self._ended)
        try:
            await task
        except PagletError as error:
            if error is self._gate.refusal:
                raise cut_off(self._paglet_id, error) from error
            raise
        except asyncio.CancelledError as error:
            if is_cancelled():
                raise
            if body.cancels or body.spared or self._gate.is_shut:
                raise cut_off(self._paglet_id, self._gate.refusal) from error
            raise RuntimeError("a cancellation came out of what an author wrote") from error

    async def cancel(self, timeout_s: float) -> bool:
        """Cancels the bodies and awaits them; False when some do not end within `timeout_s` seconds."""
        self.abandon()
        if not self._bodies:
            return True
        _, unfinished = await asyncio.wait(set(self._bodies), timeout=timeout_s)
        return not unfinished

    def abandon(self) -> None:
        """Cancels the bodies, and waits for none."""
        self._resting = True
        for task, body in self._bodies.items():
            task.cancel()
            body.cancels += 1

    def resume(self) -> None:
        """Lets bodies begin, and those that are at work still after they were cancelled go on, if they can.

        A thread can. What could not, and ends later, is lost: the paglet is told by `on_cut`; its `run()` begins anew.
        """
        self._resting = False
        for task, body in self._bodies.items():
            body.spared = body.spared or body.cancels > 0
            for _ in range(body.cancels):
                task.uncancel()
            body.cancels = 0
        held, self._held = self._held, []
        for work in held:
            self._spawn(work)

    def _after_turn(self, output: Callable[[], None]) -> None:
        """Lets `output` out when the running turn or body has ended well; at once outside of both."""
        turn = self._runner.own_turn()
        body = _body.get()
        if turn is not None:
            turn.outputs.append(output)
        elif body is not None and body.outputs is not None:
            body.outputs.append(output)
        else:
            output()

    def _spawn(self, work: Callable[[], Awaitable[None]]) -> _Body:
        body = _Body(work)
        task = asyncio.create_task(self._run_body(body))
        self._bodies[task] = body
        task.add_done_callback(self._ended)
        return body

    def _ended(self, task: asyncio.Task[None]) -> None:
        body = self._bodies.pop(task)
        if body is self._run and body.cut and not self._resting:
            self._run = self._spawn(body.work)

    async def _run_body(self, body: _Body) -> None:
        _body.set(body)
        wait_for_threads()
        try:
            with answering(None):
                await attempt(self._runner.invoke(body.work), f"the background of paglet {self._paglet_id}")
        except PagletError as error:
            body.error = error
            body.release(well=False)
            _log.error("the background of paglet %s failed: %s", self._paglet_id, error)
            if body.spared and body is not self._run:
                await self.on_cut()
            return
        except BaseException:
            body.release(well=False)
            raise
        try:
            await self._runner.settle()
        finally:
            body.release(well=True)  # it has ended: a move that overtakes it takes along what it asked for

    async def _run_stream(self, body: _Body) -> None:
        _body.set(body)
        wait_for_threads()
        try:
            await body.work()
            await self._runner.settle()
        except BaseException:
            body.release(well=False)
            raise
        body.release(well=True)


def hook_failed(hook: str, error: PagletError) -> PreconditionError:
    """What a hook refuses that failed unexpectedly, so that the incident goes with it, or by an error of no use."""
    return PreconditionError(
        "HOOK_FAILED", f"{hook} failed: {error.message}", metadata={**error.metadata, "hook": hook}
    )


@asynccontextmanager
async def hook_limits(hook: str, timeout_s: float) -> AsyncGenerator[None]:
    """For the block that runs a hook which may refuse: raises HOOK_FAILED, QUIESCE_TIMEOUT."""
    try:
        with leaving_threads():
            async with asyncio.timeout(timeout_s):
                yield
    except TimeoutError as error:
        raise DeadlineError("QUIESCE_TIMEOUT", f"{hook} did not end within {timeout_s:g} s") from error
    except InternalError as error:
        raise hook_failed(hook, error) from error


def _as_kept(wanted: OwnRequest) -> OwnRequest:
    """A request as the journal gives it back: what is done is found there by its bytes, also after a restart."""
    try:
        return msgspec.msgpack.decode(msgspec.msgpack.encode(wanted), type=OwnRequest)
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError) as error:
        message = f"this cannot be asked of a host: {error}"
        raise InvalidArgumentError("MALFORMED_REQUEST", message, field=wanted.action.value) from error
