"""Ranges of an artifact's bytes: what may be asked for, and what that comes to.

Offsets are those of the bytes as they were written. This file must never read any.
"""

from __future__ import annotations

from paglets.artifacts import refusals
from paglets.artifacts.store import ByteRange

__all__ = ["check_range", "range_within"]


def check_range(offset: int, length: int | None) -> None:
    """Looks at a range before it is known how many bytes there are; without a length it goes to the end.

    Raises MALFORMED_REQUEST for a negative offset, or a length that is no number of bytes to read.
    """
    if offset < 0:
        raise refusals.malformed(f"an offset is 0 or more, got {offset}", "read_offset")
    if length is not None and length <= 0:
        raise refusals.malformed(f"a range has at least one byte, got {length}", "read_limit")


def range_within(size_bytes: int, offset: int, length: int | None) -> ByteRange:
    """The range of `size_bytes` bytes that was asked for, perhaps empty at the very end.

    Raises RANGE_NOT_SATISFIABLE if it goes past the end: nobody who counts on bytes shall get fewer.
    """
    end = max(offset, size_bytes) if length is None else offset + length
    if end > size_bytes:
        raise refusals.range_not_satisfiable(size_bytes, offset, end)
    return ByteRange(offset, end - offset)
