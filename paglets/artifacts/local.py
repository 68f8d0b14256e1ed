"""The artifact store on disk, the embedded default of a host.

It joins the rooms of this package. Only this store knows paths; it must never know gRPC.
"""

from __future__ import annotations

import logging
import math
import sqlite3
import time
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Self

from paglets.artifacts import refusals
from paglets.artifacts.batch import store_batch
from paglets.artifacts.batch_read import read_batch, require_small
from paglets.artifacts.catalogue import SWEEP_BATCH, Removal, StoredArtifact
from paglets.artifacts.desk import UploadDesk
from paglets.artifacts.disk import unbroken
from paglets.artifacts.export import copy_blob, landing
from paglets.artifacts.known import KnownUpload
from paglets.artifacts.limits import check_epoch, check_proof, check_query, checked_changes, checked_write, page_limit
from paglets.artifacts.opening import open_upload
from paglets.artifacts.paging import position_in, token_after
from paglets.artifacts.ranges import check_range, range_within
from paglets.artifacts.reader import PIECE_BYTES, BlobReader, FileReader
from paglets.artifacts.references import Blob
from paglets.artifacts.replay import Replay
from paglets.artifacts.rooms import StoreRooms, open_rooms
from paglets.artifacts.sources import Source, StreamSource, file_source, stream_pieces
from paglets.artifacts.steps import Step, passed
from paglets.artifacts.store import (
    ALL_ARTIFACTS,
    MAX_BATCH_ITEMS,
    ArtifactChanges,
    ArtifactNotice,
    ArtifactPage,
    ArtifactQuery,
    ArtifactWrite,
    ArtifactWriteResult,
    Readable,
    SmallArtifact,
    SmallWrite,
    StoreUsage,
    UploadInfo,
    UploadPage,
    UploadState,
)
from paglets.artifacts.upload import LocalUpload
from paglets.config import StoreSettings
from paglets.digest import NOTHING, Digest, Hasher
from paglets.errors import NotFoundError, PagletError
from paglets.values import ArtifactRef, check_id

__all__ = ["LocalArtifactStore"]

_log = logging.getLogger(__name__)


class LocalArtifactStore:
    """An `ArtifactStore` in a folder of its own, for one process at a time. Make it by `open`, end it by `close`."""

    def __init__(self, rooms: StoreRooms, exit_stack: AsyncExitStack) -> None:
        self._rooms = rooms
        self._desk = UploadDesk(rooms)
        self._exit_stack = exit_stack
        self._closing = False

    @classmethod
    async def open(
        cls, root: Path, host: str, settings: StoreSettings | None = None, *, clock: Callable[[], float] = time.time
    ) -> Self:
        """Opens the store in `root`, which is made if need be; `host` is the name that references bear.

        A `~` is the home folder, and a relative root is of the folder that the process is in now, wherever it goes.
        What a dead process left unfinished is dropped, or finished in the background: opening takes no longer for a
        large store. Raises DATA_FOLDER_LOCKED, `OSError`, `sqlite3.Error`.
        """
        async with AsyncExitStack() as stack:
            rooms = await stack.enter_async_context(open_rooms(_fixed(root), host, settings or StoreSettings(), clock))
            return cls(rooms, stack.pop_all())

    async def close(self) -> None:
        """Leaves the uploads that are open as partials, stops what runs and closes the files. Safe to repeat."""
        self._closing = True
        for writer in self._rooms.writers.all():
            await writer.lose(refusals.shutting_down())
        await self._exit_stack.aclose()

    async def open_upload(
        self, write: ArtifactWrite, *, writer_epoch: int = 0, prefix: Digest | None = None
    ) -> LocalUpload | KnownUpload | Replay:
        """Accepts an upload, or goes on with one; enter what comes as a context, which leaves a partial.

        Raises what `ServedStore.open_upload` raises, and SHUTTING_DOWN.
        """
        if self._closing:
            raise refusals.shutting_down()
        check_epoch(writer_epoch)
        return await open_upload(self._rooms, checked_write(write, self._rooms.settings), writer_epoch, prefix)

    async def create_from_chunks(self, write: ArtifactWrite, chunks: AsyncIterable[bytes]) -> ArtifactWriteResult:
        """Stores the bytes of an async iterator, whose own errors pass unchanged."""
        return await self._create(write, StreamSource(chunks, keep=False))

    async def create_from_stream(self, write: ArtifactWrite, source: Readable) -> ArtifactWriteResult:
        """Stores what `source.read(n)` gives until it gives nothing."""
        return await self.create_from_chunks(write, stream_pieces(source))

    async def create_from_path(self, write: ArtifactWrite, source: str | Path) -> ArtifactWriteResult:
        """Stores a regular file, named after it unless `write.name` is set."""
        async with file_source(self._rooms.disk, write, Path(source)) as (described, file):
            return await self._create(described, file)

    async def create_batch(self, items: Sequence[SmallWrite]) -> Sequence[ArtifactWriteResult | PagletError]:
        """Stores any number of small artifacts, up to 1000 by one wait for the disk."""
        results: list[ArtifactWriteResult | PagletError] = []
        for start in range(0, len(items), MAX_BATCH_ITEMS):
            if self._closing:
                raise refusals.shutting_down()
            results += await store_batch(self._rooms, items[start : start + MAX_BATCH_ITEMS])
        return results

    async def read_batch(self, artifact_ids: Sequence[str]) -> Sequence[SmallArtifact | PagletError]:
        """Reads any number of small artifacts."""
        return await read_batch(self._rooms, artifact_ids, self._read_small)

    async def upload(self, upload_id: str) -> UploadInfo:
        """Describes one upload."""
        return await self._desk.describe(check_id(upload_id, "upload_id"))

    async def uploads(self, *, page_size: int = 100, page_token: str = "") -> UploadPage:
        """One page of unfinished uploads in the order of their ids."""
        return await self._desk.page(page_limit(page_size), page_token)

    async def cancel_upload(self, upload_id: str) -> bool:
        """Drops an unfinished upload and what it has reserved."""
        return await self._desk.cancel(check_id(upload_id, "upload_id"))

    async def ref(self, artifact_id: str) -> ArtifactRef:
        """Describes one artifact."""
        return (await self._find(artifact_id)).ref

    async def list(
        self, query: ArtifactQuery = ALL_ARTIFACTS, *, page_size: int = 100, page_token: str = ""
    ) -> ArtifactPage:
        """One page."""
        limit = page_limit(page_size)
        check_query(query)
        start = position_in(page_token, query)
        found, cursor = await self._rooms.catalogue.page(query, start, limit + 1)
        refs = tuple(found[:limit])
        if start is not None:
            cursor = start.cursor
        return ArtifactPage(refs, token_after(refs[-1], query, cursor) if len(found) > limit else "", cursor)

    def watch(self, *, cursor: str = "", owner: str | None = None) -> AsyncGenerator[ArtifactNotice, None]:
        """Every change after `cursor`; ends with SHUTTING_DOWN when the store closes."""
        return self._rooms.watches.watch(cursor, owner)

    def end_watches(self) -> None:
        """Ends all watches, and those that are begun later."""
        self._rooms.watches.end()

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

    async def export_to_path(
        self, artifact_id: str, target: str | Path, *, overwrite: bool = True, expected_digest: Digest | None = None
    ) -> ArtifactRef:
        """Writes a verified, private copy under its final name in one step."""
        blob = FileReader(self._rooms.disk)
        try:
            found = await self._open_blob(blob, artifact_id)
            check_proof(found.ref.digest, expected_digest)
            reader = BlobReader(found.ref, blob, partial(self._distrust, found.blob))
            async with landing(self._rooms.disk, Path(target), overwrite=overwrite) as file:
                await copy_blob(self._rooms.disk, reader, blob, file)
        finally:
            await blob.close()
        return reader.ref

    async def update(self, artifact_id: str, changes: ArtifactChanges, *, etag: str = "") -> ArtifactRef:
        """Changes what is known of an artifact, durably."""
        check_id(artifact_id, "artifact_id")
        wanted = checked_changes(changes, self._rooms.clock())
        ref = await self._rooms.catalogue.update(artifact_id, wanted, etag, self._rooms.moment().limits)
        if ref is None:
            raise refusals.artifact_not_found(artifact_id, self._rooms.host)
        self._rooms.janitor.expect(ref.expires_at)
        return ref

    async def delete(self, artifact_id: str, *, etag: str = "") -> bool:
        """Deletes one artifact; its room is free again when this returns."""
        remove = partial(self._rooms.catalogue.remove, check_id(artifact_id, "artifact_id"), etag)
        return await unbroken(self._remove(remove)) > 0

    async def delete_all(self, artifact_ids: Sequence[str]) -> None:
        """Deletes those of the artifacts that are here, many by one wait for the disk. Safe to repeat."""
        for start in range(0, len(artifact_ids), SWEEP_BATCH):
            some = artifact_ids[start : start + SWEEP_BATCH]
            await unbroken(self._remove(partial(self._rooms.catalogue.remove_all, some)))

    async def delete_owner(self, owner: str, *, created_until: float | None = None) -> int:
        """Deletes the owner's artifacts whose policy is DELETE_WITH_OWNER, after what is on its way; says how many."""
        await self._desk.end_of_owner(owner, math.inf if created_until is None else created_until)
        remove = partial(self._rooms.catalogue.remove_of_owner, owner, created_until)
        total = 0
        while count := await unbroken(self._remove(remove)):
            total += count
        return total

    async def blob_path(self, artifact_id: str) -> Path:
        """Where the bytes are. Read-only, and there only as long as the artifact is.

        Raises SOURCE_NOT_A_FILE where they have no file: whoever wants one writes `as_file`.
        """
        found = await self._find(artifact_id)
        if found.blob.is_inline:
            raise refusals.no_file(artifact_id)
        return self._rooms.blobs.path(found.blob)

    async def stored_files(self, artifact_ids: Sequence[str]) -> dict[str, tuple[ArtifactRef, Path | None]]:
        """Those of the artifacts that are here, each with where its bytes are, if they have a file."""
        found = await self._rooms.catalogue.find_all([check_id(each, "artifact_id") for each in artifact_ids])
        path = self._rooms.blobs.path
        return {each.ref.artifact_id: (each.ref, None if each.blob.is_inline else path(each.blob)) for each in found}

    async def usage(self, *, owner: str | None = None, page_size: int = 100, page_token: str = "") -> StoreUsage:
        """How much is taken, with one page of owners, or with the one that is named."""
        return await self._desk.usage(owner, page_limit(page_size), page_token)

    async def sweep(self) -> None:
        """Removes what has expired and unlinks what nobody points to, now; it happens by itself, too."""
        await self._rooms.janitor.sweep()

    async def settled(self) -> None:
        """Waits until what a dead process left behind is dealt with."""
        await self._rooms.janitor.settled()

    async def _create(self, write: ArtifactWrite, source: Source) -> ArtifactWriteResult:
        """Stores the bytes of a source, those that are not here yet; only who named the upload leaves a partial."""
        start, writer_epoch = NOTHING, 0
        if write.upload_id:
            start, writer_epoch = await self._agree(check_id(write.upload_id, "upload_id"), source)
        upload = await self.open_upload(write, writer_epoch=writer_epoch, prefix=start)
        try:
            offset = start.size_bytes
            if not upload.is_complete:
                async for piece in source.pieces(offset):
                    await upload.write(offset, piece)
                    offset += len(piece)
            return await upload.finish()
        finally:
            await (upload.leave() if write.upload_id else upload.drop())

    async def _agree(self, upload_id: str, source: Source) -> tuple[Digest, int]:
        """What is here of an upload, if it begins the source, and the number that its next writer takes."""
        try:
            info = await self._desk.describe(upload_id)
        except NotFoundError:
            return NOTHING, 0
        if info.state is not UploadState.OPEN or info.prefix is None:
            return NOTHING, 0
        hasher = await source.prefix(info.committed_size)
        if hasher is None or hasher.digest() != info.prefix:
            raise refusals.prefix_mismatch(upload_id, info.prefix, (hasher or Hasher()).digest())
        return info.prefix, info.writer_epoch + 1

    async def _read_small(self, artifact_id: str) -> SmallArtifact:
        require_small((await self._find(artifact_id)).ref)
        async with self.open_reader(artifact_id) as reader:
            return SmallArtifact(reader.ref, b"".join([piece async for piece in reader]))

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
                status = await self._rooms.stored.open(file, found.blob)
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
            _log.exception("%s is corrupt, which cannot be noted", self._rooms.stored.where(blob))

    async def _remove(self, remove: Callable[[], Awaitable[Removal]]) -> int:
        """Removes artifacts and frees their room; what cannot be unlinked now is left to the janitor."""
        removal = await remove()
        if removal.blobs:
            passed(Step.DELETE_AFTER)
        await self._rooms.janitor.reap_or_wake(removal.blobs)
        return removal.count


def _fixed(root: Path) -> Path:
    """The folder, wherever the process goes."""
    return root.expanduser().absolute()
