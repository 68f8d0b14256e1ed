"""The revisions of a store: one for every change of an artifact, counted without gaps.

Each function is part of the transaction that makes the change. This file must never touch a file.
"""

from __future__ import annotations

import sqlite3

__all__ = ["next_mark"]

_NEXT = "UPDATE history SET last = last + 1 RETURNING life || '-' || last"


def next_mark(connection: sqlite3.Connection) -> str:
    """A text for the change that is being made, which no other change of any store ever had."""
    (mark,) = connection.execute(_NEXT).fetchone()
    return mark
