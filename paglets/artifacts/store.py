"""The contract of an artifact store: what the rest of the house relies on.

The life of an artifact: it is written to the end, proven against its digest, made durable, and only then visible. From
then on it is immutable until it is deleted, expires, or goes with its owner. A reader that has begun outlives them all.
An upload that is cut leaves a partial, which whoever knows its id goes on with. No store lives in this file.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol, Self

from paglets.artifacts.terms import (
    ALL_ARTIFACTS,
    MAX_BATCH_ITEMS,
    SMALL_BYTES,
    SMALL_FILE_BYTES,
    ArtifactChanges,
    ArtifactEvent,
    ArtifactEventKind,
    ArtifactNotice,
    ArtifactOrder,
    ArtifactPage,
    ArtifactQuery,
    ArtifactWrite,
    ArtifactWriteResult,
    ByteRange,
    PullProgress,
    PullRequest,
    SmallArtifact,
    SmallWrite,
    StoreUsage,
    UploadInfo,
    UploadPage,
    UploadState,
    Usage,
    WriteOutcome,
)
from paglets.digest import Digest
from paglets.errors import PagletError
from paglets.values import ArtifactRef

__all__ = [
    "ALL_ARTIFACTS",
    "MAX_BATCH_ITEMS",
    "SMALL_BYTES",
    "SMALL_FILE_BYTES",
    "ArtifactChanges",
    "ArtifactEvent",
    "ArtifactEventKind",
    "ArtifactNotice",
    "ArtifactOrder",
    "ArtifactPage",
    "ArtifactQuery",
    "ArtifactReader",
    "ArtifactStore",
    "ArtifactWrite",
    "ArtifactWriteResult",
    "ByteRange",
    "PullProgress",
    "PullRequest",
    "Readable",
    "ServedStore",
    "SmallArtifact",
    "SmallWrite",
    "StoreUsage",
    "Upload",
    "UploadInfo",
    "UploadPage",
    "UploadState",
    "Usage",
    "WriteOutcome",
]


class ArtifactReader(Protocol):
    """An artifact, or a range of it, that is open for reading: the reference, then the bytes in order, in pieces."""

    @property
    def ref(self) -> ArtifactRef:
        """The artifact as it was when the read began."""
        ...

    @property
    def byte_range(self) -> ByteRange:
        """Which of its bytes come."""
        ...

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The bytes in order, in pieces of at most 2 MiB; once. Reaching the end of the whole proves size and digest.

        Raises STORED_BLOB_CORRUPT (DATA_LOSS) instead of ending when they are wrong: trust no byte before the end. A
        range has no digest of its own: its end proves that all of it came, no more.
        """
        ...


class ArtifactStore(Protocol):
    """Keeps artifacts. Every implementation passes the same contract suite.

    Errors are `PagletError`s; an `OSError` of a source path or stream passes through unchanged. All methods may be
    cancelled. A write that is cancelled, or fails, leaves nothing behind, but with an `upload_id` a partial: the same
    write goes on from there.
    """

    async def create_from_chunks(self, write: ArtifactWrite, chunks: AsyncIterable[bytes]) -> ArtifactWriteResult:
        """Stores the bytes of an async iterator. Safe to repeat with the same `upload_id` and bytes, all of them.

        Where a partial is there, its bytes must be the first of these; a writer who is still at it is fenced.

        Raises QUOTA_EXCEEDED, DISK_FULL, ARTIFACT_TOO_LARGE, SIZE_MISMATCH, DIGEST_MISMATCH, ARTIFACT_EXISTS,
        UPLOAD_IN_PROGRESS, TOO_MANY_UPLOADS, REQUEST_ID_REUSED (an upload id that made another artifact), INVALID_ID,
        ARTIFACT_NOT_FOUND (what the upload id made is gone since), PREFIX_MISMATCH (the partial has other bytes),
        WRITER_FENCED (another writer took over), UPLOAD_CANCELLED.
        """
        ...

    async def create_from_stream(self, write: ArtifactWrite, source: Readable) -> ArtifactWriteResult:
        """Stores what `source.read(n)` gives until it gives nothing; `read` is called in a thread. Errors as above."""
        ...

    async def create_from_path(self, write: ArtifactWrite, source: str | Path) -> ArtifactWriteResult:
        """Stores a regular file, named after it unless `write.name` is set. Errors as above, SOURCE_NOT_A_FILE."""
        ...

    async def create_batch(self, items: Sequence[SmallWrite]) -> Sequence[ArtifactWriteResult | PagletError]:
        """Stores any number of small artifacts, up to `MAX_BATCH_ITEMS` by one wait for the disk, files by a few.

        Each has its result, in their order: it is durable, or an error says why it is not there; none keeps another
        from being stored. Errors as above, but for those of partials: an upload id is finished at once, or was by an
        earlier write, which is told again. Safe to repeat where each has an upload id; else what was stored by a call
        that failed is not known. Raises DISK_FULL, SHUTTING_DOWN for all that were not stored yet.
        """
        ...

    async def read_batch(self, artifact_ids: Sequence[str]) -> Sequence[SmallArtifact | PagletError]:
        """Reads any number of small artifacts, each proven, or an error in its place. Safe to repeat.

        Errors are INVALID_ID, ARTIFACT_NOT_FOUND, STORED_BLOB_CORRUPT, and ARTIFACT_TOO_LARGE: use `open_reader`.
        """
        ...

    async def upload(self, upload_id: str) -> UploadInfo:
        """Describes one upload, also for a day after it was finished; reads its partial if that was not done yet.

        Raises UPLOAD_NOT_FOUND.
        """
        ...

    async def uploads(self, *, page_size: int = 100, page_token: str = "") -> UploadPage:
        """One page of unfinished uploads in the order of their ids. Page size 0 is 100, at most 1000."""
        ...

    async def cancel_upload(self, upload_id: str) -> bool:
        """Drops an unfinished upload and what it has reserved; says whether there was one. Safe to repeat.

        Whoever writes it gets UPLOAD_CANCELLED. Raises UPLOAD_IN_PROGRESS for one that is being made visible.
        """
        ...

    async def usage(self, *, owner: str | None = None, page_size: int = 100, page_token: str = "") -> StoreUsage:
        """How much is taken, with one page of owners, or with the one that is named. Page sizes as for lists."""
        ...

    async def ref(self, artifact_id: str) -> ArtifactRef:
        """Describes one artifact. Raises ARTIFACT_NOT_FOUND, also for one that has expired."""
        ...

    async def list(
        self, query: ArtifactQuery = ALL_ARTIFACTS, *, page_size: int = 100, page_token: str = ""
    ) -> ArtifactPage:
        """One page; size 0 is 100, at most 1000. Every page of a list is asked for with the same query.

        An artifact that neither changes nor goes while somebody pages comes exactly once.

        Raises MALFORMED_REQUEST, also for the token of another list.
        """
        ...

    def watch(self, *, cursor: str = "", owner: str | None = None) -> AsyncGenerator[ArtifactNotice, None]:
        """Every change after `cursor`, once and in order, when it is durable; without a cursor, from now on.

        The first notice has no event, but the cursor at which the watch begins; there are others like it now and then
        while only artifacts that are not `owner`'s change (`""` is nobody's). An artifact that changes hands is told of
        to the one who has it then. A watch never ends by itself, and a slow one costs no memory. Cursors outlive
        restarts. Raises CURSOR_EXPIRED when events that it needs are no longer kept: list, and watch from the list's
        cursor. Raises MALFORMED_REQUEST.
        """
        ...

    def open_reader(
        self, artifact_id: str, *, offset: int = 0, length: int | None = None
    ) -> AbstractAsyncContextManager[ArtifactReader]:
        """Opens an artifact for reading, from `offset` on and `length` bytes of it, which is at least 1, or to its end.

        Raises on entry: ARTIFACT_NOT_FOUND, MALFORMED_REQUEST, RANGE_NOT_SATISFIABLE if the range goes past the end,
        and STORED_BLOB_CORRUPT if the bytes are known to be wrong.
        """
        ...

    async def export_to_path(
        self, artifact_id: str, target: str | Path, *, overwrite: bool = True, expected_digest: Digest | None = None
    ) -> ArtifactRef:
        """Writes a verified, private copy under its final name in one step, durable; parents are made.

        Raises DESTINATION_EXISTS unless `overwrite`, SIZE_MISMATCH or DIGEST_MISMATCH when the artifact is not what is
        expected, e.g. another one under the same id; a target that exists is untouched by any failure.
        """
        ...

    async def update(self, artifact_id: str, changes: ArtifactChanges, *, etag: str = "") -> ArtifactRef:
        """Changes what is known of an artifact, durably, and returns it as it is now, with a new etag.

        With an `etag` only if that is the artifact's still: then it is safe to repeat, and a repetition after a lost
        answer is ETAG_MISMATCH. Without one the last update wins, and a repetition sets the same once more.

        Raises ARTIFACT_NOT_FOUND, ETAG_MISMATCH, MALFORMED_REQUEST, INVALID_ID, DISK_FULL.
        """
        ...

    async def delete(self, artifact_id: str, *, etag: str = "") -> bool:
        """Deletes one artifact, with an `etag` only that version; says whether it was there. Safe to repeat.

        Raises ETAG_MISMATCH.
        """
        ...

    async def delete_owner(self, owner: str, *, created_until: float | None = None) -> int:
        """Deletes the owner's artifacts whose policy is DELETE_WITH_OWNER; says how many. Safe to repeat.

        `created_until` (seconds since the epoch) spares those committed later: they belong to a later life of the id.
        """
        ...


class Upload(Protocol):
    """An upload that was accepted: its bytes come step by step, then `finish`.

    Leaving the context without `finish` leaves a partial, if any bytes came.
    """

    @property
    def committed_size(self) -> int:
        """How many bytes were here when it was accepted: the writer goes on from there."""
        ...

    @property
    def writer_epoch(self) -> int:
        """The writer's number; whoever comes with a higher one takes over."""
        ...

    @property
    def is_complete(self) -> bool:
        """Whether no byte is wanted: `finish` needs no digest then."""
        ...

    @property
    def lost(self) -> PagletError | None:
        """Why the upload was taken from its writer; each step raises that from then on."""
        ...

    def when_lost(self, wake: Callable[[], None]) -> None:
        """Calls `wake` when that happens, unless the writer cannot be stopped any more."""
        ...

    async def write(self, offset: int, data: bytes | memoryview) -> None:
        """Takes the next bytes; returns when more may come, an error may show at the step after.

        Raises OFFSET_MISMATCH, SIZE_MISMATCH, ARTIFACT_TOO_LARGE, QUOTA_EXCEEDED, DISK_FULL, and what took the upload
        away: WRITER_FENCED, UPLOAD_CANCELLED, SHUTTING_DOWN.
        """
        ...

    async def finish(self, declared: Digest | None = None) -> ArtifactWriteResult:
        """Proves the bytes against what was declared, makes them durable, and only then visible.

        Raises what `write` raises, DIGEST_MISMATCH, ARTIFACT_EXISTS and REQUEST_ID_REUSED.
        """
        ...

    async def pause(self) -> int:
        """Makes the bytes so far durable and lets go of the upload; says how many there are. Raises as `write` does."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *raised: object) -> None: ...


class ServedStore(ArtifactStore, Protocol):
    """A store that a host serves: it also takes uploads step by step, and gives pieces of a size."""

    async def open_upload(self, write: ArtifactWrite, *, writer_epoch: int = 0, prefix: Digest | None = None) -> Upload:
        """Accepts an upload, its declared size reserved, or goes on with one. Raises as `create_from_chunks` does.

        A `writer_epoch` above that of the upload takes it over from whoever writes; the same one, or none (0), goes on
        where nobody does. Lower is WRITER_FENCED. `prefix` is the digest of the bytes that the writer will not send: it
        must be that of all bytes that are here, else PREFIX_MISMATCH or OFFSET_MISMATCH, and nobody was fenced.
        """
        ...

    async def delete_owner(self, owner: str, *, created_until: float | None = None) -> int:
        """As any store; his unfinished uploads that would become such artifacts are cancelled, too, and not counted.

        `created_until` spares those that were begun later. Raises SHUTTING_DOWN, DISK_FULL, `OSError`, `sqlite3.Error`.
        """
        ...

    def end_watches(self) -> None:
        """Ends all watches, and those that are begun later, with SHUTTING_DOWN. Safe to repeat."""
        ...

    def open_reader(
        self, artifact_id: str, *, offset: int = 0, length: int | None = None, piece_bytes: int = ...
    ) -> AbstractAsyncContextManager[ArtifactReader]:
        """Opens an artifact for reading; its pieces have `piece_bytes`, the last one perhaps fewer."""
        ...


class Readable(Protocol):
    """Anything with a blocking `read(n)`."""

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes; none at the end."""
        ...
