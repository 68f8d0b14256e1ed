"""What clients see of counters that travel over bad ways can have happened one after the other."""

import random
from pathlib import Path

import pytest

from tests.linearize.counter import check_counters
from tests.linearize.travels import travel


@pytest.mark.slow
async def test_histories_of_travels_are_linearizable(tmp_path: Path, seed: int) -> None:
    """8 clients, 5 counters, 3 hosts, a move every 200 ms; `buildscripts/soak --travels SECONDS` goes on for longer."""
    travels = await travel(tmp_path, random.Random(seed), seconds=6)
    assert min(travels.moves, travels.cuts) > 5, travels
    verdict = check_counters(travels.history)
    assert verdict, f"{travels}; these fit nowhere: {verdict.stuck}"
