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
    "folder_locked",
    "full_disk_in",
    "full_disk_told",
    "malformed",
    "offset_mismatch",
    "quota_exceeded",
    "range_not_satisfiable",
    "shutting_down",
    "size_mismatch",
    "source_not_a_file",
    "too_many_reads",
    "too_many_uploads",
    "upload_dropped",
    "upload_in_progress",
    "upload_reused",
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


def upload_in_progress(kind: str, name: str) -> PagletError:
    """Another stream writes this upload, or this artifact, at the moment."""
    return ConflictError(
        "UPLOAD_IN_PROGRESS",
        f"{kind} {name} is being written by another stream",
        resource=Resource(kind, name),
        retry_after_s=BUSY_RETRY_S,
    )


def upload_dropped(upload_id: str) -> PagletError:
    """The upload was given up; what was sent is gone."""
    return ConflictError(
        "UPLOAD_UNFINISHED",
        f"upload {upload_id} was dropped before it was finished; send it again",
        resource=Resource("upload", upload_id),
    )


def upload_reused(upload_id: str) -> PagletError:
    """The upload id made another artifact before."""
    return PreconditionError(
        "REQUEST_ID_REUSED",
        f"upload {upload_id} was finished before with another artifact",
        resource=Resource("upload", upload_id),
        metadata={"request_id": upload_id},
    )


def too_many_uploads(limit: int) -> PagletError:
    """As many uploads are open as the store allows."""
    return ExhaustedError(
        "TOO_MANY_UPLOADS",
        f"{limit} uploads are open, which is as many as there may be",
        metadata={"limit": str(limit)},
        retry_after_s=BUSY_RETRY_S,
    )


def too_many_reads(limit: int) -> PagletError:
    """As many reads are open as the host allows."""
    return ExhaustedError(
        "TOO_MANY_READS",
        f"{limit} reads are open, which is as many as there may be",
        metadata={"limit": str(limit)},
        retry_after_s=BUSY_RETRY_S,
    )


def quota_exceeded(*, limit: int, used: int, reserved: int, requested: int) -> PagletError:
    """There is no room within the quota."""
    return ExhaustedError(
        "QUOTA_EXCEEDED",
        f"{requested} more bytes do not fit the quota of {limit}: {used} are used and {reserved} reserved",
        metadata={
            "limit_bytes": str(limit),
            "used_bytes": str(used),
            "reserved_bytes": str(reserved),
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
    """The store is closed or closing; nothing was done, and an upload that was open is dropped."""
    return UnavailableError("SHUTTING_DOWN", "the artifact store is closing")
