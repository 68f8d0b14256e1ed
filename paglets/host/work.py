"""The work folders of paglets: a private place on the host for files that do not travel.

A folder is kept over a rest and a restart, and goes when its paglet leaves or ends: it is put aside before that is
decided, so that a paglet of the same id never finds what another life left, and put back if nothing comes of it.
"""

from __future__ import annotations

import logging
import os
import shutil
import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from paglets.host.tasks import Tasks
from paglets.offloop import off_loop

__all__ = ["WorkFolders"]

_log = logging.getLogger(__name__)
_ASIDE, _GONE, _MARK = ".", "~", "@"  # no id of a paglet has them there


class WorkFolders:
    """The folders of one host, below one of its own. `close` at the host's end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: set[str] = set()
        self._removals = Tasks("the removal of a work folder")

    def where(self, paglet_id: str) -> Path:
        """Where a paglet's folder is, or would be."""
        return self._folder / paglet_id

    async def make(self, paglet_id: str) -> Path:
        """A paglet's folder, made if it is not there."""
        path = self.where(paglet_id)
        self._made.add(paglet_id)
        await off_loop(partial(path.mkdir, 0o700, parents=True, exist_ok=True))
        return path

    @asynccontextmanager
    async def leaving(self, paglet_id: str) -> AsyncGenerator[None]:
        """For the block that decides that a paglet leaves or ends; if it raises, the paglet has its folder back."""
        aside = await self._put_aside(paglet_id)
        try:
            yield
        except BaseException:
            if aside is not None:
                await self._put_back(aside, paglet_id)
            raise
        if aside is not None:
            await self._remove(aside)

    async def drop(self, paglet_id: str) -> None:
        """Removes the folder of a paglet that is gone, or never was; one that comes now has another."""
        aside = await self._put_aside(paglet_id)
        if aside is not None:
            await self._remove(aside)

    async def recover(self, is_here: Callable[[str], bool]) -> None:
        """After a start: puts back what was aside when the host was killed, and removes what is nobody's any more."""
        for path in await off_loop(self._entries):
            kind, paglet_id = path.name[0], path.name.rpartition(_MARK)[2]
            if kind == _GONE or not is_here(paglet_id):
                await self._remove(path)
            elif kind == _ASIDE:
                await self._put_back(path, paglet_id)
            else:
                self._made.add(paglet_id)

    async def close(self) -> None:
        """Lets the removals end."""
        await self._removals.close(timeout_s=5.0)

    def _entries(self) -> list[Path]:
        return list(self._folder.iterdir()) if self._folder.is_dir() else []

    async def _put_aside(self, paglet_id: str) -> Path | None:
        """Gives a folder a name that says that it is to go, unless it stays; None when there is none."""
        if paglet_id not in self._made:
            return None
        self._made.discard(paglet_id)
        return await self._rename(self.where(paglet_id), self._name(_ASIDE, paglet_id))

    async def _put_back(self, aside: Path, paglet_id: str) -> None:
        self._made.add(paglet_id)
        await self._rename(aside, self.where(paglet_id))

    async def _remove(self, path: Path) -> None:
        """Gives a folder a name that says that it is nobody's, and removes it in the background."""
        gone = await self._rename(path, self._name(_GONE, path.name.rpartition(_MARK)[2]))
        if gone is not None:
            self._removals.start(off_loop(_remove_tree, gone))

    async def _rename(self, path: Path, wanted: Path) -> Path | None:
        try:
            await off_loop(os.rename, path, wanted)
        except OSError as error:
            _log.warning("work folder %s does not become %s: %s", path, wanted.name, error)
            return None
        return wanted

    def _name(self, kind: str, paglet_id: str) -> Path:
        return self._folder / f"{kind}{uuid.uuid4().hex}{_MARK}{paglet_id}"


def _remove_tree(path: Path) -> None:
    try:
        shutil.rmtree(path)
    except OSError as error:
        _log.warning("a work folder is left over until the next start: %s", error)
