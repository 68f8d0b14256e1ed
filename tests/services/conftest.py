"""The hosts of `tests.host`, for the doors."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from tests.host.conftest import Mesh, empty_stage, mesh, site

__all__ = ["Mesh", "empty_stage", "mesh", "standing"]


@pytest.fixture(scope="module")
async def standing(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mesh]:
    """Two joined hosts for all tests of a module, with the probe `probe` on the first."""
    folder = tmp_path_factory.mktemp("standing")
    async with AsyncExitStack() as stack:
        first = await site(stack, folder, "alpha")
        found = Mesh(first, await site(stack, folder, "beta", join=first.running.address))
        await found.probe()
        yield found
