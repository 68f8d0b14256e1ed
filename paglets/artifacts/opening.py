"""How an upload finds its writer: a new one, the next one of a partial, or one who need not send anything.

What is wrong with a request shows before anybody is disturbed by it. This file must never take a byte.
"""

from __future__ import annotations

import asyncio
import sqlite3
from functools import partial

from paglets.artifacts import partials, refusals, resting, uploads
from paglets.artifacts.allowance import Allowance
from paglets.artifacts.disk import unbroken
from paglets.artifacts.known import KnownUpload
from paglets.artifacts.late_part import LatePart
from paglets.artifacts.replay import Replay
from paglets.artifacts.requests import require_same
from paglets.artifacts.rooms import StoreRooms
from paglets.artifacts.store import ArtifactWrite
from paglets.artifacts.upload import LocalUpload
from paglets.digest import Digest, Hasher

__all__ = ["open_upload"]


async def open_upload(
    rooms: StoreRooms, write: ArtifactWrite, writer_epoch: int, prefix: Digest | None
) -> LocalUpload | KnownUpload | Replay:
    """Lets a writer in. Raises as `ServedStore.open_upload`."""
    async with rooms.writers.alone(write.upload_id):
        row = await rooms.ledger.read(lambda rows: partials.find(rows, write.upload_id))
        if row is not None and row["state"] == "done":  # it needs no room, and no leave to write
            return await _repeated(rooms, write, row)
        hasher = await _make_way(rooms, write, row, writer_epoch, prefix)
        with rooms.writers.opening(write.upload_id, rooms.settings.max_open_uploads):
            opening = asyncio.ensure_future(_admit(rooms, write, writer_epoch, hasher))
            try:
                return await unbroken(opening)
            except asyncio.CancelledError:
                if not opening.cancelled() and opening.exception() is None:
                    await opening.result().leave()
                raise


async def _repeated(rooms: StoreRooms, write: ArtifactWrite, row: sqlite3.Row) -> Replay:
    """What a finished upload made, for the one who sends it again."""
    moment = rooms.moment()
    made = await rooms.ledger.read(lambda rows: uploads.find_finished(rows, row, write, moment))
    return Replay(write, made, rooms.disk)


async def _make_way(
    rooms: StoreRooms, write: ArtifactWrite, row: sqlite3.Row | None, writer_epoch: int, prefix: Digest | None
) -> Hasher | None:
    """Takes an open upload from its writer, if this one may; gives the state of its hash, None for a new upload."""
    upload_id, writers = write.upload_id, rooms.writers
    if row is None or row["state"] != "open":
        if row is None and prefix is not None and prefix.size_bytes:
            raise refusals.offset_mismatch(0, prefix.size_bytes)
        return None
    require_same(row, write)
    if 0 < writer_epoch < row["writer_epoch"]:
        raise refusals.writer_fenced(upload_id, row["writer_epoch"])
    writer = writers.of(upload_id)
    if writer is not None and (writer_epoch <= writer.writer_epoch or writer.is_publishing):
        raise refusals.upload_in_progress("upload", upload_id)
    if prefix is not None:
        here = await writer.so_far() if writer else (await resting.measured(rooms, upload_id)).digest()
        _check_prefix(upload_id, here, prefix)
    if writer is not None:
        await writer.lose(refusals.writer_fenced(upload_id, writer_epoch))
    hasher = await resting.measured(rooms, upload_id)
    if prefix is not None:
        _check_prefix(upload_id, hasher.digest(), prefix)
    return hasher


def _check_prefix(upload_id: str, here: Digest, claimed: Digest) -> None:
    if here.size_bytes != claimed.size_bytes:
        raise refusals.offset_mismatch(here.size_bytes, claimed.size_bytes)
    if here != claimed:
        raise refusals.prefix_mismatch(upload_id, here, claimed)


async def _admit(
    rooms: StoreRooms, write: ArtifactWrite, writer_epoch: int, hasher: Hasher | None
) -> LocalUpload | KnownUpload:
    if hasher is None:
        known = await KnownUpload.found(rooms, write, writer_epoch)
        if known is not None:
            return known
    allowance = Allowance(rooms, write, hasher.size_bytes if hasher else 0)
    try:
        epoch = await allowance.admit(writer_epoch)
        part = await _open_part(rooms, write, hasher)
    except BaseException:
        allowance.end()
        raise
    upload = LocalUpload(rooms, write, epoch, part, allowance)
    rooms.writers.enter(write.upload_id, upload)
    return upload


async def _open_part(rooms: StoreRooms, write: ArtifactWrite, hasher: Hasher | None) -> LatePart:
    """The part of an admitted upload; a new one that cannot be made is no upload."""
    most_held = rooms.settings.inline_bytes
    if write.as_file or (write.size_bytes or 0) > most_held:
        most_held = 0
    try:
        with refusals.full_disk_told():
            return await rooms.disk.run(partial(rooms.blobs.open_part, write.upload_id, most_held, hasher))
    except BaseException:
        if hasher is None:
            await rooms.janitor.discard(write.upload_id)
        raise
