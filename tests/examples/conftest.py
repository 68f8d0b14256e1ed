"""Three hosts of one mesh that allow all examples, each with a folder of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from paglets.client.client import Client
from paglets.testing import local_host

EXAMPLES = ("file_grabber", "mesh_search", "performance", "pi")
NAMES = ("alpha", "beta", "gamma")


@dataclass(frozen=True)
class Mesh:
    """A client of alpha, and the folders of all hosts."""

    client: Client
    files: dict[str, Path]


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[Mesh]:
    """Alpha, beta and gamma."""
    files = {name: tmp_path / f"{name}-files" for name in NAMES}
    async with AsyncExitStack() as stack:
        join = ""
        for name, root in files.items():
            root.mkdir()
            running = await stack.enter_async_context(
                local_host(
                    name,
                    allow=[f"paglets.examples.{example}" for example in EXAMPLES],
                    file_roots=[root],
                    join=join,
                    data=tmp_path / name,
                )
            )
            join = join or running.address
        yield Mesh(await stack.enter_async_context(Client(join)), files)
