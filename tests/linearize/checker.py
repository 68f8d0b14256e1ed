"""Searches for an order of a history's operations that explains every reply, and keeps to what ended before what began.

It is the search of Wing and Gong with Lowe's memory of what was tried; each object is looked at alone. It must never
know what the operations do: that is the model's.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar

S = TypeVar("S", bound=Hashable)

NEVER = math.inf


class Operation(NamedTuple):
    """One call as its client saw it. Times are of one clock.

    `end` is NEVER and `value` None when no answer came: it may take effect at any time after `start`, or never.
    """

    paglet_id: str
    kind: str
    start: float
    end: float = NEVER
    value: int | None = None
    amount: int = 0
    request_id: str = ""


class Model(Protocol[S]):
    """What the operations on one object do."""

    @property
    def first(self) -> S:
        """The state before all operations."""
        ...

    def step(self, state: S, operation: Operation) -> S | None:
        """The state after an operation; None when it would have answered otherwise."""
        ...

    def may_come(self, state: S, operation: Operation) -> bool:
        """Whether an answered operation can come true at all from here, maybe after others."""
        ...

    def alike(self, operation: Operation) -> Hashable:
        """The same for unanswered operations of which it does not matter which one took effect."""
        ...


class Node(NamedTuple, Generic[S]):
    """What is in the order so far: the answered before `low` and those `above` it; of the unanswered, `lost`. Bits."""

    low: int
    above: int
    lost: int
    state: S


class Verdict(NamedTuple):
    """Where the search got stuck: operations of one object of which none could come next; empty if it did not."""

    stuck: tuple[Operation, ...] = ()

    def __bool__(self) -> bool:
        return not self.stuck


def by_paglet(history: Iterable[Operation]) -> dict[str, list[Operation]]:
    """The history of each object."""
    histories: defaultdict[str, list[Operation]] = defaultdict(list)
    for operation in history:
        histories[operation.paglet_id].append(operation)
    return dict(histories)


def check(history: Sequence[Operation], model: Model[S]) -> Verdict:
    """Looks for an order of one object's operations.

    It takes time in proportion to the history where operations overlap little, whatever the number of answers that
    did not come, and may take exponential time where many overlap.
    """
    search = _Search(history, model)
    deepest = root = Node(0, 0, 0, model.first)
    seen = set[Node[S]]()
    stack: list[Iterator[Node[S]]] = [iter([root])]
    while stack:
        node = next(stack[-1], None)
        if node is None:
            stack.pop()
        elif node.low == len(search.answered):
            return Verdict()
        elif node not in seen:
            seen.add(node)
            deepest = max(deepest, node, key=lambda found: found.low)
            stack.append(search.after(node))
    return Verdict(tuple(search.answered[index] for index in search.window(deepest)[0]))


class _Search(Generic[S]):
    """One object's operations in the order of their beginning, and what may come next."""

    def __init__(self, history: Sequence[Operation], model: Model[S]) -> None:
        ordered = sorted(history, key=lambda operation: operation.start)
        self.answered = [operation for operation in ordered if operation.end != NEVER]
        self._unanswered = [operation for operation in ordered if operation.end == NEVER]
        self._model = model

    def window(self, node: Node[S]) -> tuple[list[int], Operation]:
        """The answered operations that may come next: none of the rest ended before they began; and who ends first."""
        answered, found = self.answered, list[int]()
        ends_first = answered[node.low]
        for index in range(node.low, len(answered)):
            if answered[index].start > ends_first.end:
                break
            if not node.above >> (index - node.low) & 1:
                found.append(index)
                ends_first = min(ends_first, answered[index], key=lambda operation: operation.end)
        return [index for index in found if answered[index].start <= ends_first.end], ends_first

    def after(self, node: Node[S]) -> Iterator[Node[S]]:
        """Every node that may follow. Answers come first: of what has none it is not known that it was done."""
        window, ends_first = self.window(node)
        if not self._model.may_come(node.state, ends_first):
            return
        for index in window:
            state = self._model.step(node.state, self.answered[index])
            if state is not None:
                yield self._taken(node, index, state)
        tried = set[Hashable]()
        for index, operation in enumerate(self._unanswered):
            if operation.start > ends_first.end:
                return
            alike = self._model.alike(operation)
            if node.lost >> index & 1 or alike in tried:
                continue
            tried.add(alike)
            state = self._model.step(node.state, operation)
            if state is not None:
                yield node._replace(lost=node.lost | 1 << index, state=state)

    def _taken(self, node: Node[S], index: int, state: S) -> Node[S]:
        low, above = node.low, node.above | 1 << (index - node.low)
        while above & 1:
            low, above = low + 1, above >> 1
        return Node(low, above, node.lost, state)
