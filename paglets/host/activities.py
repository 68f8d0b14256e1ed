"""What one paglet does without being called: hooks as turns, and bodies beside the turns.

A body is `run()` or what a turn or another body began. What either asks for is let out when it has ended well.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

from paglets.core.turn import OwnRequest, Turn
from paglets.errors import DeadlineError, InternalError, PagletError, PreconditionError
from paglets.host.runner import Runner, attempt

__all__ = ["Activities", "hook_failed", "hook_limits"]

_log = logging.getLogger(__name__)
_body_outputs: ContextVar[list[Callable[[], None]] | None] = ContextVar("paglets_body", default=None)


class Activities:
    """The hooks and bodies of one paglet. `on_request` is called with what a body asked of the host, at its end."""

    def __init__(self, paglet_id: str, runner: Runner) -> None:
        self._paglet_id = paglet_id
        self._runner = runner
        self._gate = runner.gate
        self._bodies: set[asyncio.Task[None]] = set()
        self._run: asyncio.Task[None] | None = None
        self.on_request: Callable[[OwnRequest], None]

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
        if self._run is None or self._run.done():
            self._run = self._spawn(run)

    def start_background(self, body: Callable[[], Awaitable[None]]) -> None:
        """Runs `body` beside the turns, once the running turn is durable."""

        def begin() -> None:
            self._spawn(body)

        self._after_turn(begin)

    def request(self, wanted: OwnRequest) -> None:
        """Asks the host to do something with this paglet when the running turn or body has ended well.

        Asked in a turn it is as durable as the turn; it is asked once more after a restart, and travels along.
        """
        turn = self._runner.own_turn()
        if turn is not None:
            turn.request = wanted
        else:
            self._after_turn(lambda: self.on_request(wanted))

    async def cancel(self, timeout_s: float) -> bool:
        """Cancels the bodies and awaits them; False when some do not end within `timeout_s` seconds."""
        self.abandon()
        if not self._bodies:
            return True
        _, unfinished = await asyncio.wait(set(self._bodies), timeout=timeout_s)
        return not unfinished

    def abandon(self) -> None:
        """Cancels the bodies, and waits for none."""
        for task in self._bodies:
            task.cancel()

    def _after_turn(self, output: Callable[[], None]) -> None:
        """Lets `output` out when the running turn or body has ended well; at once outside of both."""
        turn = self._runner.own_turn()
        outputs = _body_outputs.get()
        if turn is not None:
            turn.outputs.append(output)
        elif outputs is not None:
            outputs.append(output)
        else:
            output()

    def _spawn(self, body: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        task = asyncio.create_task(self._run_body(body))
        self._bodies.add(task)
        task.add_done_callback(self._bodies.discard)
        return task

    async def _run_body(self, body: Callable[[], Awaitable[None]]) -> None:
        outputs: list[Callable[[], None]] = []
        _body_outputs.set(outputs)
        try:
            await attempt(self._runner.invoke(body), f"the background of paglet {self._paglet_id}")
        except PagletError as error:
            _log.error("the background of paglet %s failed: %s", self._paglet_id, error)
            return
        await self._runner.settle()
        for output in outputs:
            output()


def hook_failed(hook: str, error: InternalError) -> PreconditionError:
    """What a hook that failed unexpectedly refuses; the incident goes with it."""
    return PreconditionError(
        "HOOK_FAILED", f"{hook} failed: {error.message}", metadata={**error.metadata, "hook": hook}
    )


@asynccontextmanager
async def hook_limits(hook: str, timeout_s: float) -> AsyncGenerator[None]:
    """For the block that runs a hook which may refuse: raises HOOK_FAILED, QUIESCE_TIMEOUT."""
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except TimeoutError as error:
        raise DeadlineError("QUIESCE_TIMEOUT", f"{hook} did not end within {timeout_s:g} s") from error
    except InternalError as error:
        raise hook_failed(hook, error) from error
