"""A host as a kill would leave it, without the wait for a process: its data folder, copied while it runs."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import AsyncExitStack
from pathlib import Path

from tests.host.conftest import Site, site

__all__ = ["fallen"]


async def fallen(stack: AsyncExitStack, folder: Path) -> Site:
    """Starts another host alpha from what host alpha of `folder` has on its disk now; both go on."""
    left = folder / "left"
    await asyncio.to_thread(shutil.copytree, folder / "alpha", left / "alpha")
    return await site(stack, left, "alpha")
