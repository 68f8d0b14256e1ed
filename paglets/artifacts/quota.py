"""The byte counters of a store: `used` and `reserved`, of the host and of each owner.

The host counts what is on its disk: a blob once, until its file is unlinked, and what is reserved for uploads. An owner
counts all his artifacts, whoever shares their bytes, and his uploads. `used + reserved` never exceeds a limit, and what
is on disk by name never exceeds the host's sum. What is unlinked while it is read is on disk until its readers end, and
counts no more: readers are few, and none may stand still for long. The counters change only in their callers'
transactions; this file must never commit.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from paglets.artifacts import refusals
from paglets.artifacts.store import Usage

__all__ = ["Limits", "disown", "free", "move", "own", "read_owners", "read_usage", "require_room", "reserve", "settle"]

_HOST = "host"
_OWNER = "owner:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How many bytes the host, and each owner, may have; None for as many as they like."""

    host: int | None = None
    owner: int | None = None


def read_usage(connection: sqlite3.Connection, limits: Limits, owner: str | None = None) -> Usage:
    """The counters of the host, or of one owner, as they stand."""
    scope, limit = (_HOST, limits.host) if owner is None else (_OWNER + owner, limits.owner)
    return _read(connection, scope, limit, owner or "")


def read_owners(connection: sqlite3.Connection, limits: Limits, after: str, most: int) -> list[Usage]:
    """Up to `most` owners who have something here, after the owner `after`, in their order."""
    rows = connection.execute(
        "SELECT scope, used, reserved FROM usage WHERE scope > ? AND scope < 'owner;' ORDER BY scope LIMIT ?",
        (_OWNER + after, most),
    ).fetchall()
    return [
        Usage(owner=row["scope"].removeprefix(_OWNER), limit=limits.owner, used=row["used"], reserved=row["reserved"])
        for row in rows
    ]


def reserve(connection: sqlite3.Connection, limits: Limits, owner: str, needed: int, wanted: int) -> int:
    """Reserves `wanted` bytes, or what is left as long as `needed` fit. Returns how many.

    Raises QUOTA_EXCEEDED, which names the host or the owner, when `needed` do not fit.
    """
    granted = wanted
    for usage, subject in _scopes(connection, limits, owner):
        if usage.limit is not None:
            left = max(0, usage.limit - usage.used - usage.reserved)
            if needed > left:
                raise refusals.quota_exceeded(usage, subject, needed)
            granted = min(granted, left)
    _change(connection, _HOST, used=0, reserved=granted)
    _change_owner(connection, owner, used=0, reserved=granted)
    return granted


def settle(connection: sqlite3.Connection, owner: str, reserved: int, used: int) -> None:
    """Gives a reservation back, and counts `used` of it as bytes on the host's disk."""
    _change(connection, _HOST, used=used, reserved=-reserved)
    _change_owner(connection, owner, used=0, reserved=-reserved)


def own(connection: sqlite3.Connection, limits: Limits, owner: str, size: int) -> None:
    """Counts an artifact of `size` bytes as the owner's. Raises QUOTA_EXCEEDED."""
    require_room(connection, limits, owner, size)
    _change_owner(connection, owner, used=size, reserved=0)


def require_room(connection: sqlite3.Connection, limits: Limits, owner: str, size: int) -> None:
    """Raises QUOTA_EXCEEDED where an owner has no room for one more artifact of `size` bytes."""
    if owner and limits.owner is not None:
        usage = read_usage(connection, limits, owner)
        if usage.used + usage.reserved + size > limits.owner:
            raise refusals.quota_exceeded(usage, _OWNER + owner, size)


def disown(connection: sqlite3.Connection, owner: str, size: int) -> None:
    """Counts an artifact as the owner's no longer."""
    _change_owner(connection, owner, used=-size, reserved=0)


def move(connection: sqlite3.Connection, limits: Limits, size: int, old: str, new: str) -> None:
    """Counts an artifact as another owner's. Raises QUOTA_EXCEEDED when he has no room for it."""
    if old != new:
        own(connection, limits, new, size)
        disown(connection, old, size)


def free(connection: sqlite3.Connection, used: int) -> None:
    """Counts bytes that are no longer on the host's disk."""
    _change(connection, _HOST, used=-used, reserved=0)


def _scopes(connection: sqlite3.Connection, limits: Limits, owner: str) -> list[tuple[Usage, str]]:
    scopes = [(read_usage(connection, limits), _HOST)]
    if owner:
        scopes.append((read_usage(connection, limits, owner), _OWNER + owner))
    return scopes


def _read(connection: sqlite3.Connection, scope: str, limit: int | None, owner: str) -> Usage:
    row = connection.execute("SELECT used, reserved FROM usage WHERE scope = ?", (scope,)).fetchone()
    used, reserved = (row["used"], row["reserved"]) if row else (0, 0)
    return Usage(owner=owner, limit=limit, used=used, reserved=reserved)


def _change_owner(connection: sqlite3.Connection, owner: str, *, used: int, reserved: int) -> None:
    """An owner who has nothing has no row."""
    if owner and (used or reserved):
        scope = _OWNER + owner
        connection.execute("INSERT OR IGNORE INTO usage VALUES (?, 0, 0)", (scope,))
        _change(connection, scope, used=used, reserved=reserved)
        connection.execute("DELETE FROM usage WHERE scope = ? AND used = 0 AND reserved = 0", (scope,))


def _change(connection: sqlite3.Connection, scope: str, *, used: int, reserved: int) -> None:
    if used or reserved:
        connection.execute(
            "UPDATE usage SET used = used + ?, reserved = reserved + ? WHERE scope = ?", (used, reserved, scope)
        )
