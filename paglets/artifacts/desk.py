"""Where people and programs ask about uploads and room: described, listed, cancelled.

This file must never take a byte of one.
"""

from __future__ import annotations

import sqlite3
from functools import partial

from paglets.artifacts import partials, refusals, resting, uploads
from paglets.artifacts.paging import id_in, token_after_id
from paglets.artifacts.quota import read_owners, read_usage
from paglets.artifacts.rooms import StoreRooms
from paglets.artifacts.store import StoreUsage, UploadInfo, UploadPage, Usage
from paglets.artifacts.writers import Writer
from paglets.digest import Digest
from paglets.errors import ConflictError
from paglets.values import check_id

__all__ = ["UploadDesk"]

_LIST = "uploads"
_OWNERS = "owners"


class UploadDesk:
    """The uploads of one store."""

    def __init__(self, rooms: StoreRooms) -> None:
        self._rooms = rooms

    async def describe(self, upload_id: str) -> UploadInfo:
        """One upload, with the digest of what is here of it. Raises UPLOAD_NOT_FOUND."""
        rooms = self._rooms
        while True:
            row, writer = await self._row(upload_id), rooms.writers.of(upload_id)
            if row is None:
                raise refusals.upload_not_found(upload_id, rooms.host)
            try:
                prefix = await self._prefix(row, writer)
            except ConflictError:
                if writer is not None and rooms.writers.of(upload_id) is writer:
                    raise
            else:
                return self._info(row, prefix.size_bytes, prefix)

    async def page(self, limit: int, token: str) -> UploadPage:
        """One page of unfinished uploads."""
        rooms, after = self._rooms, id_in(token, _LIST)
        rows = await rooms.ledger.read(lambda found: partials.page(found, after, limit + 1))
        here, more = rows[:limit], len(rows) > limit
        sizes = await rooms.disk.run(partial(self._sizes, here))
        found = tuple(self._info(row, size, None) for row, size in zip(here, sizes, strict=True))
        return UploadPage(found, token_after_id(here[-1]["upload_id"], _LIST) if more else "")

    async def usage(self, owner: str | None, limit: int, token: str) -> StoreUsage:
        """The counters, with those of an owner, or of a page of owners."""
        rooms = self._rooms
        if owner is not None:
            check_id(owner, "owner")
        limits, after = rooms.moment().limits, id_in(token, _OWNERS)

        def read(rows: sqlite3.Connection) -> tuple[Usage, list[Usage]]:
            if owner is not None:
                return read_usage(rows, limits), [read_usage(rows, limits, owner)]
            return read_usage(rows, limits), read_owners(rows, limits, after, limit + 1)

        (host, owners), free = await rooms.ledger.read(read), await rooms.floor.free()
        more = len(owners) > limit
        return StoreUsage(
            host=host,
            owners=tuple(owners[:limit]),
            disk_free=free,
            disk_floor=rooms.settings.min_free_bytes,
            next_token=token_after_id(owners[limit - 1].owner, _OWNERS) if more else "",
        )

    async def cancel(self, upload_id: str) -> bool:
        """Drops an unfinished upload; says whether there was one. Raises UPLOAD_IN_PROGRESS."""
        rooms = self._rooms
        async with rooms.writers.alone(upload_id):
            writer = rooms.writers.of(upload_id)
            if writer is not None:
                if writer.is_publishing:
                    raise refusals.upload_in_progress("upload", upload_id)
                await writer.lose(refusals.upload_cancelled(upload_id), drop=True)
            row = await self._row(upload_id)
            if row is None or row["state"] == "done":
                return writer is not None and row is None
            if row["state"] == "intent":
                raise refusals.upload_in_progress("upload", upload_id)
            await rooms.janitor.discard(upload_id)
            return True

    async def end_of_owner(self, owner: str, begun_until: float) -> None:
        """Drops what is on its way to an artifact that goes with its owner, if it was begun no later than that.

        What is being made visible just now cannot be stopped, and expires when it is.
        """
        rooms = self._rooms
        for upload_id in await rooms.ledger.read(lambda rows: partials.of_owner(rows, owner, begun_until)):
            try:
                await self.cancel(upload_id)
            except ConflictError:
                doom = partial(uploads.doom, upload_id=upload_id, now=rooms.clock())
                await rooms.janitor.reap_or_wake(await rooms.ledger.free(doom))

    async def _prefix(self, row: sqlite3.Row, writer: Writer | None) -> Digest:
        """What is here of an upload. Raises UPLOAD_IN_PROGRESS when its writer has just left, or cannot say."""
        if row["state"] != "open":
            return Digest(row["digest"], row["size"])
        if writer is not None:
            return await writer.so_far()
        return (await resting.measured(self._rooms, row["upload_id"])).digest()

    async def _row(self, upload_id: str) -> sqlite3.Row | None:
        return await self._rooms.ledger.read(lambda rows: partials.find(rows, upload_id))

    def _sizes(self, rows: list[sqlite3.Row]) -> list[int]:
        return [row["size"] if row["state"] != "open" else self._size(row["upload_id"]) for row in rows]

    def _size(self, upload_id: str) -> int:
        status = self._rooms.blobs.part_status(upload_id)
        return status.st_size if status else 0

    def _info(self, row: sqlite3.Row, committed: int, prefix: Digest | None) -> UploadInfo:
        rooms, upload_id = self._rooms, row["upload_id"]
        return partials.describe(
            row,
            rooms.host,
            committed=committed,
            prefix=prefix,
            writing=upload_id in rooms.writers.names,
            ttl_s=rooms.settings.partial_ttl_s,
        )
