"""Where the bytes of a blob are had, whether they have a file or lie in the catalogue.

This file must never change a row.
"""

from __future__ import annotations

import os
from functools import partial

from paglets.artifacts.blobs import BlobFolder
from paglets.artifacts.disk import Disk
from paglets.artifacts.ledger import Ledger
from paglets.artifacts.reader import FileReader
from paglets.artifacts.references import Blob, inline_data
from paglets.digest import Digest
from paglets.offloop import off_loop

__all__ = ["StoredBytes"]


class StoredBytes:
    """The bytes of one store's blobs."""

    def __init__(self, ledger: Ledger, blobs: BlobFolder, disk: Disk) -> None:
        self._ledger = ledger
        self._blobs = blobs
        self._disk = disk

    def where(self, blob: Blob) -> str:
        """Where a blob is, for people."""
        return f"blob {blob.digest.hex()} in the catalogue" if blob.is_inline else str(self._blobs.path(blob))

    async def open(self, file: FileReader, blob: Blob) -> os.stat_result:
        """Opens a blob for reading as if it were a file, and tells what it is. Raises `FileNotFoundError`, `OSError`.

        `file` is to be closed also when this fails.
        """
        if not blob.is_inline:
            return await file.open(self._blobs.path(blob))
        data = await self._inline(blob)
        if data is None:
            raise FileNotFoundError(f"{blob.digest.hex()} lies in the catalogue no longer")
        return await file.open_bytes(data)

    async def holds(self, blob: Blob) -> bool:
        """Whether the blob is there and has its bytes, all of which are read and hashed.

        Raises an `OSError` that says nothing of the bytes, e.g. of too many open files.
        """
        if not blob.is_inline:
            return await self._disk.run(partial(self._blobs.holds, blob))
        data = await self._inline(blob)
        return data is not None and await off_loop(Digest.of, data) == Digest(blob.digest, blob.size_bytes)

    async def _inline(self, blob: Blob) -> bytes | None:
        return await self._ledger.read(lambda rows: inline_data(rows, blob))
