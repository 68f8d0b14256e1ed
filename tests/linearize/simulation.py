"""Histories of counters that are linearizable because each operation took effect at one moment."""

from __future__ import annotations

import random
from typing import NamedTuple

from tests.linearize.checker import NEVER, Operation
from tests.linearize.counter import ADD, READ


class _Effect(NamedTuple):
    at: float
    operation: Operation


def simulate(
    chance: random.Random, *, clients: int = 8, paglets: int = 5, operations: int = 100, lost: float = 0.05
) -> list[Operation]:
    """Clients who each do one operation after the other, of which the share `lost` is not answered.

    What is not answered takes effect late, or never; half of the time the client asks again with the same request id.
    """
    effects, number = list[_Effect](), 0
    for client in range(clients):
        now = chance.random()
        asked_again: Operation | None = None
        for _ in range(operations // clients):
            number += 1
            begun = Operation(
                f"p{chance.randrange(paglets)}",
                chance.choice([ADD, ADD, READ]),
                now,
                amount=chance.randint(1, 3),
                request_id=f"r{client}-{number}",
            )
            begun = begun._replace(amount=0, request_id="") if begun.kind == READ else begun
            if asked_again is not None:
                begun = asked_again._replace(start=now)
            if chance.random() < lost:
                delay = chance.choice([chance.random(), 5 * chance.random(), NEVER])
                effects.append(_Effect(now + delay, begun))
                asked_again = begun if chance.random() < 0.5 else None
            else:
                moment = now + chance.random()
                now = moment + chance.random()
                effects.append(_Effect(moment, begun._replace(end=now)))
                asked_again = None
            now += chance.random() * 0.2
    return _take_effect(effects)


def _take_effect(effects: list[_Effect]) -> list[Operation]:
    """The history that the clients saw."""
    sums, told, history = dict[str, int](), dict[str, int](), list[Operation]()
    for at, operation in sorted(effects, key=lambda effect: effect.at):
        value = sums.get(operation.paglet_id, 0)
        if operation.kind == ADD and at != NEVER:
            if operation.request_id not in told:
                told[operation.request_id] = sums[operation.paglet_id] = value + operation.amount
            value = told[operation.request_id]
        history.append(operation if operation.end == NEVER else operation._replace(value=value))
    return history
