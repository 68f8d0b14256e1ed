"""The counter counts, within the bounds of its service."""

from __future__ import annotations

import pytest

from paglet.examples.counter.v1 import counter_pb2
from paglets.errors import InvalidArgumentError
from paglets.examples.counter import Counter
from tests.fake_home import FakeHome

SERVICE = "/paglet.examples.counter.v1.CounterService"


async def add(home: FakeHome, amount: int) -> int:
    """Adds."""
    reply: counter_pb2.AddResponse = await home.answer(f"{SERVICE}/Add", counter_pb2.AddRequest(amount=amount))
    return reply.value


async def value(home: FakeHome) -> int:
    """Asks."""
    reply: counter_pb2.GetResponse = await home.answer(f"{SERVICE}/Get", counter_pb2.GetRequest())
    return reply.value


async def test_counts() -> None:
    """Each addition answers with the new count, also below zero, and a restart keeps it."""
    home = FakeHome(Counter)
    assert [await add(home, amount) for amount in (3, 4, -10)] == [3, 7, -3]
    assert await value(home) == -3
    assert await value(await home.restarted()) == -3


@pytest.mark.parametrize(("bound", "step"), [(2**63 - 1, 1), (-(2**63), -1)])
async def test_count_stays_within_64_bits(bound: int, step: int) -> None:
    """A count at its bound refuses one more, says so, and stays; it can still go back."""
    home = FakeHome(Counter)
    assert await add(home, bound) == bound
    with pytest.raises(InvalidArgumentError, match=f"adding {step} to {bound} leaves the 64 bits") as refused:
        await add(home, step)
    assert (refused.value.reason, refused.value.field) == ("MALFORMED_REQUEST", "amount")
    assert await value(home) == bound
    assert await add(home, -step) == bound - step


def test_type_name() -> None:
    """Hosts know it by the name that its proto and its docstring tell."""
    assert Counter.type_name() == "paglets.examples.counter.Counter"
