"""An operation whose host dies after it was answered, or before, and others on the same id that do not wait for it."""

from __future__ import annotations

import random

import pytest

from tests.kill.fates import Fate, draw_fate, fulfil
from tests.kill.kills import Kill
from tests.kill.meshes import Meshes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def _of_source(point: str) -> Kill:
    return Kill(victim="source", point=point)


def _of_target(point: str) -> Kill:
    return Kill(victim="target", point=point)


FATES = (
    Fate(
        before=["create source", "sleep"],
        operations=["dispose", "create target", "rest", "activate"],
        kills=[_of_source("dispose.directory.after")],
        outlasts=2,
    ),
    Fate(
        before=["create source", "dispatch target"],
        operations=["dispose", "create source", "retract target", "dispatch source"],
        kills=[_of_target("dispose.journal.after")],
        outlasts=1,
    ),
    Fate(
        before=["create source"],
        operations=["dispatch target", "dispatch source", "dispose", "create target"],
        kills=[_of_source("journey.commit.after"), _of_target("arrival.record.after")],
        outlasts=1,
    ),
    Fate(
        before=["create source"],
        operations=["clone target", "move-clone source", "end-clone", "dispose"],
        kills=[_of_source("clone.forget.before")],
        outlasts=2,
    ),
    Fate(
        before=["create source", "dispose"],
        operations=["create source", "dispatch target", "dispose", "create source"],
        kills=[_of_source("create.directory.after")],
    ),
)
"""Each with a death between two operations on one id, or on its clone's."""


@pytest.mark.parametrize("fate", FATES, ids=str)
async def test_fates(meshes: Meshes, seed: int, fate: Fate) -> None:
    """What each operation has acknowledged holds, and nothing of an earlier life is found by a later one."""
    async with meshes.mesh("third") as mesh:
        await fulfil(mesh, fate, random.Random(seed))


@pytest.mark.parametrize("layout", ["at-source", "at-target"])
async def test_drawn_fates(meshes: Meshes, seed: int, layout: str) -> None:
    """One of all the others, also where the directory is on a host that dies."""
    chance = random.Random(seed)
    fate = draw_fate(chance)
    try:
        async with meshes.mesh(layout) as mesh:
            await fulfil(mesh, fate, chance)
    except BaseException as error:
        error.add_note(str(fate))
        raise
