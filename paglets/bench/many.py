"""Fills the data folder of a host that is down with paglets: the rows that so many creations and rests would leave.

They are written by the own journal and directory of hosts, many to a transaction: a hundred thousand take seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from paglets.core.lifecycle import LifecycleEvent
from paglets.directory.contract import Guard, PagletRow, RowWrite
from paglets.directory.sqlite import SqliteDirectory
from paglets.examples.counter import Counter
from paglets.host.journal.journal import Journal
from paglets.host.records import StoredPaglet
from paglets.values import DeactivationPolicy, PagletState

__all__ = ["active_id", "fill", "inactive_id"]

_BATCH = 500


def active_id(number: int) -> str:
    """The id of an active paglet, counted from 0."""
    return f"active-{number:06}"


def inactive_id(number: int) -> str:
    """The id of an inactive paglet, counted from 0."""
    return f"inactive-{number:06}"


async def fill(data: Path, owner: str, *, active: int, inactive: int) -> None:
    """Adds counters to the data folder of a host with a directory of its own; it must have been started before."""
    journal = await asyncio.to_thread(Journal.open, data / "journal.db")
    directory = await SqliteDirectory.open(data / "directory.db")
    try:
        ids = [active_id(number) for number in range(active)]
        for start in range(0, active, _BATCH):
            await _create(journal, directory, owner, ids[start : start + _BATCH])
        ids = [inactive_id(number) for number in range(inactive)]
        for start in range(0, inactive, _BATCH):
            rows = await _create(journal, directory, owner, ids[start : start + _BATCH])
            await _lay_down(journal, directory, rows)
    finally:
        await directory.close()
        await journal.close()


async def _create(journal: Journal, directory: SqliteDirectory, owner: str, ids: Sequence[str]) -> Sequence[PagletRow]:
    wanted = [
        PagletRow(paglet_id=found, type=Counter.type_name(), owner=owner, state=PagletState.ACTIVE) for found in ids
    ]
    rows = await directory.apply(
        [RowWrite(Guard(row.paglet_id, absent=True), row, LifecycleEvent.CREATE) for row in wanted]
    )
    await asyncio.gather(*(journal.save_newborn(_stored(row), (), 0) for row in rows))
    return rows


async def _lay_down(journal: Journal, directory: SqliteDirectory, rows: Sequence[PagletRow]) -> None:
    await asyncio.gather(*(journal.dormant.rest(_stored(row), DeactivationPolicy()) for row in rows))
    laid = [(row, replace(row, state=PagletState.INACTIVE)) for row in rows]
    await directory.apply([RowWrite(Guard.on(row), wanted, LifecycleEvent.DEACTIVATE) for row, wanted in laid])


def _stored(row: PagletRow) -> StoredPaglet:
    codec = Counter.codec
    return StoredPaglet(
        paglet_id=row.paglet_id,
        type=row.type,
        epoch=row.epoch,
        state=codec.encode(Counter.State()),
        state_version=codec.version,
    )
