"""Meshes that outlive a case: starting hosts takes longer than killing one."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from tests.kill.cases import LAYOUTS
from tests.kill.mesh import Mesh, running_mesh

__all__ = ["Meshes"]


class Meshes:
    """One mesh at a time. It is kept for the next case of its layout, and given up when a case fails."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        self._layout = ""
        self._mesh: Mesh | None = None
        self._stack = AsyncExitStack()

    @asynccontextmanager
    async def mesh(self, layout: str) -> AsyncGenerator[Mesh]:
        """A quiet mesh of a layout."""
        if self._mesh is None or self._layout != layout:
            await self.aclose()
            self._layout, wanted = layout, LAYOUTS[layout]
            self._count += 1
            folder = self._folder / f"{self._count}-{layout}"
            running = running_mesh(folder, directory=wanted.directory, source=wanted.source)
            self._mesh = await self._stack.enter_async_context(running)
        try:
            yield self._mesh
        except BaseException as error:
            stack, self._stack, self._mesh = self._stack, AsyncExitStack(), None
            await stack.__aexit__(type(error), error, error.__traceback__)
            raise

    async def aclose(self) -> None:
        """Ends the mesh as an operator does, and deletes its folder."""
        mesh, self._mesh = self._mesh, None
        stack, self._stack = self._stack, AsyncExitStack()
        await stack.aclose()
        if mesh is not None:
            await asyncio.to_thread(shutil.rmtree, mesh.folder)
