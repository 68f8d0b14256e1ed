"""Which worlds of the model the real hosts may be in, given the points that they passed and what they look like.

Steps that have a point in the code are taken only when it was passed; the others, which nobody can see, at any time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tests.model.search import beginning, steps
from tests.model.world import GONE, UNBORN, UP, Model, Step, World

UNSEEN = frozenset(
    {"recovery.read", "recovery.bury", "recovery.bring_back", "recovery.take_up", "start"}
    | {"activate.load", "dispose.find", "dispose.quiesce", "arrival.look", "arrival.finish", "transfer.seal"}
)
"""Steps at which no host can be killed in the code, and which it takes by itself."""

CUT = frozenset(
    {"create.directory", "journey.abort.directory", "arrival.settle", "arrival.record", "activate.journal"}
    | {"journey.forget.directory", "journey.forget", "dispose.journal"}
)
"""Steps whose only point comes after them: when something is cut they may have been taken without it."""

_BEGUN = frozenset({"journey.quiesce.before", "deactivate.quiesce.before", "dispose.directory.before"})
_MANY = 20_000


class Seen(NamedTuple):
    """What can be seen of real hosts, or of a world: nothing of what only a memory knows.

    `row` is owner and state, None for no row; `kept` how often each request ran, and the replies, in each journal;
    `live` whether each host serves the paglet.
    """

    row: tuple[int, str] | None
    kept: tuple[tuple[tuple[int, ...], int] | None, ...]
    live: tuple[bool, ...]


class Asked(NamedTuple):
    """What a test did since it looked last: requests called, hosts started again, and whether writes may be late."""

    requests: Sequence[int] = ()
    restarted: Sequence[int] = ()
    late: bool = False


class Conformance:
    """The worlds that agree with all that was seen so far. `model` says what there is; its bounds are not used."""

    def __init__(self, model: Model) -> None:
        self._model = model._replace(operations=0, faults=0, lost=0, ordered=False)
        self._worlds = [(beginning(model), 0)]

    def allowed(self, points: Iterable[str], asked: Asked) -> dict[Seen, list[tuple[World, int]]]:
        """What may be seen when all is quiet, after these points were passed; with the worlds that look so."""
        passed = list(points)
        taken = {_base(point) for point in passed}
        model = self._model._replace(faults=len(asked.restarted), lost=int(asked.late))
        begun = sum(point in _BEGUN for point in passed)
        first = [(world._replace(operations=-begun, faults=0, lost=0), epoch) for world, epoch in self._worlds]
        known, stack = set(first), first
        found: dict[Seen, list[tuple[World, int]]] = {}
        while stack:
            world, epoch = stack.pop()
            if _is_quiet(world):
                found.setdefault(seen_of(world), []).append((world, epoch))
            for step in steps(model, world):
                reached = (step.world, epoch if _has_row(world) else 0)
                if reached not in known and _may(step, taken, asked):
                    known.add(reached)
                    stack.append(reached)
            assert len(known) < _MANY, "too many worlds agree with what was seen"
        return found

    def saw(self, worlds: list[tuple[World, int]], epoch: int) -> None:
        """One of these worlds is the real one, in which the row has that epoch; AssertionError if none can be.

        The directory begins a life at an epoch of its own; from there both must count alike.
        """
        agreeing: set[tuple[World, int]] = set()
        for world, offset in worlds:
            actual = epoch - world.row.epoch if world.row is not None else 0
            if not offset or not _has_row(world) or offset == actual:
                agreeing.add((world, actual if _has_row(world) else 0))
        assert agreeing, f"epoch {epoch} is none of {sorted((world.row, offset) for world, offset in worlds)}"
        self._worlds = sorted(agreeing, key=repr)


def seen_of(world: World) -> Seen:
    """A world as it looks from outside."""
    row = world.row
    hosts = world.hosts
    return Seen(
        None if row is None else (0 if row.state in GONE else row.owner, row.state),
        tuple(None if host.kept is None else (host.kept.runs, host.kept.replies) for host in hosts),
        tuple(host.mem is not None and host.mem.step == "open" for host in hosts),
    )


def _has_row(world: World) -> bool:
    return world.row is not None and world.row.state != UNBORN


def _is_quiet(world: World) -> bool:
    """Whether nothing is under way but what may be late."""
    return all(
        host.status == UP
        and host.ready
        and not (host.turn or host.coming or host.leaving or host.following)
        and (host.mem is None or host.mem.step == "open")
        for host in world.hosts
    )


def _may(step: Step, taken: set[str], asked: Asked) -> bool:
    """Whether a step can have been taken."""
    word, _, rest = step.name.partition(" ")
    match word:
        case "the" | "transfer.prepare" if "late" in rest:
            return asked.late
        case "turn.begin" | "turn.commit" | "turn.replay":
            return any(rest.startswith(f"of {request} ") for request in asked.requests)
        case "kill":
            return int(rest) in asked.restarted
        case "stop":
            return False
        case _:
            cut = asked.late or bool(asked.restarted)
            return word in UNSEEN or _base(word) in taken or (cut and _base(word) in CUT)


def _base(point: str) -> str:
    return re.sub(r"\.(before|after)$", "", point)
