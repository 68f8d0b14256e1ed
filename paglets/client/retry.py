"""A unary call that is made again, with the same request, for as long as the host cannot be reached.

It knows nothing of request ids: whoever makes such a call sees to it that the request is safe to repeat.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TypeVar

import grpc

from paglets.client.calls import errors_of_calls
from paglets.errors import CancelledCallError, UnavailableError

__all__ = ["RetriedCall", "RetryPolicy", "bounded_timeout"]

RequestT = TypeVar("RequestT")
ReplyT = TypeVar("ReplyT")

_random = random.SystemRandom()

_LONGEST_S = 100 * 365.25 * 86400.0
"""gRPC counts a deadline in nanoseconds since 1970, of 63 bits: one after the year 2262 would be over at once."""


def bounded_timeout(timeout_s: float | None) -> float | None:
    """A timeout as gRPC takes it: None, for none, if it is infinite, or a century."""
    return timeout_s if timeout_s is not None and timeout_s < _LONGEST_S else None


def _always(_failure: UnavailableError) -> bool:
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How long to go on, in seconds, and how long to pause: doubling from the first to the last, with jitter.

    A call without a deadline is given up after `patience_s` of failures only. `is_passing` says whether an UNAVAILABLE
    may pass; any other failure is final.
    """

    timeout_s: float = 30.0
    first_pause_s: float = 0.05
    last_pause_s: float = 2.0
    patience_s: float = 60.0
    is_passing: Callable[[UnavailableError], bool] = _always


class RetriedCall(grpc.aio.UnaryUnaryCall[RequestT, ReplyT]):
    """One call to its user, one or more attempts to the host. Awaiting it raises a PagletError, never gRPC's own error.

    `attempt` starts a call with a timeout, None for none; `timeout_s` is for all attempts together; infinite, or a
    century, is none.
    Metadata, code and details are those of the last attempt, known when the call has ended.
    """

    def __init__(
        self,
        attempt: Callable[[float | None], grpc.aio.UnaryUnaryCall[RequestT, ReplyT]],
        timeout_s: float,
        policy: RetryPolicy,
    ) -> None:
        loop = asyncio.get_running_loop()
        self._attempt = attempt
        self._policy = policy
        self._now = loop.time
        bounded = bounded_timeout(timeout_s)
        self._end = math.inf if bounded is None else loop.time() + bounded
        self._last: grpc.aio.UnaryUnaryCall[RequestT, ReplyT] | None = None
        self._task: asyncio.Task[ReplyT] = loop.create_task(self._run())

    def __await__(self) -> Generator[None, None, ReplyT]:
        return self._task.__await__()

    def cancelled(self) -> bool:
        """Whether it was cancelled by its user."""
        return self._task.cancelled()

    def done(self) -> bool:
        """Whether it has ended."""
        return self._task.done()

    def cancel(self) -> bool:
        """Gives it up; False when it had ended."""
        return self._task.cancel()

    def time_remaining(self) -> float | None:
        """Seconds until its deadline; None when it has none."""
        return self._left_s()

    def add_done_callback(self, callback: Callable[[object], None]) -> None:
        """Calls `callback` with this call when it has ended."""
        self._task.add_done_callback(lambda _: callback(self))

    async def initial_metadata(self) -> grpc.aio.Metadata:
        """What the host sent first, in the last attempt."""
        return await (await self._ended()).initial_metadata()

    async def trailing_metadata(self) -> grpc.aio.Metadata:
        """What the host sent last, in the last attempt."""
        return await (await self._ended()).trailing_metadata()

    async def code(self) -> grpc.StatusCode:
        """How the last attempt ended."""
        return await (await self._ended()).code()

    async def details(self) -> str:
        """What the host said to that."""
        return await (await self._ended()).details()

    async def wait_for_connection(self) -> None:
        """Waits until it has ended: an attempt that found a connection may not be the last."""
        await self._ended()

    async def _ended(self) -> grpc.aio.UnaryUnaryCall[RequestT, ReplyT]:
        await asyncio.wait([self._task])
        if self._last is None or self._task.cancelled():
            raise CancelledCallError("CANCELLED", "the call was given up")
        # A failure is reported by code and details now; it need not be logged as never looked at.
        self._task.exception()
        return self._last

    def _left_s(self) -> float | None:
        return None if math.isinf(self._end) else max(self._end - self._now(), 0.0)

    async def _run(self) -> ReplyT:
        pause_s, failing_since = self._policy.first_pause_s, math.inf
        while True:
            began = self._now()
            try:
                return await self._try_once()
            except UnavailableError as failure:
                if self._now() - began > self._policy.last_pause_s:  # it was well under way
                    pause_s, failing_since = self._policy.first_pause_s, math.inf
                failing_since = min(failing_since, self._now())
                wait_s = max(pause_s * _random.uniform(0.5, 1.0), failure.retry_after_s or 0.0)
                if self._now() + wait_s >= self._gives_up_at(failing_since) or not self._policy.is_passing(failure):
                    raise
            await asyncio.sleep(wait_s)
            pause_s = min(pause_s * 2, self._policy.last_pause_s)

    def _gives_up_at(self, failing_since: float) -> float:
        return failing_since + self._policy.patience_s if math.isinf(self._end) else self._end

    async def _try_once(self) -> ReplyT:
        with errors_of_calls():
            self._last = self._attempt(self._left_s())
            return await self._last
