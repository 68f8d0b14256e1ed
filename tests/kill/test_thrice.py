"""Each request has one effect and one reply, however often it is sent and whatever happens meanwhile."""

from __future__ import annotations

import random

import pytest

from tests.kill.meshes import Meshes
from tests.kill.thrice import send_thrice


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_what_is_sent_three_times_is_done_once(meshes: Meshes, seed: int) -> None:
    """Over moves, rests and deaths of hosts; effects are as many as ids, and replies to one id are the same."""
    async with meshes.mesh("third") as mesh:
        thrice = await send_thrice(mesh, random.Random(seed), seconds=8)
    assert min(thrice.moves, len(thrice.request_ids)) > 2, thrice
