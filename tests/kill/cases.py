"""Every case of the suite by the layout of its mesh, and which points they pass between them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from tests.kill.kills import Kill, Kills

__all__ = [
    "AT_REST",
    "BIRTHS",
    "CLONES",
    "CLONES_AT_HOME",
    "CLONE_PAIRS",
    "ENDS",
    "JOURNEYS",
    "LAYOUTS",
    "OUTBOX",
    "PAIRS",
    "POSTS",
    "POSTS_ON_THE_WAY",
    "RESTARTS",
    "RESTS",
    "RESTS_KEPT",
    "RETRACTED",
    "STRANGE",
    "Layout",
    "points",
]


@dataclass(frozen=True, slots=True)
class Layout:
    """Which host holds the directory, and which is the source of the journeys."""

    directory: str
    source: str = "alpha"

    @property
    def target(self) -> str:
        """The other host of the journeys."""
        return "beta" if self.source == "alpha" else "alpha"

    @property
    def keeper(self) -> str:
        """The role of the directory's host: source and target come before it."""
        return {self.source: "source", self.target: "target"}.get(self.directory, "directory")


LAYOUTS = {
    "third": Layout("gamma"),
    "at-source": Layout("alpha"),
    "at-target": Layout("alpha", source="beta"),
}
"""The directory is on a host of its own, on the source, or on the target."""

_INTENT, _COMMIT, _RECORD, _FORGET = 2, 3, 4, 5
"""Which write to the directory is which, counted from the paglet's creation."""

_WAY_OUT = ("quiesce.before", "quiesce.after", "intent.before", "intent.after", "prepare.after", "push.after")
_SEALED = ("seal.after", "commit.before", "commit.after")
_FAREWELL = ("forget.before", "forget.sources", "forget.directory", "forget.after")
_WAY_BACK = ("abort.before", "abort.directory", "abort.after")
_OFFER = ("transfer.prepare.before", "transfer.prepare.after", "transfer.seal.before", "transfer.seal.after")
_LANDING = ("arrival.turn.before", "arrival.turn.after", "arrival.settle.after", "arrival.record.after")
_DROP = ("arrival.drop.before", "arrival.drop.after")
_APPLY = ("directory.apply.before", "directory.apply.after")


def _source(*names: str) -> list[Kill]:
    return [Kill(victim="source", point=f"journey.{name}") for name in names]


def _target(*names: str) -> list[Kill]:
    return [Kill(victim="target", point=name) for name in names]


def _directory(*numbers: int) -> list[Kill]:
    return [Kill(victim="directory", point=point, nth=nth) for nth in numbers for point in _APPLY]


def _single(*kills: Kill) -> list[Kills]:
    return [Kills(kills=(kill,)) for kill in kills]


JOURNEYS: dict[str, list[Kills]] = {
    "third": [
        *_single(*_source(*_WAY_OUT, *_SEALED, *_FAREWELL), *_target(*_OFFER, *_LANDING)),
        *_single(*_directory(_INTENT, _COMMIT, _RECORD, _FORGET)),
        *(Kills(kills=(kill,), refused=True) for kill in _source(*_WAY_BACK)),
        *(Kills(kills=(*_source("push.after"), kill)) for kill in _target(*_DROP)),
    ],
    "at-source": _single(*_source("intent.after", "seal.after", "commit.after"), *_target("arrival.settle.after")),
    "at-target": _single(*_source("commit.after"), *_target("transfer.seal.after", *_LANDING)),
}
"""The kills during a journey."""

PAIRS = [
    Kills(kills=pair)
    for first, second in (
        (_source(*_SEALED), _target(*_LANDING)),
        (_source("prepare.after", "push.after"), _target(*_DROP)),
        (_target("transfer.seal.before", "transfer.seal.after"), _source(*_WAY_BACK)),
        (_target(*_LANDING), _source(*_FAREWELL)),
        (_directory(_COMMIT), [*_source("commit.after"), *_target("arrival.turn.before")]),
        (_target(*_LANDING), _directory(_FORGET)),
    )
    for pair in product(first, second)
]
"""Two kills in one journey of which the first does not keep the second from happening."""

BIRTHS = [
    Kill(victim="source", point=f"create.{name}") for name in ("journal.before", "journal.after", "directory.after")
]
ENDS = [
    Kill(victim="target", point=f"dispose.{name}") for name in ("directory.before", "directory.after", "journal.after")
]
RESTS = [
    Kill(victim="source", point=f"{step}.{name}")
    for step, names in (
        ("deactivate", ("quiesce.before", "journal.before", "directory.before", "directory.after")),
        ("activate", ("directory.before", "directory.after", "journal.after")),
    )
    for name in names
]
RESTS_KEPT = [Kill(victim="source", point=f"deactivate.directory.{moment}") for moment in ("before", "after")]
"""The journal has the rest, and the outcome of the request for it."""
RESTARTS = [Kill(victim="source", point=f"recovery.raise.{name}") for name in ("before", "after")]

POSTS = [
    Kill(victim="source", point=f"post.{name}", nth=nth)
    for name, nth in (
        ("keep.before", 4),
        ("keep.after", 4),
        ("run.before", 4),
        ("run.after", 4),
        ("fail.after", 1),
        ("fail.after", 3),
        ("replay.after", 1),
        ("drop.after", 1),
    )
]
"""The kills of a host that takes posts and runs them."""

OUTBOX = [
    *(Kill(victim="source", point=f"outbox.{name}", nth=4) for name in ("send.before", "send.after", "drop.after")),
    *_source("quiesce.after", "seal.after", "commit.after", "forget.after"),
    *_target("post.keep.after", "arrival.turn.after", "arrival.settle.after", "arrival.record.after"),
]
"""The kills while one ledger posts to another what it takes down, and travels to it."""

POSTS_ON_THE_WAY = [
    *_source("quiesce.before", "quiesce.after", "seal.after", "commit.after", "forget.after"),
    *_target("transfer.seal.after", "arrival.turn.after", "arrival.settle.after", "arrival.record.after"),
]
"""The kills during a journey that begins while posts wait."""

AT_REST = _target("arrival.settle.after", "arrival.record.after")
RETRACTED = [*_source("intent.after", "commit.after"), *_target("transfer.prepare.after", "arrival.settle.after")]


def _clone(*names: str) -> list[Kill]:
    return [Kill(victim="source", point=f"clone.{name}") for name in names]


CLONES = [
    *_single(*_clone("journal.before", "intent.before", "intent.after", "commit.before", "commit.after")),
    *_single(*_clone("forget.before", "forget.after"), *_source("prepare.after", "push.after", "seal.after")),
    *_single(*_target(*_OFFER, *_LANDING), *_directory(_INTENT, _COMMIT, _RECORD, _FORGET)),
    *(Kills(kills=(kill,), refused=True) for kill in _clone("abort.before", "abort.directory", "abort.after")),
    *(Kills(kills=(*_source("push.after"), kill)) for kill in _target(*_DROP)),
]
"""The kills while a clone is made on another host."""

CLONE_PAIRS = [
    Kills(kills=pair)
    for first, second in (
        (_clone("commit.before", "commit.after"), _target(*_LANDING)),
        (_target("transfer.seal.before", "transfer.seal.after"), _clone("abort.before", "abort.directory")),
        (_target(*_LANDING), _clone("forget.before", "forget.after")),
        (_directory(_INTENT, _COMMIT), _target("arrival.turn.before")),
    )
    for pair in product(first, second)
]
"""Two kills in the making of one clone."""

CLONES_AT_HOME = _single(
    *_clone("intent.after", "commit.after", "forget.after"),
    *(Kill(victim="source", point=name) for name in ("transfer.seal.after", "arrival.settle.after")),
)
"""The kills while a clone is made where its original is."""

JOURNEYS_AT_HOME = _single(
    *_source("intent.after", "commit.after", "forget.sources"),
    *(Kill(victim="source", point=name) for name in ("transfer.seal.after", "arrival.turn.after")),
)
"""The kills while a paglet moves to the host that it is on."""

STRANGE = _target("arrival.turn.before", "arrival.settle.after")


def points() -> Iterator[str]:
    """The points of all cases but the pairs, which are drawn."""
    for cases in (*JOURNEYS.values(), CLONES):
        yield from (kill.point for case in cases for kill in case.kills)
    yield from (kill.point for kill in (*BIRTHS, *ENDS, *RESTS, *RESTARTS, *POSTS, *OUTBOX))
