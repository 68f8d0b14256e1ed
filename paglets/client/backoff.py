"""How long work that moves bytes goes on without moving any: pauses that grow, and a budget that progress renews.

For streams, what `retry` is for unary calls. This file must never know what the work is.
"""

from __future__ import annotations

import asyncio
import math
import random

from paglets.client.retry import RetryPolicy
from paglets.errors import PagletError

__all__ = ["Backoff"]

_random = random.SystemRandom()


class Backoff:
    """One piece of work by a policy: given up after `timeout_s` without progress, or `patience_s` if that is none.

    Pauses double from the first to the last, with jitter; a host that says when to come again is taken at its word.
    """

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._budget_s = policy.patience_s if math.isinf(policy.timeout_s) else policy.timeout_s
        self._now = asyncio.get_running_loop().time
        self._pause_s = policy.first_pause_s
        self._give_up_at = math.inf

    def progressed(self) -> None:
        """Something has moved: what failed before is forgotten."""
        self._pause_s, self._give_up_at = self._policy.first_pause_s, math.inf

    async def pause(self, failure: PagletError) -> None:
        """Waits before the next attempt. Raises `failure` if there would be no time for one."""
        now = self._now()
        self._give_up_at = min(self._give_up_at, now + self._budget_s)
        wait_s = max(self._pause_s * _random.uniform(0.5, 1.0), failure.retry_after_s or 0.0)
        if now + wait_s >= self._give_up_at:
            raise failure
        await asyncio.sleep(wait_s)
        self._pause_s = min(self._pause_s * 2, self._policy.last_pause_s)
