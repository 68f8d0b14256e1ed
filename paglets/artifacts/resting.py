"""What is here of a partial: hashed once, and told only while it is one.

Between a look at its row and one at its file an upload may come to its end; what is found then is of no upload. This
file must never change anything.
"""

from __future__ import annotations

from functools import partial

from paglets.artifacts import partials, refusals
from paglets.artifacts.rooms import StoreRooms
from paglets.digest import Hasher

__all__ = ["measured"]


async def measured(rooms: StoreRooms, upload_id: str) -> Hasher:
    """The state of the hash of a partial that nobody writes.

    Raises UPLOAD_IN_PROGRESS when it is none any more: look at its row again.
    """
    hasher = await rooms.writers.measured(upload_id)
    row = await rooms.ledger.read(partial(partials.find, upload_id=upload_id))
    if row is None or row["state"] != "open":
        rooms.writers.forget(upload_id)
        raise refusals.upload_in_progress("upload", upload_id)
    return hasher
