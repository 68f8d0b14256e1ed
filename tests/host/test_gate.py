"""The gate alone: what becomes of those who wait when many of them give up at once."""

from __future__ import annotations

import asyncio

from paglets.core.mailbox import Mailbox
from paglets.host.gate import Gate

_MANY = 900


async def test_many_who_give_up_in_one_step_do_not_break_the_gate() -> None:
    """A turn that ends in the very step in which 900 waiters were withdrawn ends well, and the next one gets in."""
    gate = Gate("probe", Mailbox("probe", _MANY, 1 << 20))
    gate.reopen()
    running = await gate.enter()
    waiters = [asyncio.create_task(gate.enter()) for _ in range(_MANY)]
    await asyncio.wait(waiters, timeout=0)
    assert gate.waiting == _MANY
    for waiter in waiters:
        waiter.cancel()
    gate.leave(running)
    outcomes = await asyncio.gather(*waiters, return_exceptions=True)
    assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
    assert gate.waiting == 0
    gate.leave(await asyncio.wait_for(gate.enter(), 5))
    await gate.close(1)
