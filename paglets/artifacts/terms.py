"""The values of a store's contract: what is asked of a store, and what it tells. They do nothing.

`store` hands them on with the contract, and is where the rest of the house takes them from.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Final

from paglets.digest import Digest
from paglets.values import ArtifactRef, OwnerPolicy

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
    "ArtifactWrite",
    "ArtifactWriteResult",
    "ByteRange",
    "PullProgress",
    "PullRequest",
    "SmallArtifact",
    "SmallWrite",
    "StoreUsage",
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

SMALL_FILE_BYTES: Final = 1024 * 1024
"""How many one may have that is written as one of many, and as a file."""

MAX_BATCH_ITEMS: Final = 1000
"""How many artifacts share one transaction, and one message."""


@dataclass(frozen=True, slots=True)
class SmallWrite:
    """What is to be written with its bytes: at most `SMALL_BYTES`, or `SMALL_FILE_BYTES` if they want a file."""

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

    `pull_id` makes it safe to repeat, and is the id of the upload by which it comes: to cancel that ends the pull. The
    source is the host of the mesh named `source_host`, or one outside of it at `source_address`; it has the artifact as
    `source_artifact_id`, for which `read_ticket` gives leave.
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
