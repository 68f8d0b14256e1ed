"""Small artifacts that want files, many at once: they share their transactions, and their waits for the disk.

Intents first, then the files under their final names, then all of them visible: whoever dies in between leaves what a
recovery proves, or drops. This file must never leave a partial.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import TypeGuard, TypeVar

from paglets.artifacts import partials, refusals, uploads
from paglets.artifacts.disk import unbroken
from paglets.artifacts.rooms import StoreRooms
from paglets.artifacts.small import ProvenWrite, told_again
from paglets.artifacts.steps import Step, passed
from paglets.artifacts.store import ArtifactWriteResult, WriteOutcome
from paglets.artifacts.uploads import Committed, Intent, Moment
from paglets.errors import PagletError

__all__ = ["store_filed"]

T = TypeVar("T")
_AT_ONCE = 128
"""So many become artifacts together: they are few beside the uploads, and the descriptors, that a host may have."""


async def store_filed(rooms: StoreRooms, items: Sequence[ProvenWrite]) -> list[ArtifactWriteResult | PagletError]:
    """Stores each, or says why not.

    Raises DISK_FULL, SHUTTING_DOWN, `OSError` and `sqlite3.Error` when some could not be, whose uploads are given up,
    or taken up by the next recovery.
    """
    if items:  # what a dead process has left of the same ones is decided first
        await rooms.janitor.settled()
    results: list[ArtifactWriteResult | PagletError] = []
    for start in range(0, len(items), _AT_ONCE):
        results += await unbroken(_store_some(rooms, items[start : start + _AT_ONCE]))
    return results


async def _store_some(rooms: StoreRooms, items: Sequence[ProvenWrite]) -> list[ArtifactWriteResult | PagletError]:
    """As one who opens an upload, alone with each: who would drop one finds that it has become an artifact."""
    async with AsyncExitStack() as stack:
        for upload_id in sorted({item.write.upload_id for item in items}):
            await stack.enter_async_context(rooms.writers.alone(upload_id))
        return await _store(rooms, items)


async def _store(rooms: StoreRooms, items: Sequence[ProvenWrite]) -> list[ArtifactWriteResult | PagletError]:
    moment = rooms.moment()
    begun = await rooms.ledger.write(
        partial(_each, works=[partial(_intend, item=item, moment=moment) for item in items])
    )
    passed(Step.INTENT_AFTER)
    intents = [each for each in begun if isinstance(each, Intent)]
    new = [(each.blob, item.data) for each, item in zip(begun, items, strict=True) if _is_new(each)]
    try:
        with refusals.full_disk_told():
            await rooms.disk.run(partial(rooms.blobs.keep, new))
    except BaseException:
        for intent in intents:
            await rooms.janitor.discard(intent.upload_id)
        raise
    ended = iter(await _committed(rooms, intents))
    return [next(ended) if isinstance(each, Intent) else each for each in begun]


def _is_new(begun: Intent | ArtifactWriteResult | PagletError) -> TypeGuard[Intent]:
    """Whether it is an upload whose bytes are not here yet."""
    return isinstance(begun, Intent) and not begun.held


def _intend(rows: sqlite3.Connection, item: ProvenWrite, moment: Moment) -> Intent | ArtifactWriteResult:
    """Opens an upload, and notes at once what it is about to become; what an earlier one made is told again."""
    row = partials.find(rows, item.write.upload_id)
    if row is not None:
        return told_again(rows, row, item, moment)
    write = replace(item.write, size_bytes=len(item.data))
    uploads.admit(rows, write, 1, moment)
    return uploads.record_intent(rows, write, item.digest, moment)


async def _committed(rooms: StoreRooms, intents: Sequence[Intent]) -> list[ArtifactWriteResult | PagletError]:
    """Makes all visible; what there is no room for is dropped."""
    now, limits = rooms.clock(), rooms.moment().limits
    commits = [partial(uploads.commit, intent=intent, host=rooms.host, now=now, limits=limits) for intent in intents]
    ended = await rooms.ledger.write(partial(_each, works=commits))
    passed(Step.COMMIT_AFTER)
    results: list[ArtifactWriteResult | PagletError] = []
    for intent, done in zip(intents, ended, strict=True):
        if isinstance(done, Committed):
            results.append(ArtifactWriteResult(done.ref, _outcome(done)))
            if done.spare:
                rooms.janitor.wake()
        else:
            await rooms.janitor.discard(intent.upload_id)
            results.append(done)
    return results


def _outcome(done: Committed) -> WriteOutcome:
    return WriteOutcome.DEDUPLICATED if done.held else WriteOutcome.COMMITTED


def _each(rows: sqlite3.Connection, works: Iterable[Callable[[sqlite3.Connection], T]]) -> list[T | PagletError]:
    """What becomes of each of some writes: one that fails leaves nothing, and nothing of the others undone."""
    results: list[T | PagletError] = []
    for work in works:
        rows.execute("SAVEPOINT item")
        try:
            results.append(work(rows))
        except PagletError as error:
            rows.execute("ROLLBACK TO item")
            results.append(error)
        rows.execute("RELEASE item")
    return results
