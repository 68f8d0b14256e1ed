"""How long a journey is tried: the time and the new attempts that its ticket gives it, all before the commit.

A disposal of its paglet, which nothing may keep waiting, gives it less.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import TypeVar

from paglets.errors import ConflictError, DeadlineError, PagletError, PreconditionError, Resource, UnavailableError
from paglets.host.records import Departure
from paglets.host.runner import attempt
from paglets.values import HostRef

__all__ = ["Patience", "require_offer"]

T = TypeVar("T")
_FIRST_PAUSE_S = 0.25
_LAST_PAUSE_S = 5.0


class Patience:
    """What is left of it for one journey; the attempts are shared by all that is tried."""

    def __init__(self, departure: Departure) -> None:
        self._departure = departure
        self._failures = 0
        self._cut_at: float | None = None  # a time of the loop's clock
        self._spending: asyncio.Timeout | None = None

    def cut(self, after_s: float) -> None:
        """Leaves so many seconds from now, for a paglet that is to end: a journey not committed by then is given up.

        It ends by JOURNEY_ABORTED. Safe to repeat; the first cut counts.
        """
        if self._cut_at is not None:
            return
        self._cut_at = asyncio.get_running_loop().time() + after_s
        if self._spending is not None and not self._spending.expired():
            self._spending.reschedule(self._end())

    def limit(self, wait_s: float) -> float:
        """The time to wait for something that may take `wait_s` seconds."""
        end = self._end()
        return wait_s if end is None else min(wait_s, max(0.0, end - asyncio.get_running_loop().time()))

    def require_time(self) -> None:
        """Raises JOURNEY_ABORTED, JOURNEY_TIMEOUT when there is no time left."""
        end = self._end()
        if end is not None and end <= asyncio.get_running_loop().time():
            raise self._too_late()

    @contextmanager
    def keeping_time(self) -> Generator[None]:
        """Whatever ends too late inside because of `limit` ends as `require_time` says."""
        try:
            self.require_time()
            yield
        except DeadlineError as error:
            if error.reason != "JOURNEY_TIMEOUT":
                self.require_time()
            raise

    async def spend(
        self, work: Callable[[], Awaitable[T]], where: str, explain: Callable[[PagletError], PagletError]
    ) -> T:
        """Does work that is safe to repeat and to cut; does it anew while a failure may pass and attempts are left.

        Raises what `explain` makes of the last failure, and as `require_time`.
        """
        self.require_time()
        try:
            async with asyncio.timeout_at(self._end()) as self._spending:
                return await self._persist(work, where, explain)
        except TimeoutError:
            raise self._too_late() from None
        finally:
            self._spending = None

    async def _persist(
        self, work: Callable[[], Awaitable[T]], where: str, explain: Callable[[PagletError], PagletError]
    ) -> T:
        while True:
            try:
                return await attempt(work(), where)
            except PagletError as error:
                failure = explain(error)
                if not _may_pass(failure) or self._failures >= self._departure.ticket.retries:
                    raise failure from error
            pause_s = min(_LAST_PAUSE_S, _FIRST_PAUSE_S * 2.0**self._failures) * random.uniform(0.75, 1.0)  # noqa: S311
            self._failures += 1
            await asyncio.sleep(pause_s)

    def _end(self) -> float | None:
        """When there is no time left, by the loop's clock; None for never."""
        deadline_s, now = self._departure.ticket.deadline_s, asyncio.get_running_loop().time()
        due = None if deadline_s is None else now + self._departure.started_at + deadline_s - time.time()
        return min((end for end in (due, self._cut_at) if end is not None), default=None)

    def _too_late(self) -> PagletError:
        departure = self._departure
        if self._cut_at is not None and self._end() == self._cut_at:
            return ConflictError(
                "JOURNEY_ABORTED",
                f"the journey of paglet {departure.paglet_id} to {departure.target} was given up: the paglet is to end",
                resource=Resource("paglet", departure.paglet_id),
                metadata={"transfer_id": departure.transfer_id},
            )
        return DeadlineError(
            "JOURNEY_TIMEOUT",
            f"the journey of paglet {departure.paglet_id} to {departure.target} was not committed within"
            f" {departure.ticket.deadline_s:g} s, as its ticket asked",
            resource=Resource("paglet", departure.paglet_id),
            metadata={"target": departure.target},
        )


def _may_pass(failure: PagletError) -> bool:
    """Whether trying again may help: nobody answered, or there is no room now."""
    return isinstance(failure, UnavailableError) or failure.retry_after_s is not None


def require_offer(host: HostRef, departure: Departure) -> None:
    """Raises HOST_UNSUITABLE, TYPE_NOT_ALLOWED for a target that lacks a tag or a type that the ticket requires."""
    for tag in departure.ticket.required_tags:
        if tag not in host.tags:
            raise PreconditionError(
                "HOST_UNSUITABLE",
                f"the ticket requires the tag {tag}, which host {host.name} does not have",
                resource=Resource("host", host.name),
                metadata={"tag": tag, "host": host.name},
            )
    missing = [name for name in departure.ticket.required_types if name not in host.types]
    if missing:
        raise PreconditionError(
            "TYPE_NOT_ALLOWED",
            f"the ticket requires {', '.join(missing)}, which host {host.name} does not offer",
            resource=Resource("host", host.name),
            metadata={"type": missing[0], "host": host.name},
        )
