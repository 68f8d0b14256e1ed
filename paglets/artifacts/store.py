"""The contract of an artifact store: what the rest of the house relies on.

The life of an artifact: it is written to the end, proven against its digest, made durable, and only then visible. From
then on it is immutable until it is deleted, expires, or goes with its owner. A reader that has begun outlives them all.
An upload that is cut leaves a partial, which whoever knows its id goes on with. No store lives in this file.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Final, Protocol, Self

from paglets.digest import Digest
from paglets.errors import PagletError
from paglets.values import ArtifactRef, OwnerPolicy

__all__ = [
    "ALL_ARTIFACTS",
    "MAX_BATCH_ITEMS",
    "SMALL_BYTES",
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


class WriteOutcome(StrEnum):
    """How an upload ended well."""

    COMMITTED = "committed"
    DEDUPLICATED = "deduplicated"
    ALREADY_COMMITTED = "already-committed"


class UploadState(StrEnum):
    """How far an upload has come: it takes bytes, is being made visible, or has become an artifact."""

    OPEN = "open"
    COMMITTING = "committing"
    COMMITTED = "committed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactWrite:
    """What is to be written. Every field may be left out.

    `upload_id` makes the write safe to repeat, and to go on with after it was cut; `artifact_id` is the id the artifact
    shall have; a known `size_bytes` is reserved before the first byte; an `expected_digest` is held against the bytes,
    and spares them if the store has them where the owner may read them; `ttl_s` is the life in seconds. `as_file` wants
    the bytes to have a file at the store, however few they are.
    """

    upload_id: str = ""
    artifact_id: str = ""
    name: str = ""
    owner: str = ""
    owner_policy: OwnerPolicy = OwnerPolicy.KEEP
    content_type: str = ""
    content_encoding: str = ""
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    ttl_s: float | None = None
    size_bytes: int | None = None
    expected_digest: Digest | None = None
    as_file: bool = False


SMALL_BYTES: Final = 16 * 1024
"""How many bytes an artifact may have that is written, or read, as one of many."""

MAX_BATCH_ITEMS: Final = 1000
"""How many artifacts share one transaction, and one message."""


@dataclass(frozen=True, slots=True)
class SmallWrite:
    """What is to be written with its bytes, of which there are at most `SMALL_BYTES`."""

    write: ArtifactWrite
    data: bytes


@dataclass(frozen=True, slots=True)
class SmallArtifact:
    """An artifact with its proven bytes."""

    ref: ArtifactRef
    data: bytes


@dataclass(frozen=True, slots=True)
class ArtifactWriteResult:
    """A durable artifact, and how it came to be."""

    ref: ArtifactRef
    outcome: WriteOutcome


@dataclass(frozen=True, slots=True, kw_only=True)
class PullRequest:
    """What a host is to fetch from another one, and what to make of it; None, or empty, is as it is at the source.

    `pull_id` makes it safe to repeat. The source is the host of the mesh named `source_host`, or one outside of it at
    `source_address`; it has the artifact as `source_artifact_id`, for which `read_ticket` gives leave.
    """

    pull_id: str
    source_artifact_id: str
    source_host: str = ""
    source_address: str = ""
    read_ticket: bytes = field(default=b"", compare=False, repr=False)
    artifact_id: str = ""
    name: str | None = None
    owner: str | None = None
    owner_policy: OwnerPolicy | None = None
    content_type: str | None = None
    content_encoding: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    ttl_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PullProgress:
    """How far a pull is: bytes that are here, of how many if that is known, and why it does not get on, if so.

    `result` is what has come of it, at the end.
    """

    bytes_done: int = 0
    bytes_total: int | None = None
    problem: str = ""
    result: ArtifactWriteResult | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactChanges:
    """What is to be known of an artifact from now on; None leaves a field as it is.

    `labels` replace all that were there. `expires_at` is seconds since the epoch and lies in the future, or `math.inf`
    for an artifact that stays until it is deleted.
    """

    name: str | None = None
    owner: str | None = None
    owner_policy: OwnerPolicy | None = None
    content_type: str | None = None
    content_encoding: str | None = None
    labels: Mapping[str, str] | None = None
    expires_at: float | None = None

    def given(self) -> dict[str, object]:
        """The fields that are to change, by name."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in found.items() if value is not None}

    def applied(self, ref: ArtifactRef) -> ArtifactRef:
        """The artifact with these changes."""
        changed = replace(ref, **self.given())
        return replace(changed, expires_at=None) if changed.expires_at == math.inf else changed


class ArtifactOrder(StrEnum):
    """By what artifacts are listed; those that are equal in it are in the order of their ids."""

    ID = "id"
    CREATE_TIME = "created"
    SIZE = "size"
    NAME = "name"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactQuery:
    """Which artifacts are listed, and in which order: those that meet all that is given.

    `owner=""` means those without one. An artifact has all of `labels`, of which an empty value asks for the key alone,
    whatever its value is. `descending` turns the order round, that of equal ones by their ids too.
    """

    owner: str | None = None
    name_prefix: str = ""
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    order_by: ArtifactOrder = ArtifactOrder.ID
    descending: bool = False


ALL_ARTIFACTS = ArtifactQuery()


@dataclass(frozen=True, slots=True)
class ArtifactPage:
    """Some artifacts in the order that was asked for; `next_token` asks for more and is empty at the end.

    Who watches from `cursor` misses no change since the first page of the list was asked for.
    """

    refs: tuple[ArtifactRef, ...]
    next_token: str
    cursor: str


class ArtifactEventKind(StrEnum):
    """What became of an artifact. One that expired ceased to be found at its time, and was swept then or later."""

    CREATED = "created"
    UPDATED = "updated"
    DELETED = "deleted"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class ArtifactEvent:
    """One change: the artifact as it then was, or was at last, and when that was, in seconds since the epoch."""

    kind: ArtifactEventKind
    ref: ArtifactRef
    happened_at: float


@dataclass(frozen=True, slots=True)
class ArtifactNotice:
    """What a watch tells: an event, or None, and the cursor from which to go on after it."""

    cursor: str
    event: ArtifactEvent | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadInfo:
    """An upload as its store knows it. Times are seconds since the epoch.

    `committed_size` bytes are kept, whatever happens to the process that keeps them; `prefix` is their digest, unless
    this is one of a list. `writer_epoch` is the last writer's number, `writing` whether he is at it now. A partial that
    nobody touches goes at `expires_at`. `ref` is what the upload has become.
    """

    upload_id: str
    artifact_id: str
    state: UploadState
    committed_size: int
    writer_epoch: int
    created_at: float
    prefix: Digest | None = None
    writing: bool = False
    name: str = ""
    owner: str = ""
    expected_size: int | None = None
    expected_digest: Digest | None = None
    reserved_bytes: int = 0
    expires_at: float | None = None
    ref: ArtifactRef | None = None


@dataclass(frozen=True, slots=True)
class UploadPage:
    """Some unfinished uploads in the order of their ids; `next_token` asks for more and is empty at the end."""

    uploads: tuple[UploadInfo, ...]
    next_token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """How much is taken, in bytes, by the host as a whole or by one `owner`; `limit` is None where there is none."""

    owner: str = ""
    limit: int | None
    used: int
    reserved: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreUsage:
    """How much of a store is taken, in bytes.

    `host` counts what is on disk, shared bytes once; `owners` some owners in their order, each with all his artifacts;
    `next_token` asks for more of them and is empty at the end. `disk_free` is what the disk has left for this user,
    `disk_floor` what uploads leave of it.
    """

    host: Usage
    owners: tuple[Usage, ...]
    disk_free: int
    disk_floor: int
    next_token: str = ""


@dataclass(frozen=True, slots=True)
class ByteRange:
    """`length` bytes of an artifact from `offset` on."""

    offset: int
    length: int

    @property
    def end(self) -> int:
        """Where the first byte after it would be."""
        return self.offset + self.length


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

    async def create_from_path(self, write: ArtifactWrite, source: Path) -> ArtifactWriteResult:
        """Stores a regular file, named after it unless `write.name` is set. Errors as above, SOURCE_NOT_A_FILE."""
        ...

    async def create_batch(self, items: Sequence[SmallWrite]) -> Sequence[ArtifactWriteResult | PagletError]:
        """Stores any number of small artifacts, up to `MAX_BATCH_ITEMS` by one wait for the disk.

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

    async def export_to_path(self, artifact_id: str, target: Path, *, overwrite: bool = True) -> ArtifactRef:
        """Writes a verified, private copy under its final name in one step, durable; parents are made.

        Raises DESTINATION_EXISTS unless `overwrite`; a target that exists is untouched by any failure.
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
