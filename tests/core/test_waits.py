"""Those who wait for a state are woken, all or one, and look for themselves."""

from __future__ import annotations

import asyncio

import pytest

from paglets.core.waits import Waits


class Watched:
    """A number, and those who wait for it to reach something."""

    def __init__(self) -> None:
        self.number = 0
        self.looks = 0
        self.waits = Waits()

    def reaches(self, number: int, timeout_s: float | None = None) -> asyncio.Task[bool]:
        """Somebody waits."""

        def look() -> bool:
            self.looks += 1
            return self.number >= number

        return asyncio.ensure_future(self.waits.until(look, timeout_s))


async def _rest() -> None:
    """Lets everybody go on until they wait again."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_core_3_what_is_so_needs_no_waking() -> None:
    """Who finds it so at the first look does not wait, whatever the timeout."""
    assert await Watched().reaches(0, -1.0)


@pytest.mark.parametrize("timeout_s", [0.0, -3600.0])
async def test_core_3_no_time_is_one_look_more(timeout_s: float) -> None:
    """A timeout of nothing, or less, is answered at once."""
    watched = Watched()
    assert not await watched.reaches(1, timeout_s)
    assert watched.looks == 2


async def test_core_3_waking_lets_all_look_again() -> None:
    """Everybody looks when woken; who does not find it so waits on."""
    watched = Watched()
    near, far = watched.reaches(1), watched.reaches(2)
    await _rest()
    watched.number = 1
    watched.waits.wake()
    assert await near
    await _rest()
    assert not far.done()
    watched.number = 2
    watched.waits.wake()
    assert await far


async def test_core_3_one_is_woken_after_the_other() -> None:
    """Waking one lets the one look who has waited longest; he goes to the end of the queue."""
    watched = Watched()
    first, second = watched.reaches(2), watched.reaches(1)
    await _rest()
    watched.number = 1
    watched.waits.wake_one()
    await _rest()
    assert not first.done()
    assert not second.done()
    watched.waits.wake_one()
    assert await second
    first.cancel()
    await _rest()
    watched.waits.wake_one()  # nobody is there
    assert first.cancelled()


async def test_core_3_last_look_counts() -> None:
    """At the timeout the last look decides, also when nobody has woken the one who waits."""
    watched = Watched()
    waiting = watched.reaches(1, 0.01)
    await _rest()
    watched.number = 1
    assert await waiting
