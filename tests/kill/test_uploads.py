"""A host that is killed in the middle of uploads."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.kill.uploads import kill_uploads

pytestmark = pytest.mark.slow


@pytest.mark.timeout(180)
async def test_killed_at_random_offsets(tmp_path: Path, seed: int) -> None:
    """Each upload goes on with the host that comes back, ends with its digest, and leaves nothing else."""
    await kill_uploads(tmp_path, random.Random(seed), runs=6, size=16 * 1024**2)
