"""What the leases on one paglet promise, by a clock that the test moves."""

from __future__ import annotations

import pytest

from paglets.errors import ExhaustedError, InvalidArgumentError
from paglets.host.leases import Leases
from tests.directory.support import Clock


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still."""
    return Clock()


@pytest.fixture
def leases(clock: Clock) -> Leases:
    """No leases yet."""
    return Leases("paglet", clock)


def test_svc_9_lease_is_live_until_its_time_is_over(leases: Leases, clock: Clock) -> None:
    """It ends by itself, and when it did is known."""
    assert (leases.live, leases.last_end) == (0, 0.0)
    assert not leases.acquire("a", 10)
    end = clock.now + 10
    assert (leases.live, leases.last_end) == (1, end)
    clock.now += 9.9
    assert leases.live == 1
    clock.now += 30
    assert (leases.live, leases.last_end) == (0, end)


def test_svc_9_renewing_counts_from_now(leases: Leases, clock: Clock) -> None:
    """Whether it was live until then is told; one that had ended is a new one."""
    leases.acquire("a", 10)
    clock.now += 9
    assert leases.acquire("a", 10)
    clock.now += 9
    assert leases.live == 1
    clock.now += 2
    assert not leases.acquire("a", 10)


def test_svc_9_release_is_safe_to_repeat(leases: Leases, clock: Clock) -> None:
    """A lease that is released has ended now; another one is not touched."""
    leases.acquire("a", 100)
    leases.acquire("b", 10)
    clock.now += 1
    leases.release("a")
    leases.release("a")
    leases.release("never")
    assert leases.live == 1
    leases.release("b")
    assert (leases.live, leases.last_end) == (0, clock.now)


@pytest.mark.parametrize("ttl_s", [0.0, -1.0, float("nan"), 25 * 3600.0])
def test_svc_9_time_that_is_none_is_refused(leases: Leases, ttl_s: float) -> None:
    """A lease has more than no time, and at most a day."""
    with pytest.raises(InvalidArgumentError) as caught:
        leases.acquire("a", ttl_s)
    assert (caught.value.reason, caught.value.field) == ("MALFORMED_REQUEST", "ttl")
    assert leases.live == 0


def test_svc_9_leases_are_bounded(leases: Leases, clock: Clock) -> None:
    """So many may be live; those that are can be renewed, and room comes back."""
    for number in range(1000):
        leases.acquire(f"lease-{number}", 10)
    with pytest.raises(ExhaustedError) as caught:
        leases.acquire("one-more", 10)
    assert caught.value.reason == "TOO_MANY_LEASES"
    assert leases.acquire("lease-7", 10)
    clock.now += 11
    assert not leases.acquire("one-more", 10)
