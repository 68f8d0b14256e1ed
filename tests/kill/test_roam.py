"""A run of the soak, always the same; `buildscripts/soak` makes as many others as one likes."""

from __future__ import annotations

import random

import pytest

from tests.kill.draws import draw_run
from tests.kill.meshes import Meshes
from tests.kill.roam import roam
from tests.kill.tally import Tally


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("number", [87012])  # the directory dies twice, the target on a journey and as it comes back
async def test_what_roams_survives(meshes: Meshes, number: int) -> None:
    """No acknowledged write or post is lost, none runs twice; `buildscripts/soak 1 --seed NUMBER` does the same."""
    chance = random.Random(number)
    layout, fates = draw_run(chance)
    async with meshes.mesh(layout) as mesh:
        assert await roam(mesh, fates, chance, Tally()) > 0
