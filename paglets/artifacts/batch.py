"""Many small artifacts at once: one transaction, and one wait for the disk, for all of them.

Each has a result of its own. This file must never open an upload.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TypeVar

from paglets.artifacts import references, refusals
from paglets.artifacts.filed import store_filed
from paglets.artifacts.limits import check_proof, checked_write
from paglets.artifacts.references import Blob
from paglets.artifacts.rooms import StoreRooms
from paglets.artifacts.small import ProvenWrite, store_all
from paglets.artifacts.store import SMALL_BYTES, SMALL_FILE_BYTES, ArtifactWriteResult, SmallWrite
from paglets.config import StoreSettings
from paglets.digest import Digest
from paglets.errors import ExhaustedError, PagletError
from paglets.offloop import off_loop

__all__ = ["store_batch"]

T = TypeVar("T")


async def store_batch(rooms: StoreRooms, items: Sequence[SmallWrite]) -> list[ArtifactWriteResult | PagletError]:
    """Stores each, or says why not. Raises DISK_FULL, SHUTTING_DOWN and `sqlite3.Error` when none could be."""
    proven = await off_loop(_each, items, partial(_prove, settings=rooms.settings))
    good = [item for item in proven if isinstance(item, ProvenWrite)]
    size = sum(len(item.data) for item in good)
    promised = await rooms.floor.promise(size, size)
    try:
        await _check_known(rooms, good)
        stored = await _store(rooms, good)
    finally:
        rooms.floor.kept(promised)
    results = iter(stored)
    return [next(results) if isinstance(item, ProvenWrite) else item for item in proven]


def _each(items: Sequence[SmallWrite], work: Callable[[SmallWrite], T]) -> list[T | PagletError]:
    results: list[T | PagletError] = []
    for item in items:
        try:
            results.append(work(item))
        except PagletError as error:
            results.append(error)
    return results


def _prove(item: SmallWrite, settings: StoreSettings) -> ProvenWrite:
    write, size = checked_write(item.write, settings), len(item.data)
    most = SMALL_FILE_BYTES if write.as_file else SMALL_BYTES
    if size > most:
        raise refusals.too_large_for_batch(most, size)
    digest = Digest.of(item.data)
    check_proof(digest, write.expected_digest)
    if write.size_bytes not in (None, size):
        raise refusals.size_mismatch(write.size_bytes or 0, size)
    return ProvenWrite(write, item.data, digest, is_named=bool(item.write.upload_id))


async def _check_known(rooms: StoreRooms, items: Sequence[ProvenWrite]) -> None:
    """Good bytes are dropped only for a blob that is read and found right."""
    now = rooms.clock()

    def find(rows: sqlite3.Connection) -> set[Blob | None]:
        return {references.find_readable(rows, item.digest.value, item.write.owner, now) for item in items}

    for blob in await rooms.ledger.read(find):
        if blob is not None and not await rooms.stored.holds(blob):
            await rooms.catalogue.distrust(blob)


async def _store(rooms: StoreRooms, items: Sequence[ProvenWrite]) -> list[ArtifactWriteResult | PagletError]:
    """One transaction; those for which there was no room are tried once more when what has expired has left."""
    results = await _write(rooms, items)
    refused = [
        number
        for number, result in enumerate(results)
        if isinstance(result, PagletError) and result.reason == "QUOTA_EXCEEDED"
    ]
    if refused:
        await rooms.janitor.make_room()
        with suppress(ExhaustedError):  # nothing more was written: what was refused stays so, what is stored is told
            again = await _write(rooms, [items[number] for number in refused])
            for number, result in zip(refused, again, strict=True):
                results[number] = result
    for result in results:
        if isinstance(result, ArtifactWriteResult):
            rooms.janitor.expect(result.ref.expires_at)
    return results


async def _write(rooms: StoreRooms, items: Sequence[ProvenWrite]) -> list[ArtifactWriteResult | PagletError]:
    in_catalogue = [item for item in items if not item.write.as_file]
    results, moment = iter(list[ArtifactWriteResult | PagletError]()), rooms.moment()
    if in_catalogue:
        stored, spare = await rooms.ledger.write(lambda rows: store_all(rows, in_catalogue, moment))
        results = iter(stored)
        if spare:
            rooms.janitor.wake()
    filed = iter(await store_filed(rooms, [item for item in items if item.write.as_file]))
    return [next(filed if item.write.as_file else results) for item in items]
