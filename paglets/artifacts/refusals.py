"""What a store refuses, and in which words.

One function for each reason, so that code, reason and details stay together. This file must never decide whether
something is refused.
"""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from paglets.artifacts.store import Usage
from paglets.digest import Digest
from paglets.errors import (
    AlreadyExistsError,
    ConflictError,
    DataLossError,
    ExhaustedError,
    InvalidArgumentError,
    NotFoundError,
    OutOfRangeError,
    PagletError,
    PreconditionError,
    Resource,
    UnavailableError,
)

__all__ = [
    "artifact_deleted",
    "artifact_exists",
    "artifact_not_found",
    "artifact_too_large",
    "blob_corrupt",
    "destination_exists",
    "digest_mismatch",
    "disk_full",
    "etag_mismatch",
    "folder_locked",
    "full_disk_in",
    "full_disk_told",
    "malformed",
    "offset_mismatch",
    "prefix_mismatch",
    "quota_exceeded",
    "range_not_satisfiable",
    "shutting_down",
    "size_mismatch",
    "source_not_a_file",
    "too_many_reads",
    "too_many_uploads",
    "upload_cancelled",
    "upload_in_progress",
    "upload_not_found",
    "upload_reused",
    "writer_fenced",
]

DISK_FULL_RETRY_S = 30.0
BUSY_RETRY_S = 1.0
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


def malformed(message: str, field: str) -> PagletError:
    """A field is missing, malformed or out of bounds."""
    return InvalidArgumentError("MALFORMED_REQUEST", message, field=field)


def artifact_not_found(artifact_id: str, host: str) -> PagletError:
    """No such artifact here, or it has expired."""
    return NotFoundError(
        "ARTIFACT_NOT_FOUND", f"host {host} has no artifact {artifact_id}", resource=Resource("artifact", artifact_id)
    )


def artifact_deleted(artifact_id: str, upload_id: str) -> PagletError:
    """The upload was finished, and what it made was deleted or has expired since."""
    return NotFoundError(
        "ARTIFACT_NOT_FOUND",
        f"upload {upload_id} made artifact {artifact_id}, which was deleted or has expired since;"
        " another upload id makes another",
        resource=Resource("artifact", artifact_id),
    )


def artifact_exists(artifact_id: str, digest: str) -> PagletError:
    """The wanted id belongs to an artifact already."""
    return AlreadyExistsError(
        "ARTIFACT_EXISTS",
        f"artifact {artifact_id} exists already",
        resource=Resource("artifact", artifact_id),
        metadata={"digest": digest},
    )


def etag_mismatch(artifact_id: str, expected: str, actual: str) -> PagletError:
    """The artifact was changed since, or made anew under its id."""
    return ConflictError(
        "ETAG_MISMATCH",
        f"artifact {artifact_id} has the etag {actual}, not {expected}: it was changed; look at it again",
        resource=Resource("artifact", artifact_id),
        metadata={"expected": expected, "actual": actual},
    )


def upload_in_progress(kind: str, name: str) -> PagletError:
    """Another stream writes this upload, or this artifact, at the moment."""
    return ConflictError(
        "UPLOAD_IN_PROGRESS",
        f"{kind} {name} is being written by another stream",
        resource=Resource(kind, name),
        retry_after_s=BUSY_RETRY_S,
    )


def upload_cancelled(upload_id: str) -> PagletError:
    """The upload was given up; what was sent is gone."""
    return ConflictError(
        "UPLOAD_CANCELLED",
        f"upload {upload_id} was cancelled; what was sent is gone",
        resource=Resource("upload", upload_id),
    )


def upload_not_found(upload_id: str, host: str) -> PagletError:
    """No such upload here, or it is over."""
    return NotFoundError(
        "UPLOAD_NOT_FOUND", f"host {host} has no upload {upload_id}", resource=Resource("upload", upload_id)
    )


def writer_fenced(upload_id: str, current_epoch: int) -> PagletError:
    """Another writer has taken the upload over."""
    return ConflictError(
        "WRITER_FENCED",
        f"another writer has taken upload {upload_id} over by epoch {current_epoch}",
        resource=Resource("upload", upload_id),
        metadata={"current_epoch": str(current_epoch)},
    )


def prefix_mismatch(upload_id: str, expected: Digest, actual: Digest) -> PagletError:
    """What is here of an upload is not the beginning of what is being sent."""
    return PreconditionError(
        "PREFIX_MISMATCH",
        f"the {expected.size_bytes} bytes that are here of upload {upload_id} are not the first of these: the source is"
        " another, or was changed; cancel the upload, or take another id",
        resource=Resource("upload", upload_id),
        metadata={
            "expected": str(expected),
            "actual": str(actual),
            "committed_size": str(expected.size_bytes),
        },
    )


def upload_reused(upload_id: str) -> PagletError:
    """The upload id is another artifact's, which was made or begun before."""
    return PreconditionError(
        "REQUEST_ID_REUSED",
        f"upload {upload_id} is of another artifact; take a new id for a new upload",
        resource=Resource("upload", upload_id),
        metadata={"request_id": upload_id},
    )


def too_many_uploads(limit: int, what: str) -> PagletError:
    """As many uploads are open, or unfinished, as the store allows."""
    return ExhaustedError(
        "TOO_MANY_UPLOADS",
        f"{limit} uploads are {what}, which is as many as there may be",
        metadata={"limit": str(limit)},
        retry_after_s=BUSY_RETRY_S,
    )


def too_many_reads(limit: int, what: str = "reads") -> PagletError:
    """As many reads, or watches, are open as the host allows."""
    return ExhaustedError(
        "TOO_MANY_READS",
        f"{limit} {what} are open, which is as many as there may be",
        metadata={"limit": str(limit)},
        retry_after_s=BUSY_RETRY_S,
    )


def quota_exceeded(usage: Usage, subject: str, requested: int) -> PagletError:
    """There is no room within the quota of `subject`: the host, or `owner:` and an owner."""
    return ExhaustedError(
        "QUOTA_EXCEEDED",
        f"{requested} more bytes do not fit the quota of {subject}, which is {usage.limit}: {usage.used} are used and"
        f" {usage.reserved} reserved",
        metadata={
            "subject": subject,
            "limit_bytes": str(usage.limit),
            "used_bytes": str(usage.used),
            "reserved_bytes": str(usage.reserved),
            "requested_bytes": str(requested),
        },
    )


def disk_full(message: str) -> PagletError:
    """The disk is full, or would have less free than the floor."""
    return ExhaustedError("DISK_FULL", message, retry_after_s=DISK_FULL_RETRY_S)


def full_disk_in(error: OSError | sqlite3.Error) -> PagletError | None:
    """DISK_FULL if that is what a system error says, else None."""
    if isinstance(error, OSError):
        full = error.errno in _NO_ROOM
    else:
        full = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL
    return disk_full("the disk is full") if full else None


@contextmanager
def full_disk_told() -> Generator[None, None, None]:
    """Turns an `OSError` that means a full disk into DISK_FULL; others pass."""
    try:
        yield
    except OSError as error:
        full = full_disk_in(error)
        if full is None:
            raise
        raise full from error


def artifact_too_large(limit: int, requested: int, field: str) -> PagletError:
    """The artifact is larger than any may be; `field` is the one that showed it."""
    return InvalidArgumentError(
        "ARTIFACT_TOO_LARGE",
        f"an artifact may have {limit} bytes, this one has at least {requested}",
        metadata={"limit_bytes": str(limit), "requested_bytes": str(requested)},
        field=field,
    )


def too_large_for_batch(limit: int, size: int) -> PagletError:
    """An artifact of this size goes alone."""
    return InvalidArgumentError(
        "ARTIFACT_TOO_LARGE",
        f"an artifact of a batch may have {limit} bytes, this one has {size}: use WriteArtifact and ReadArtifact",
        metadata={"limit_bytes": str(limit), "requested_bytes": str(size)},
        field="data",
    )


def size_mismatch(expected: int, actual: int) -> PagletError:
    """The bytes are not as many as was said."""
    return InvalidArgumentError(
        "SIZE_MISMATCH",
        f"{expected} bytes were declared, {actual} came",
        metadata={"expected": str(expected), "actual": str(actual)},
    )


def digest_mismatch(expected: Digest, actual: Digest) -> PagletError:
    """The bytes do not have the digest that was said."""
    return InvalidArgumentError(
        "DIGEST_MISMATCH",
        f"the bytes were declared to be {expected}, they are {actual}",
        metadata={"expected": str(expected), "actual": str(actual)},
    )


def offset_mismatch(expected: int, provided: int) -> PagletError:
    """The chunk is not the next one."""
    return OutOfRangeError(
        "OFFSET_MISMATCH",
        f"the next chunk begins at {expected}, this one at {provided}",
        metadata={"expected_offset": str(expected), "provided_offset": str(provided)},
    )


def range_not_satisfiable(size_bytes: int, offset: int, end: int) -> PagletError:
    """Bytes are asked for that the artifact does not have."""
    return OutOfRangeError(
        "RANGE_NOT_SATISFIABLE",
        f"the bytes from {offset} to {end} were asked for, the artifact has {size_bytes}",
        metadata={"size_bytes": str(size_bytes), "read_offset": str(offset)},
    )


def blob_corrupt(artifact_id: str, message: str) -> PagletError:
    """Stored bytes are not what they were."""
    return DataLossError(
        "STORED_BLOB_CORRUPT",
        f"artifact {artifact_id}: {message}",
        resource=Resource("artifact", artifact_id),
        metadata={"artifact_id": artifact_id},
    )


def source_not_a_file(path: Path) -> PagletError:
    """What was to be stored is missing or no regular file."""
    return InvalidArgumentError(
        "SOURCE_NOT_A_FILE",
        f"{path} is missing or no regular file",
        resource=Resource("file", str(path)),
        metadata={"path": str(path)},
    )


def no_file(artifact_id: str) -> PagletError:
    """An artifact's bytes lie in the catalogue, where a file is wanted."""
    return InvalidArgumentError(
        "SOURCE_NOT_A_FILE",
        f"artifact {artifact_id} is so small that it has no file of its own: it was not written as one",
        resource=Resource("artifact", artifact_id),
        metadata={"path": ""},
    )


def destination_exists(path: Path, *, is_folder: bool = False) -> PagletError:
    """There is something at the target already; a folder is never replaced."""
    what = "is a folder" if is_folder else "exists already"
    return AlreadyExistsError("DESTINATION_EXISTS", f"{path} {what}", resource=Resource("file", str(path)))


def folder_locked(path: Path) -> PagletError:
    """Another process has the store open."""
    return PreconditionError(
        "DATA_FOLDER_LOCKED",
        f"another process holds {path}: stop it, or take another folder",
        resource=Resource("folder", str(path)),
    )


def shutting_down() -> PagletError:
    """The store is closed or closing; nothing was done, and what an open upload has is kept."""
    return UnavailableError("SHUTTING_DOWN", "the artifact store is closing")
