"""The storage of paglet classes on one host: a folder a class, a file a name, never half written.

The sizes are counted once, at the first use after a start; from then on this process alone changes them.
"""

from __future__ import annotations

import asyncio
import errno
import os
import uuid
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote, unquote

from paglets.core.storage import Storage, StorageStatus
from paglets.errors import ExhaustedError, InvalidArgumentError, NotFoundError, Resource
from paglets.offloop import off_loop
from paglets.sqlite import fsync_folder, make_folders

__all__ = ["ClassStorage", "Storages"]

T = TypeVar("T")
_MAX_NAME_BYTES = 80  # each may take three in the name of the file
_KEPT, _COMING = "=", "+"


class Storages:
    """The storages of all classes, below one folder; each has `quota_bytes`, None for no bound."""

    def __init__(self, folder: Path, quota_bytes: int | None) -> None:
        self._folder = folder
        self._quota_bytes = quota_bytes
        self._storages: dict[str, ClassStorage] = {}

    def of(self, type_name: str) -> Storage:
        """The storage of a type, by its name `module.Class`."""
        found = self._storages.get(type_name)
        if found is None:
            found = self._storages[type_name] = ClassStorage(self._folder / type_name, type_name, self._quota_bytes)
        return found


class ClassStorage:
    """The storage of one class. Its changes wait for each other, and are made whatever becomes of the caller."""

    def __init__(self, folder: Path, type_name: str, quota_bytes: int | None) -> None:
        self._folder = folder
        self._type_name = type_name
        self._quota_bytes = quota_bytes
        self._sizes: dict[str, int] | None = None
        self._one_at_a_time = asyncio.Lock()
        self._changes: set[asyncio.Task[object]] = set()

    async def read_bytes(self, name: str) -> bytes:
        """What is kept under a name."""
        path = self._path(name)
        try:
            return await off_loop(path.read_bytes)
        except FileNotFoundError as error:
            raise NotFoundError(
                "FILE_NOT_FOUND",
                f"the storage of {self._type_name} has nothing of the name {name!r}",
                resource=Resource("file", name),
            ) from error

    async def read_text(self, name: str) -> str:
        """What is kept under a name, as text."""
        return (await self.read_bytes(name)).decode()

    async def write_bytes(self, name: str, data: bytes) -> None:
        """Keeps bytes under a name."""
        path = self._path(name)

        async def write() -> None:
            sizes = await self._known()
            self._require_room(sum(sizes.values()), len(data) - sizes.get(name, 0))
            await off_loop(_replace, path, data)
            sizes[name] = len(data)

        await self._change(write)

    async def write_text(self, name: str, text: str) -> None:
        """Keeps a text under a name."""
        await self.write_bytes(name, text.encode())

    async def delete(self, name: str) -> bool:
        """Forgets a name."""
        path = self._path(name)

        async def delete() -> bool:
            sizes = await self._known()
            if name not in sizes:
                return False
            await off_loop(_unlink, path)
            del sizes[name]
            return True

        return await self._change(delete)

    async def clear(self) -> None:
        """Forgets everything."""
        for name in await self.names():
            await self.delete(name)

    async def names(self) -> Sequence[str]:
        """All names."""

        async def names() -> Sequence[str]:
            return sorted(await self._known())

        return await self._change(names)

    async def status(self) -> StorageStatus:
        """How much is kept."""

        async def used() -> int:
            return sum((await self._known()).values())

        return StorageStatus(used_bytes=await self._change(used), quota_bytes=self._quota_bytes)

    async def _change(self, work: Callable[[], Awaitable[T]]) -> T:
        async def alone() -> T:
            async with self._one_at_a_time:
                return await work()

        task = asyncio.create_task(alone())
        self._changes.add(task)
        task.add_done_callback(self._changes.discard)
        return await asyncio.shield(task)

    async def _known(self) -> dict[str, int]:
        """The sizes by name."""
        if self._sizes is None:
            self._sizes = await off_loop(_open, self._folder)
        return self._sizes

    def _require_room(self, used_bytes: int, more_bytes: int) -> None:
        if self._quota_bytes is None or more_bytes <= 0 or used_bytes + more_bytes <= self._quota_bytes:
            return
        raise ExhaustedError(
            "STORAGE_QUOTA_EXCEEDED",
            f"the storage of {self._type_name} has {used_bytes} bytes, {more_bytes} more would exceed"
            f" {self._quota_bytes}",
            metadata={
                "subject": f"storage:{self._type_name}",
                "limit_bytes": str(self._quota_bytes),
                "used_bytes": str(used_bytes),
                "requested_bytes": str(more_bytes),
            },
        )

    def _path(self, name: str) -> Path:
        """Where a name's file is: one flat folder, in which a name can lead nowhere."""
        try:
            encoded = name.encode()
        except UnicodeEncodeError as error:
            raise InvalidArgumentError("MALFORMED_REQUEST", f"{name!r} is no valid text", field="name") from error
        if not 1 <= len(encoded) <= _MAX_NAME_BYTES:
            raise InvalidArgumentError(
                "MALFORMED_REQUEST", f"a name has 1 to {_MAX_NAME_BYTES} bytes, got {name[:64]!r}", field="name"
            )
        return self._folder / (_KEPT + quote(name, safe=""))


def _open(folder: Path) -> dict[str, int]:
    """The sizes of what is kept, by name; what was being written when a process was killed goes."""
    make_folders(folder, mode=0o700)
    sizes: dict[str, int] = {}
    for path in folder.iterdir():
        if path.name.startswith(_KEPT):
            sizes[unquote(path.name.removeprefix(_KEPT))] = path.stat().st_size
        elif path.name.startswith(_COMING):
            path.unlink()
    return sizes


def _replace(path: Path, data: bytes) -> None:
    coming = path.parent / f"{_COMING}{uuid.uuid4().hex}"
    try:
        with coming.open("xb", buffering=0) as file:
            view = memoryview(data)
            while view:
                view = view[file.write(view) :]
            os.fsync(file.fileno())
        coming.replace(path)
    except OSError as error:
        coming.unlink(missing_ok=True)
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise ExhaustedError("DISK_FULL", "the disk of the host is full", retry_after_s=60.0) from error
        raise
    fsync_folder(path.parent)


def _unlink(path: Path) -> None:
    path.unlink(missing_ok=True)
    fsync_folder(path.parent)
