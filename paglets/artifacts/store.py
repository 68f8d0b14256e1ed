"""The contract of an artifact store: what the rest of the house relies on.

The life of an artifact: it is written to the end, proven against its digest, made durable, and only then visible. From
then on it is immutable until it is deleted, expires, or goes with its owner. A reader that has begun outlives them all.
No store lives in this file.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol, Self

from paglets.digest import Digest
from paglets.values import ArtifactRef, OwnerPolicy

__all__ = [
    "ArtifactPage",
    "ArtifactReader",
    "ArtifactStore",
    "ArtifactWrite",
    "ArtifactWriteResult",
    "ByteRange",
    "Readable",
    "ServedStore",
    "Upload",
    "WriteOutcome",
]


class WriteOutcome(StrEnum):
    """How an upload ended well."""

    COMMITTED = "committed"
    DEDUPLICATED = "deduplicated"
    ALREADY_COMMITTED = "already-committed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactWrite:
    """What is to be written. Every field may be left out.

    `upload_id` makes the write safe to repeat; `artifact_id` is the id the artifact shall have; a known `size_bytes` is
    reserved before the first byte; an `expected_digest` is held against the bytes; `ttl_s` is the life in seconds.
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


@dataclass(frozen=True, slots=True)
class ArtifactWriteResult:
    """A durable artifact, and how it came to be."""

    ref: ArtifactRef
    outcome: WriteOutcome


@dataclass(frozen=True, slots=True)
class ArtifactPage:
    """Some artifacts in the order of their ids; `next_token` asks for more and is empty at the end."""

    refs: tuple[ArtifactRef, ...]
    next_token: str


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
    cancelled; a cancelled write leaves nothing behind.
    """

    async def create_from_chunks(self, write: ArtifactWrite, chunks: AsyncIterable[bytes]) -> ArtifactWriteResult:
        """Stores the bytes of an async iterator. Safe to repeat with the same `upload_id` and bytes.

        Raises QUOTA_EXCEEDED, DISK_FULL, ARTIFACT_TOO_LARGE, SIZE_MISMATCH, DIGEST_MISMATCH, ARTIFACT_EXISTS,
        UPLOAD_IN_PROGRESS, TOO_MANY_UPLOADS, REQUEST_ID_REUSED (an upload id that made another artifact), INVALID_ID,
        ARTIFACT_NOT_FOUND (what the upload id made is gone since).
        """
        ...

    async def create_from_stream(self, write: ArtifactWrite, source: Readable) -> ArtifactWriteResult:
        """Stores what `source.read(n)` gives until it gives nothing; `read` is called in a thread. Errors as above."""
        ...

    async def create_from_path(self, write: ArtifactWrite, source: Path) -> ArtifactWriteResult:
        """Stores a regular file, named after it unless `write.name` is set. Errors as above, SOURCE_NOT_A_FILE."""
        ...

    async def ref(self, artifact_id: str) -> ArtifactRef:
        """Describes one artifact. Raises ARTIFACT_NOT_FOUND, also for one that has expired."""
        ...

    async def list(self, *, owner: str | None = None, page_size: int = 100, page_token: str = "") -> ArtifactPage:
        """One page in the order of ids; `owner=""` means those without one. Page size 0 is 100, at most 1000."""
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

    async def delete(self, artifact_id: str) -> bool:
        """Deletes one artifact; says whether it was there. Safe to repeat."""
        ...

    async def delete_owner(self, owner: str, *, created_until: float | None = None) -> int:
        """Deletes the owner's artifacts whose policy is DELETE_WITH_OWNER; says how many. Safe to repeat.

        `created_until` (seconds since the epoch) spares those committed later: they belong to a later life of the id.
        """
        ...


class Upload(Protocol):
    """An upload that was accepted: its bytes come step by step, then `finish`.

    Leaving the context without `finish` drops it.
    """

    @property
    def committed_size(self) -> int:
        """How many bytes are here already; the writer may go on from there, or begin again at 0."""
        ...

    async def write(self, offset: int, data: bytes) -> None:
        """Takes the next bytes; returns when more may come, an error may show at the step after.

        Raises OFFSET_MISMATCH, SIZE_MISMATCH, ARTIFACT_TOO_LARGE, QUOTA_EXCEEDED, DISK_FULL.
        """
        ...

    async def finish(self, declared: Digest | None = None) -> ArtifactWriteResult:
        """Proves the bytes against what was declared, makes them durable, and only then visible.

        Raises what `write` raises, DIGEST_MISMATCH and REQUEST_ID_REUSED.
        """
        ...

    async def drop(self) -> None:
        """Gives the upload up and leaves nothing behind; after `finish` it does nothing. Safe to repeat."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *raised: object) -> None: ...


class ServedStore(ArtifactStore, Protocol):
    """A store that a host serves: it also takes uploads step by step, and gives pieces of a size."""

    async def open_upload(self, write: ArtifactWrite) -> Upload:
        """Accepts an upload, its declared size reserved. Raises what `create_from_chunks` can before the first byte."""
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
