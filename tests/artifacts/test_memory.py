"""Memory of a host and its clients does not grow with what they move."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.artifacts.memory_load import memory_load


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_eight_clients_both_ways(tmp_path: Path) -> None:
    """While eight clients send and fetch, each process stays within its bounds; `soak --memory` does it with more."""
    growth = await memory_load(tmp_path, clients=8, size=64 * 1024**2, rounds=1)
    growth.check()
