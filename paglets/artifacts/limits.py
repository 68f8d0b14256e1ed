"""What a caller may ask for, checked once at the store's door.

Nothing behind it meets a hostile id or label. This file must never look at what is stored.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from paglets.artifacts import refusals
from paglets.artifacts.store import ArtifactChanges, ArtifactQuery, ArtifactWrite
from paglets.config import StoreSettings
from paglets.digest import Digest
from paglets.values import check_id, new_id

__all__ = [
    "MAX_LABELS",
    "MAX_LABEL_BYTES",
    "MAX_TEXT_BYTES",
    "MIN_TTL_S",
    "check_epoch",
    "check_proof",
    "check_query",
    "checked_changes",
    "checked_write",
    "page_limit",
]

MAX_TEXT_BYTES = 255
MAX_LABELS = 64
MAX_LABEL_BYTES = 4096
MIN_TTL_S = 0.001
MAX_TTL_S = 1000 * 365.25 * 86400.0
MAX_EPOCH = 2**53  # what no upload comes to by itself, and every language can count to
DEFAULT_PAGE = 100
MAX_PAGE = 1000


def checked_write(write: ArtifactWrite, settings: StoreSettings) -> ArtifactWrite:
    """The same write with its upload id and, if a digest tells it, its size filled in.

    Raises INVALID_ID, MALFORMED_REQUEST or ARTIFACT_TOO_LARGE.
    """
    upload_id = check_id(write.upload_id, "upload_id") if write.upload_id else new_id()
    for value, field in ((write.artifact_id, "artifact_id"), (write.owner, "owner")):
        if value:
            check_id(value, field)
    _check_text(write.name, "name")
    _check_text(write.content_type, "content_type")
    _check_text(write.content_encoding, "content_encoding")
    _check_labels(write.labels)
    if write.ttl_s is not None and not MIN_TTL_S <= write.ttl_s <= MAX_TTL_S:
        raise refusals.malformed(f"a ttl lies between 1 ms and 1000 years, got {write.ttl_s} s", "ttl")
    size = _declared_size(write)
    limit = settings.max_artifact_bytes
    if size is not None and limit is not None and size > limit:
        field = "expected_size" if write.expected_digest is None else "expected_digest"
        raise refusals.artifact_too_large(limit, size, field)
    return replace(write, upload_id=upload_id, size_bytes=size)


def checked_changes(changes: ArtifactChanges, now: float) -> ArtifactChanges:
    """The same changes, their time in whole microseconds. Raises INVALID_ID or MALFORMED_REQUEST."""
    if not changes.given():
        raise refusals.malformed("an update changes something: set a field, or name one to clear", "update_mask")
    if changes.owner:
        check_id(changes.owner, "owner")
    for text, field in (
        (changes.name, "name"),
        (changes.content_type, "content_type"),
        (changes.content_encoding, "content_encoding"),
    ):
        _check_text(text or "", field)
    _check_labels(changes.labels or {})
    expires_at = changes.expires_at
    if expires_at is None or expires_at == math.inf:
        return changes
    if not now < expires_at <= now + MAX_TTL_S:
        raise refusals.malformed(
            f"an artifact expires in the future, within 1000 years, not {expires_at - now:.0f} s from now",
            "expire_time",
        )
    return replace(changes, expires_at=round(expires_at, 6))


def check_epoch(writer_epoch: int) -> None:
    """Raises MALFORMED_REQUEST for a number that no writer can have."""
    if not 0 <= writer_epoch <= MAX_EPOCH:
        raise refusals.malformed(f"a writer's epoch is 0 to 2^53, got {writer_epoch}", "writer_epoch")


def check_query(query: ArtifactQuery) -> None:
    """Raises MALFORMED_REQUEST for a prefix or labels that no artifact can have."""
    _check_text(query.name_prefix, "name_prefix")
    _check_labels(query.labels)


def page_limit(page_size: int) -> int:
    """How many artifacts a page may have. Raises MALFORMED_REQUEST for a negative size."""
    if page_size < 0:
        raise refusals.malformed(f"a page size cannot be negative, got {page_size}", "page_size")
    return min(page_size or DEFAULT_PAGE, MAX_PAGE)


def check_proof(actual: Digest, declared: Digest | None) -> None:
    """Holds the bytes against what was said of them. Raises SIZE_MISMATCH or DIGEST_MISMATCH."""
    if declared is None:
        return
    if declared.size_bytes != actual.size_bytes:
        raise refusals.size_mismatch(declared.size_bytes, actual.size_bytes)
    if declared != actual:
        raise refusals.digest_mismatch(declared, actual)


def _declared_size(write: ArtifactWrite) -> int | None:
    size, digest = write.size_bytes, write.expected_digest
    if size is not None and size < 0:
        raise refusals.malformed(f"a size cannot be negative, got {size}", "expected_size")
    if digest is None:
        return size
    if size is not None and size != digest.size_bytes:
        raise refusals.malformed(
            f"the size is declared as {size}, the digest's as {digest.size_bytes}", "expected_digest"
        )
    return digest.size_bytes


def _check_text(text: str, field: str) -> None:
    if _bytes_of(text, field) > MAX_TEXT_BYTES:
        raise refusals.malformed(f"{field} may have {MAX_TEXT_BYTES} bytes of UTF-8", field)


def _check_labels(labels: Mapping[str, str]) -> None:
    if len(labels) > MAX_LABELS:
        raise refusals.malformed(f"there may be {MAX_LABELS} labels, got {len(labels)}", "labels")
    if "" in labels:
        raise refusals.malformed("a label has a key", "labels")
    total = sum(_bytes_of(key, "labels") + _bytes_of(value, "labels") for key, value in labels.items())
    if total > MAX_LABEL_BYTES:
        raise refusals.malformed(f"labels may have {MAX_LABEL_BYTES} bytes in all, got {total}", "labels")


def _bytes_of(text: str, field: str) -> int:
    if "\0" in text:
        raise refusals.malformed(f"{field} contains a NUL character", field)
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        raise refusals.malformed(f"{field} is no valid Unicode text", field) from error
