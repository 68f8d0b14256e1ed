"""Files out of a store: filled under a hidden name, placed when all went well.

Never by hard link: a blob is never writable under another name. This file must never know which store it is.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from paglets.artifacts import refusals
from paglets.artifacts.disk import Disk
from paglets.artifacts.placement import PrivateFile
from paglets.artifacts.reader import BlobReader, FileReader

__all__ = ["copy_blob", "landing"]


@asynccontextmanager
async def landing(disk: Disk, target: Path, *, overwrite: bool) -> AsyncGenerator[PrivateFile, None]:
    """A file to fill, which becomes `target` durably when the context ends well, and is removed when it does not.

    Raises DESTINATION_EXISTS, DESTINATION_UNWRITABLE, DISK_FULL; an `OSError` of the machine's own trouble passes.
    """
    file = PrivateFile(target, overwrite=overwrite)
    try:
        with refusals.full_disk_told():
            await disk.run(file.open)
            yield file
            await disk.run(file.place)
    finally:
        await disk.release(file.discard)


async def copy_blob(disk: Disk, reader: BlobReader, blob: FileReader, file: PrivateFile) -> None:
    """Fills a file with a blob and proves it; the blocks are shared where the file system can.

    A copy within the kernel would save nothing elsewhere: the bytes have to be read anyway, to be proven.
    """
    if not await disk.run(partial(file.clone, blob.descriptor)):
        async for piece in reader:
            await disk.run(partial(file.append, piece))
        return
    copy = FileReader(disk)
    try:
        await copy.open(file.path)
        async for _ in reader.proven(copy):
            pass
    finally:
        await copy.close()
