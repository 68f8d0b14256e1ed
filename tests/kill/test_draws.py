"""What the soak can draw, without a host."""

from __future__ import annotations

import random

from paglets.artifacts.steps import FAULT_POINTS
from paglets.host.host import HOST_POINTS
from paglets.host.pull import PULL_POINTS
from paglets.host.rebuild import REBUILD_POINTS
from tests.kill.cases import LAYOUTS
from tests.kill.draws import DRAWN, NOT_DRAWN, draw
from tests.kill.kills import Kill
from tests.kill.tally import Tally

_APPLY = ("directory.apply.before", "directory.apply.after")


def test_every_point_is_drawn_or_has_a_reason() -> None:
    """A new point is drawn, or somebody says why it is not."""
    every = {*HOST_POINTS, *FAULT_POINTS, *PULL_POINTS, *REBUILD_POINTS, *_APPLY}
    assert set(DRAWN) | set(NOT_DRAWN) == every
    assert not set(DRAWN) & set(NOT_DRAWN)


def test_what_can_be_drawn_is_drawn(seed: int) -> None:
    """Every point comes up for every host that may pass it, alone and beside the deaths of others."""
    chance = random.Random(seed)
    drawn = [draw(layout, chance) for layout in LAYOUTS.values() for _ in range(2500)]
    every = {(kill.victim, kill.point) for fates in drawn for kills in fates for kill in kills}
    of_paglets = {(role, point) for role in ("source", "target") for point in (*HOST_POINTS, *FAULT_POINTS)}
    assert every == of_paglets | {(role, point) for role in ("source", "target", "directory") for point in _APPLY}
    assert {len(fates) for fates in drawn} == {1, 2, 3}
    assert {len(kills) for fates in drawn for kills in fates} == {1, 2}


def test_a_run_is_drawn_again_by_its_seed(seed: int) -> None:
    """So a failure can be repeated."""
    first, second = ([draw(LAYOUTS["third"], chance) for _ in range(20)] for chance in map(random.Random, (seed, seed)))
    assert first == second


def test_the_figures_are_told() -> None:
    """Who died where, and how soon all was quiet again."""
    tally = Tally(runs=1, calms_s=[1.0, 2.0, 6.0])
    tally.add_deaths([Kill(victim="source", point="post.run.after", nth=nth) for nth in (1, 7)])
    assert "3 times, median 2.0 s, p95 5.6 s, max 6.0 s" in str(tally)
    assert "  post.run.after: source 2" in str(tally)
