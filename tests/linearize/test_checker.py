"""The checker accepts what can have happened and nothing else: known histories, simulated ones, and all small ones."""

import itertools
import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.linearize.checker import NEVER, Operation
from tests.linearize.counter import ADD, READ, check_counters
from tests.linearize.simulation import simulate


def add(
    start: float, end: float, value: int | None, amount: int = 1, request_id: str = "", paglet_id: str = "p"
) -> Operation:
    """An add as its client saw it."""
    return Operation(paglet_id, ADD, start, end, value, amount, request_id)


def read(start: float, end: float, value: int | None, paglet_id: str = "p") -> Operation:
    """A read as its client saw it."""
    return Operation(paglet_id, READ, start, end, value)


GOOD: dict[str, list[Operation]] = {
    "nothing": [],
    "one after the other": [add(0, 1, 1), read(2, 3, 1), add(4, 5, 2)],
    "an overlapping read before the add": [add(0, 9, 1), read(1, 2, 0), read(3, 4, 1)],
    "who began first comes last": [add(0, 9, 3), add(1, 8, 2), add(2, 7, 1)],
    "each must be put before the one that began earlier": [add(0, 4, 2), add(1, 9, 3), add(3, 5, 1), read(6, 7, 3)],
    "ends and begins at once": [add(0, 1, 2), add(1, 2, 1)],
    "no answer, and done": [add(0, NEVER, None), read(1, 2, 1)],
    "no answer, and done late": [add(0, NEVER, None), read(1, 2, 0), read(3, 4, 0), read(5, 6, 1)],
    "no answer, and never done": [add(0, NEVER, None), read(1, 2, 0), add(3, 4, 1)],
    "of several without an answer, some": [
        *[add(0, NEVER, None, amount) for amount in (1, 2, 4, 8)],
        read(1, 2, 6),
        read(3, 4, 7),
    ],
    "asked again, and told the same": [add(0, 1, 1, 1, "r"), add(2, 3, 2, 1, "s"), add(4, 5, 1, 1, "r"), read(6, 7, 2)],
    "asked again after no answer": [add(0, NEVER, None, 1, "r"), add(1, 2, 2, 1, "s"), add(3, 4, 1, 1, "r")],
    "asked again, and only then done": [add(0, NEVER, None, 1, "r"), add(1, 2, 1, 1, "s"), add(3, 4, 2, 1, "r")],
    "two counters": [add(0, 1, 1, paglet_id="p"), add(2, 3, 1, paglet_id="q"), read(4, 5, 1, "p")],
}
BAD: dict[str, list[Operation]] = {
    "a stale read": [add(0, 1, 1), read(2, 3, 0)],
    "a stale read after a newer one": [add(0, 9, 1), read(1, 2, 1), read(3, 4, 0)],
    "a lost update": [add(0, 1, 1), add(2, 3, 1)],
    "a lost update of two at once": [add(0, 5, 1), add(1, 4, 1)],
    "an acknowledged add is gone": [add(0, 1, 1), add(2, 3, 2), read(4, 5, 1)],
    "an add ran twice": [add(0, 1, 1, 1, "r"), read(2, 3, 2)],
    "asked again, and run again": [add(0, 1, 1, 1, "r"), add(2, 3, 2, 1, "r")],
    "without an answer, and run twice": [add(0, NEVER, None, 1, "r"), read(1, 2, 2)],
    "asked again, and told something else": [add(0, NEVER, None, 1, "r"), read(1, 2, 1), add(3, 4, 2, 1, "r")],
    "a read of the future": [read(0, 1, 1), add(2, 3, 1)],
    "a read of what was not yet asked for": [read(0, 1, 1), add(2, NEVER, None)],
    "done, and undone": [add(0, NEVER, None), read(1, 2, 1), read(3, 4, 0)],
    "a value that no order gives": [add(0, 9, 2, 2), add(1, 8, 5, 2)],
    "of two counters one": [add(0, 1, 1, paglet_id="p"), add(2, 3, 2, paglet_id="q")],
}


@pytest.mark.parametrize("name", GOOD)
def test_accepts_what_can_have_happened(name: str) -> None:
    """A history that some order explains is accepted."""
    verdict = check_counters(GOOD[name])
    assert verdict, verdict


@pytest.mark.parametrize("name", BAD)
def test_refuses_what_cannot_have_happened(name: str) -> None:
    """A history that no order explains is refused, and operations are named that do not fit."""
    stuck = check_counters(BAD[name]).stuck
    assert stuck
    assert {operation.value for operation in stuck} <= {operation.value for operation in BAD[name]}


SEEDS = st.integers(0, 2**32)


@given(seed=SEEDS, lost=st.sampled_from([0.0, 0.05, 0.3]))
def test_accepts_what_was_simulated(seed: int, lost: float) -> None:
    """Operations that each took effect at one moment are put in order, however many answers were lost."""
    history = simulate(random.Random(seed), clients=6, paglets=2, operations=60, lost=lost)
    verdict = check_counters(history)
    assert verdict, verdict


@given(seed=SEEDS, choice=st.integers(0), too_much=st.booleans())
def test_refuses_a_value_that_cannot_be(seed: int, choice: int, *, too_much: bool) -> None:
    """One reply that is less than nothing, or more than everything, is found."""
    history = simulate(random.Random(seed), clients=6, paglets=2, operations=60)
    answered = [index for index, operation in enumerate(history) if operation.value is not None]
    index = answered[choice % len(answered)]
    value = sum(operation.amount for operation in history) + 1 if too_much else -1
    history[index] = history[index]._replace(value=value)
    assert not check_counters(history)


@st.composite
def operations(draw: st.DrawFn) -> Operation:
    """Any operation on one counter; what an id adds is always the same."""
    start, length, value = draw(st.integers(0, 6)), draw(st.integers(0, 6)), draw(st.integers(0, 4))
    request_id = draw(st.sampled_from(["", "r", "s"]))
    if draw(st.booleans()):
        return read(start, start + length, value)
    amount = 2 if request_id == "s" else 1
    if draw(st.booleans()):
        return add(start, NEVER, None, amount, request_id)
    return add(start, start + length, value, amount, request_id)


def can_have_happened(history: Sequence[Operation]) -> bool:
    """The definition, word for word: some of the unanswered and all of the answered, in some order."""
    answered = [operation for operation in history if operation.end != NEVER]
    unanswered = [operation for operation in history if operation.end == NEVER]
    return any(
        explains(order)
        for count in range(len(unanswered) + 1)
        for done in itertools.combinations(unanswered, count)
        for order in itertools.permutations([*answered, *done])
    )


def explains(order: Sequence[Operation]) -> bool:
    """Whether an order keeps to the times, and each reply is what a counter says then."""
    if any(later.end < earlier.start for earlier, later in itertools.combinations(order, 2)):
        return False
    total, told = 0, dict[str, int]()
    for number, operation in enumerate(order):
        name = operation.request_id or str(number)
        if operation.kind == ADD and name not in told:
            total += operation.amount
            told[name] = total
        if operation.value not in {None, total if operation.kind == READ else told[name]}:
            return False
    return True


@pytest.mark.slow
@settings(max_examples=300)
@given(history=st.lists(operations(), max_size=5))
def test_agrees_with_trying_all_orders(history: list[Operation]) -> None:
    """On small histories the search finds an order exactly if there is one."""
    assert bool(check_counters(history)) == can_have_happened(history)


LONG = 20_000


@pytest.mark.slow
def test_checks_long_histories(seed: int) -> None:
    """20 000 operations of 8 clients on 5 counters, of which some are not answered, can be put in order at once."""
    assert check_counters(simulate(random.Random(seed), operations=LONG, lost=0.01))


@pytest.mark.slow
def test_finds_a_stale_read_in_a_long_history(seed: int) -> None:
    """One read late in a long history that saw the beginning is found."""
    history = simulate(random.Random(seed), operations=LONG, lost=0.01)
    reads = [index for index, operation in enumerate(history) if operation.kind == READ and operation.value]
    late = reads[len(reads) * 9 // 10]
    history[late] = history[late]._replace(value=0)
    assert not check_counters(history)


def test_finds_a_write_that_ran_twice_in_a_long_history(seed: int) -> None:
    """From one add on, everybody sees its amount once too often."""
    history = simulate(random.Random(seed), operations=LONG, lost=0.0)
    adds = [operation for operation in history if operation.kind == ADD]
    twice = adds[len(adds) // 2]
    later = [
        operation._replace(value=operation.value + twice.amount)
        if operation.paglet_id == twice.paglet_id and (operation.value or 0) > (twice.value or 0)
        else operation
        for operation in history
        if operation.value is not None
    ]
    assert not check_counters(later)
