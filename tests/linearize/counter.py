"""A counter with request ids: `add` an amount above 0 and be told the sum, or `read` it. An id adds once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence

from tests.linearize.checker import NEVER, Operation, Verdict, by_paglet, check

ADD, READ = "add", "read"


class CounterModel:
    """A sum to which nobody has added yet."""

    first = 0

    def step(self, state: int, operation: Operation) -> int | None:
        """Adds, or reads; None when the answer is another."""
        value = state + operation.amount
        return value if operation.value in {None, value} else None

    def may_come(self, state: int, operation: Operation) -> bool:
        """The sum only grows: who was answered with less than there is now should have come earlier."""
        return operation.value is None or operation.value - operation.amount >= state

    def alike(self, operation: Operation) -> Hashable:
        """Whoever added the same amount."""
        return operation.amount


def check_counters(history: Iterable[Operation]) -> Verdict:
    """Whether the history of each counter can be put in order; else where the first of them got stuck."""
    for operations in by_paglet(history).values():
        requests = [ask for ask in _requests(operations).values() if len(ask) > 1]
        different = next((ask for ask in requests if len({one.value for one in ask if one.end != NEVER}) > 1), None)
        verdict = Verdict(tuple(different)) if different else check(_once(operations), CounterModel())
        if not verdict:
            return verdict
    return Verdict()


def _once(operations: Sequence[Operation]) -> list[Operation]:
    """Each request as one operation, however often it was asked.

    It took effect after it was first asked, and before it was first answered; all the other attempts did nothing. A
    read without an answer tells nothing.
    """
    once = [operation for operation in operations if not operation.request_id]
    for ask in _requests(operations).values():
        answered = min(ask, key=lambda operation: operation.end)
        once.append(answered._replace(start=min(operation.start for operation in ask)))
    return [operation for operation in once if operation.kind == ADD or operation.end != NEVER]


def _requests(operations: Sequence[Operation]) -> dict[str, list[Operation]]:
    asked: defaultdict[str, list[Operation]] = defaultdict(list)
    for operation in operations:
        if operation.request_id:
            asked[operation.request_id].append(operation)
    return asked
