"""The artifact store on disk, the embedded default of a host.

It joins the rooms of this package. Only this store knows paths; it must never know gRPC.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Self

from paglets.artifacts import refusals
from paglets.artifacts.catalogue import Removal, StoredArtifact
from paglets.artifacts.disk import unbroken
from paglets.artifacts.export import copy_blob, landing
from paglets.artifacts.limits import checked_write, page_limit
from paglets.artifacts.paging import position_in, token_after
from paglets.artifacts.quota import Usage, read_usage
from paglets.artifacts.ranges import check_range, range_within
from paglets.artifacts.reader import PIECE_BYTES, BlobReader, FileReader
from paglets.artifacts.references import Blob
from paglets.artifacts.replay import Replay
from paglets.artifacts.rooms import StoreRooms, open_rooms
from paglets.artifacts.sources import file_source, stream_pieces
from paglets.artifacts.steps import Step, passed
from paglets.artifacts.store import ArtifactPage, ArtifactWrite, ArtifactWriteResult, Readable
from paglets.artifacts.upload import LocalUpload
from paglets.config import StoreSettings
from paglets.errors import PagletError
from paglets.values import ArtifactRef, check_id

__all__ = ["LocalArtifactStore"]

_log = logging.getLogger(__name__)


class LocalArtifactStore:
    """An `ArtifactStore` in a folder of its own, for one process at a time. Make it by `open`, end it by `close`."""

    def __init__(self, rooms: StoreRooms, exit_stack: AsyncExitStack) -> None:
        self._rooms = rooms
        self._exit_stack = exit_stack
        self._uploads: set[LocalUpload] = set()
        self._closing = False

    @classmethod
    async def open(
        cls, root: Path, host: str, settings: StoreSettings | None = None, *, clock: Callable[[], float] = time.time
    ) -> Self:
        """Opens the store in `root`, which is made if need be; `host` is the name that references bear.

        What a dead process left unfinished is dropped, or finished in the background: opening takes no longer for a
        large store. Raises DATA_FOLDER_LOCKED, `OSError`, `sqlite3.Error`.
        """
        async with AsyncExitStack() as stack:
            rooms = await stack.enter_async_context(open_rooms(root, host, settings or StoreSettings(), clock))
            return cls(rooms, stack.pop_all())

    async def close(self) -> None:
        """Drops the uploads that are open, stops what runs in the background and closes the files. Safe to repeat."""
        self._closing = True
        for upload in tuple(self._uploads):
            await upload.close()
        await self._exit_stack.aclose()

    async def open_upload(self, write: ArtifactWrite) -> LocalUpload | Replay:
        """Accepts an upload, its declared size reserved; enter what comes as a context, which drops it unless finished.

        Raises what `create_from_chunks` raises before the first byte, and SHUTTING_DOWN.
        """
        if self._closing:
            raise refusals.shutting_down()
        write = checked_write(write, self._rooms.settings)
        upload = LocalUpload(self._rooms, write, self._uploads.discard)
        self._uploads.add(upload)
        async with AsyncExitStack() as undo:
            undo.push_async_callback(upload.drop)
            finished = await upload.admit()
            if finished is not None:
                return Replay(write.upload_id, finished, self._rooms.disk)
            undo.pop_all()
            return upload

    async def create_from_chunks(self, write: ArtifactWrite, chunks: AsyncIterable[bytes]) -> ArtifactWriteResult:
        """Stores the bytes of an async iterator, whose own errors pass unchanged."""
        async with await self.open_upload(write) as upload:
            offset = 0
            async for chunk in chunks:
                await upload.write(offset, chunk)
                offset += len(chunk)
            return await upload.finish()

    async def create_from_stream(self, write: ArtifactWrite, source: Readable) -> ArtifactWriteResult:
        """Stores what `source.read(n)` gives until it gives nothing."""
        return await self.create_from_chunks(write, stream_pieces(source))

    async def create_from_path(self, write: ArtifactWrite, source: Path) -> ArtifactWriteResult:
        """Stores a regular file, named after it unless `write.name` is set."""
        async with file_source(self._rooms.disk, write, source) as (described, pieces):
            return await self.create_from_chunks(described, pieces)

    async def ref(self, artifact_id: str) -> ArtifactRef:
        """Describes one artifact."""
        return (await self._find(artifact_id)).ref

    async def list(self, *, owner: str | None = None, page_size: int = 100, page_token: str = "") -> ArtifactPage:
        """One page in the order of ids."""
        limit = page_limit(page_size)
        found = await self._rooms.catalogue.page(owner, position_in(page_token, owner), limit + 1)
        refs = tuple(found[:limit])
        more = len(found) > limit
        return ArtifactPage(refs, token_after(refs[-1].artifact_id, owner) if more else "")

    @asynccontextmanager
    async def open_reader(
        self, artifact_id: str, *, offset: int = 0, length: int | None = None, piece_bytes: int = PIECE_BYTES
    ) -> AsyncGenerator[BlobReader, None]:
        """Opens an artifact for reading; what is deleted from then on is still read to its end."""
        check_range(offset, length)
        file = FileReader(self._rooms.disk)
        try:
            found = await self._open_blob(file, artifact_id)
            byte_range = range_within(found.ref.size_bytes, offset, length)
            yield BlobReader(found.ref, file, partial(self._distrust, found.blob), byte_range, piece_bytes)
        finally:
            await file.close()

    async def export_to_path(self, artifact_id: str, target: Path, *, overwrite: bool = True) -> ArtifactRef:
        """Writes a verified, private copy under its final name in one step."""
        blob = FileReader(self._rooms.disk)
        try:
            found = await self._open_blob(blob, artifact_id)
            reader = BlobReader(found.ref, blob, partial(self._distrust, found.blob))
            async with landing(self._rooms.disk, target, overwrite=overwrite) as file:
                await copy_blob(self._rooms.disk, reader, blob, file)
        finally:
            await blob.close()
        return reader.ref

    async def delete(self, artifact_id: str) -> bool:
        """Deletes one artifact; its room is free again when this returns."""
        remove = partial(self._rooms.catalogue.remove, check_id(artifact_id, "artifact_id"))
        return await unbroken(self._remove(remove)) > 0

    async def delete_owner(self, owner: str, *, created_until: float | None = None) -> int:
        """Deletes the owner's artifacts whose policy is DELETE_WITH_OWNER; says how many."""
        remove = partial(self._rooms.catalogue.remove_of_owner, owner, created_until)
        total = 0
        while count := await unbroken(self._remove(remove)):
            total += count
        return total

    async def blob_path(self, artifact_id: str) -> Path:
        """Where the bytes are. Read-only, and there only as long as the artifact is."""
        return self._rooms.blobs.path((await self._find(artifact_id)).blob)

    async def usage(self) -> Usage:
        """How much of the store is taken."""
        limit = self._rooms.settings.quota_bytes
        return await self._rooms.ledger.read(lambda rows: read_usage(rows, limit))

    async def sweep(self) -> None:
        """Removes what has expired and unlinks what nobody points to, now; it happens by itself, too."""
        await self._rooms.janitor.sweep()

    async def settled(self) -> None:
        """Waits until what a dead process left behind is dealt with."""
        await self._rooms.janitor.settled()

    async def _find(self, artifact_id: str) -> StoredArtifact:
        found = await self._rooms.catalogue.find(check_id(artifact_id, "artifact_id"))
        if found is None:
            raise refusals.artifact_not_found(artifact_id, self._rooms.host)
        return found

    async def _open_blob(self, file: FileReader, artifact_id: str) -> StoredArtifact:
        """Opens an artifact's file; if that was deleted meanwhile, looks whether the artifact has another now."""
        found = await self._find(artifact_id)
        while not found.ref.corrupt:
            try:
                status = await file.open(self._rooms.blobs.path(found.blob))
            except FileNotFoundError as error:
                missing, found = found.blob, await self._find(artifact_id)
                if found.blob != missing:
                    continue
                await self._distrust(missing)
                raise refusals.blob_corrupt(artifact_id, "the stored bytes are gone") from error
            if status.st_size == found.blob.size_bytes:
                return found
            await self._distrust(found.blob)
            break
        raise refusals.blob_corrupt(artifact_id, "the stored bytes are not what they were")

    async def _distrust(self, blob: Blob) -> None:
        """Notes that a file's bytes are wrong. What keeps that from being noted is logged; it is not the reader's."""
        try:
            await self._rooms.catalogue.distrust(blob)
        except (sqlite3.Error, PagletError):
            _log.exception("%s is corrupt, which cannot be noted", self._rooms.blobs.path(blob))

    async def _remove(self, remove: Callable[[], Awaitable[Removal]]) -> int:
        """Removes artifacts and frees their room; what cannot be unlinked now is left to the janitor."""
        removal = await remove()
        if removal.blobs:
            passed(Step.DELETE_AFTER)
        await self._rooms.janitor.reap_or_wake(removal.blobs)
        return removal.count
