"""The byte counters of a store: `used` on disk, `reserved` for uploads.

Their sum never exceeds the quota, and what is on disk by name never exceeds their sum: a blob counts until its file is
unlinked. What is unlinked while it is read is on disk until its readers end, and counts no more: readers are few, and
none may stand still for long. They change only in their callers' transactions; this file must never commit.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from paglets.artifacts import refusals

__all__ = ["Usage", "free", "read_usage", "reserve", "settle"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """How much of a store is taken, in bytes; `limit` is None where there is no quota."""

    limit: int | None
    used: int
    reserved: int


def read_usage(connection: sqlite3.Connection, limit: int | None) -> Usage:
    """The counters as they stand."""
    row = connection.execute("SELECT used, reserved FROM usage WHERE scope = 'host'").fetchone()
    return Usage(limit=limit, used=row["used"], reserved=row["reserved"])


def reserve(connection: sqlite3.Connection, limit: int | None, needed: int, wanted: int) -> int:
    """Reserves `wanted` bytes, or what is left of the quota as long as `needed` fit. Returns how many.

    Raises QUOTA_EXCEEDED when `needed` do not fit.
    """
    granted = wanted
    if limit is not None:
        usage = read_usage(connection, limit)
        left = max(0, limit - usage.used - usage.reserved)
        if needed > left:
            raise refusals.quota_exceeded(limit=limit, used=usage.used, reserved=usage.reserved, requested=needed)
        granted = min(wanted, left)
    _change(connection, used=0, reserved=granted)
    return granted


def settle(connection: sqlite3.Connection, reserved: int, used: int) -> None:
    """Gives a reservation back and counts `used` of it as bytes on disk."""
    _change(connection, used=used, reserved=-reserved)


def free(connection: sqlite3.Connection, used: int) -> None:
    """Counts bytes that are no longer on disk."""
    _change(connection, used=-used, reserved=0)


def _change(connection: sqlite3.Connection, *, used: int, reserved: int) -> None:
    if used or reserved:
        connection.execute(
            "UPDATE usage SET used = used + ?, reserved = reserved + ? WHERE scope = 'host'", (used, reserved)
        )
