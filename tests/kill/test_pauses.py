"""A host that stood still, longer than its lease or until others decided, does no harm when it goes on."""

from __future__ import annotations

import pytest

from tests.kill import pauses
from tests.kill.meshes import Meshes
from tests.kill.pauses import Pause

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.mark.parametrize("case", pauses.PAUSES, ids=str)
async def test_a_journey_survives_a_pause(meshes: Meshes, case: Pause) -> None:
    """One live copy, no acknowledged write lost, none twice; two hosts never answer in one epoch."""
    async with meshes.mesh("third") as mesh:
        await pauses.paused(mesh, case)
