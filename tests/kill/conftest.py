"""The meshes that the cases of a module share."""

from collections.abc import AsyncIterator

import pytest

from tests.kill.meshes import Meshes


@pytest.fixture(scope="module")
async def meshes(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Meshes]:
    """The meshes of a module; the last ends with it."""
    meshes = Meshes(tmp_path_factory.mktemp("meshes"))
    yield meshes
    await meshes.aclose()
