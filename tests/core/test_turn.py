"""A turn changes the state whole or not at all, and nobody sees it before its commit."""

from __future__ import annotations

import asyncio
import weakref
from dataclasses import dataclass, field

import pytest

from paglets.core.turn import StateCell, Turn, current_turn
from paglets.errors import InvalidArgumentError
from paglets.state import StateCodec


@dataclass
class Basket:
    """A state with something to share by accident."""

    items: list[str] = field(default_factory=list[str])


def cell(*items: str, max_bytes: int = 1000) -> StateCell[Basket]:
    """A cell that holds these items."""
    return StateCell(StateCodec(Basket, 1, {}), Basket(list(items)), max_bytes)


def test_turn_has_a_copy() -> None:
    """What a turn does to its state is seen by nobody else, not even through a shared list."""
    basket = cell("a")
    turn = basket.begin()
    turn.state.items.append("b")
    assert basket.view.items == ["a"]
    assert basket.begin().state.items == ["a"]


def test_finish_gives_bytes_and_a_decoded_copy() -> None:
    """A turn ends with the new bytes and what was read back from them; the cell changes when those are durable."""
    basket = cell("a")
    turn = basket.begin()
    turn.state.items.append("b")
    finished = turn.finish()
    assert finished is not None
    data, view = finished
    assert basket.codec.check(data) == view == Basket(["a", "b"])
    turn.state.items.append("c")
    assert view.items == ["a", "b"]
    assert basket.view.items == ["a"]


@pytest.mark.parametrize("looks", [True, False])
def test_unchanged_state_is_not_written(*, looks: bool) -> None:
    """A turn that only looked at its state, or did not, has nothing to keep."""
    turn = cell("a").begin()
    if looks:
        assert turn.state.items == ["a"]
    assert turn.finish() is None


def test_next_turn_begins_from_the_latest_bytes() -> None:
    """While a commit is on its way, the next turn builds on it; everybody else sees what is durable."""
    basket = cell("a")
    first = basket.begin()
    first.state.items.append("b")
    finished = first.finish()
    assert finished is not None
    basket.latest = finished[0]
    second = basket.begin()
    assert second.state.items == ["a", "b"]
    assert basket.view.items == ["a"]


def test_roll_back_forgets_everything() -> None:
    """A turn that was rolled back leaves neither a change nor anything it asked for."""
    basket = cell("a")
    turn = basket.begin()
    turn.state.items.clear()
    turn.outputs.append(lambda: pytest.fail("it was rolled back"))
    turn.roll_back()
    assert not turn.open
    assert turn.outputs == []
    assert turn.finish() is None
    assert basket.begin().state.items == ["a"]


def test_state_that_does_not_fit_is_refused() -> None:
    """A state that is not what its class says, or too large, ends the turn with STATE_INVALID and changes nothing."""
    basket = cell("a")
    turn = basket.begin()
    turn.state.items.append(7)  # pyright: ignore[reportArgumentType] - the mistake that is tested
    with pytest.raises(InvalidArgumentError, match="does not fit") as refused:
        turn.finish()
    assert refused.value.reason == "STATE_INVALID"
    small = cell(max_bytes=10)
    turn = small.begin()
    turn.state.items.append("x" * 100)
    with pytest.raises(InvalidArgumentError, match="10 are allowed") as refused:
        turn.finish()
    assert refused.value.reason == "STATE_INVALID"
    assert small.begin().state.items == []


def test_code_knows_its_turn() -> None:
    """The running turn is known inside of it, also in what it calls, and no longer when it has ended."""
    assert current_turn() is None
    turn = cell().begin()
    with turn.entered():
        assert current_turn() is turn
        turn.finish()
        assert current_turn() is None
    assert current_turn() is None


async def test_turn_does_not_leak_into_a_task_that_outlives_it() -> None:
    """A task that was begun inside a turn is no part of it once the turn has ended."""
    turn = cell().begin()
    ended = asyncio.Event()

    async def outlives() -> Turn[Basket] | None:
        await ended.wait()
        return current_turn()

    with turn.entered():
        task = asyncio.create_task(outlives())
        turn.finish()
    ended.set()
    assert await task is None


def test_all_who_look_see_one_copy() -> None:
    """Those who look share a copy, a new one after a change; it is gone when nobody looks any more."""
    basket = cell("a")
    with basket.looking() as look, basket.looking() as other:
        first = look()
        assert first is other()
        assert first is not basket.view
        basket.view = Basket(items=["b"])
        assert other() is look()
        assert look().items == ["b"]
        last = weakref.ref(look())
    assert last() is None
