"""Where a watch goes on: the name of a history and a revision in it, as a text that callers hand back unread.

This file must never know what happened at a revision.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from paglets.errors import InvalidArgumentError, OutOfRangeError

__all__ = ["Kept", "cursor_expired"]

_CURSOR = re.compile(r"([0-9a-f]{16})-(0|[1-9][0-9]{0,18})")


@dataclass(frozen=True, slots=True)
class Kept:
    """Which part of which history is kept: the events after the revision `oldest`, up to `last`.

    `life` is random, 16 hexadecimal digits, and new with every history that begins.
    """

    life: str
    last: int
    oldest: int

    def cursor(self, revision: int) -> str:
        """Where to go on from after a revision."""
        return f"{self.life}-{revision}"

    def revision_in(self, cursor: str) -> int:
        """The revision after which a cursor goes on. Raises MALFORMED_REQUEST, CURSOR_EXPIRED."""
        found = _CURSOR.fullmatch(cursor)
        if found is None:
            raise InvalidArgumentError("MALFORMED_REQUEST", "a cursor is what a list or a watch gave", field="cursor")
        revision = int(found[2])
        if found[1] != self.life or not self.oldest <= revision <= self.last:
            raise cursor_expired(cursor, self.cursor(self.oldest))
        return revision


def cursor_expired(cursor: str, oldest: str) -> OutOfRangeError:
    """Events that a watch needs are no longer kept, or never were in this history."""
    return OutOfRangeError(
        "CURSOR_EXPIRED",
        f"the events after {cursor} are not kept here: list anew, and watch from the cursor of that list",
        metadata={"oldest": oldest},
    )
