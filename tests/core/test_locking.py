"""A locked method is a turn of its own, or part of the one it is called in."""

from __future__ import annotations

import inspect

import pytest
from anyio import to_thread

from paglets import state_locked
from paglets.core.paglet import Paglet
from paglets.errors import PreconditionError
from tests.core.test_paglet import First
from tests.fake_home import FakeHome


class Locked(Paglet[First]):
    """Counts, by whoever asks."""

    @state_locked
    async def bump(self, by: int = 1) -> int:
        """Counts on the event loop."""
        self.state.value += by
        return self.state.value

    @state_locked
    def bump_in_thread(self, by: int = 1) -> int:
        """Counts in a thread."""
        self.state.value += by
        if self.state.value < 0:
            raise ValueError("too few")
        return self.state.value


def _locked() -> Locked:
    paglet = FakeHome(Locked).paglet
    assert isinstance(paglet, Locked)
    return paglet


async def test_core_2_locked_method_changes_the_state() -> None:
    """It reads and writes the state, answers, and is durable when it returns; wherever it is called."""
    locked = _locked()
    assert await locked.bump(by=2) == 2
    assert await to_thread.run_sync(locked.bump_in_thread, 3) == 5
    async with locked.turn() as state:
        assert await locked.bump() == 6
        assert locked.bump_in_thread() == 7
        assert state.value == 7
    assert locked.state.value == 7


async def test_core_2_failure_rolls_it_back() -> None:
    """A method that raises leaves the state as it was, and the lock is free."""
    locked = _locked()
    with pytest.raises(ValueError, match="too few"):
        await to_thread.run_sync(locked.bump_in_thread, -1)
    assert await locked.bump() == 1


async def test_core_2_blocking_one_is_for_threads() -> None:
    """A `def` on the event loop would block it, and is refused; what a method is stays what it was."""
    with pytest.raises(PreconditionError, match="event loop"):
        _locked().bump_in_thread()
    assert inspect.iscoroutinefunction(Locked.bump)
    assert (Locked.bump.__name__, Locked.bump_in_thread.__doc__) == ("bump", "Counts in a thread.")
