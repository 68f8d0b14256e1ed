"""What the journal says of whose a paglet is: those that are kept here, and those that parted from here.

A directory that has lost its rows has lost its tombstones too, and another host may keep a copy that it has not dropped
yet. So a host remembers who ended here, or left, for as long as a directory keeps tombstones.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass

from paglets.sqlite import Database

__all__ = ["Claim", "ClaimRows", "put_parting"]

_KEPT_S = 7 * 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Claim:
    """A paglet, and the last epoch that it is known to have had here.

    One that `rests` has a policy that is to bring it back. One that `parted` is only remembered: it left for the host
    `target`, or, if that is empty, it ended.
    """

    paglet_id: str
    type: str
    epoch: int
    rests: bool = False
    parted: bool = False
    target: str = ""


class ClaimRows:
    """Rows of one host."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, after: str, limit: int = 1000) -> Sequence[Claim]:
        """Paglets in the order of their ids after `after`, each once; those whose creation is not confirmed are not."""
        values = {"after": after, "limit": limit}
        rows = await self._database.read(lambda db: db.execute(_PAGE, values).fetchall())
        return [_claim(row) for row in rows]


def _claim(row: sqlite3.Row) -> Claim:
    rests, parted = bool(row["rests"]), bool(row["parted"])
    return Claim(row["paglet_id"], row["type"], row["epoch"], rests=rests, parted=parted, target=row["target"])


_PAGE = """
SELECT paglet_id, type, epoch, dormant.paglet_id IS NOT NULL AS rests, FALSE AS parted, '' AS target
FROM paglets LEFT JOIN dormant USING (paglet_id) WHERE paglet_id > :after AND epoch > 0
UNION ALL
SELECT paglet_id, type, epoch, FALSE, TRUE, target FROM partings WHERE paglet_id > :after
AND NOT EXISTS (SELECT 1 FROM paglets AS kept WHERE kept.paglet_id = partings.paglet_id AND kept.epoch > 0)
ORDER BY paglet_id LIMIT :limit
"""


def put_parting(db: sqlite3.Connection, paglet_id: str, epoch: int, target: str = "") -> None:
    """Remembers that a paglet, which is kept still, left with this epoch for a host, or ended; forgets what is old."""
    now = time.time()
    db.execute(
        "INSERT OR REPLACE INTO partings SELECT paglet_id, type, ?, ?, ? FROM paglets WHERE paglet_id = ?",
        (epoch, target, now, paglet_id),
    )
    db.execute("DELETE FROM partings WHERE parted_at < ?", (now - _KEPT_S,))
