"""How long a journey is tried: the time and the new attempts that its ticket gives it, all before the commit."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import TypeVar

from paglets.errors import DeadlineError, PagletError, PreconditionError, Resource, UnavailableError
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

    def limit(self, wait_s: float) -> float:
        """The time to wait for something that may take `wait_s` seconds."""
        remaining_s = self._remaining_s()
        return wait_s if remaining_s is None else min(wait_s, max(0.0, remaining_s))

    def require_time(self) -> None:
        """Raises JOURNEY_TIMEOUT when the deadline has passed."""
        remaining_s = self._remaining_s()
        if remaining_s is not None and remaining_s <= 0.0:
            raise self._too_late()

    @contextmanager
    def keeping_time(self) -> Generator[None]:
        """Whatever ends too late inside because of `limit` ends by JOURNEY_TIMEOUT."""
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

        Raises what `explain` makes of the last failure, and JOURNEY_TIMEOUT.
        """
        while True:
            self.require_time()
            try:
                async with asyncio.timeout(self._remaining_s()):
                    return await attempt(work(), where)
            except TimeoutError:
                raise self._too_late() from None
            except PagletError as error:
                failure = explain(error)
                if not _may_pass(failure) or self._failures >= self._departure.ticket.retries:
                    raise failure from error
            pause_s = min(_LAST_PAUSE_S, _FIRST_PAUSE_S * 2.0**self._failures) * random.uniform(0.75, 1.0)  # noqa: S311
            self._failures += 1
            await asyncio.sleep(self.limit(pause_s))

    def _remaining_s(self) -> float | None:
        deadline_s = self._departure.ticket.deadline_s
        return None if deadline_s is None else self._departure.started_at + deadline_s - time.time()

    def _too_late(self) -> DeadlineError:
        departure = self._departure
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
