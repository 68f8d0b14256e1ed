"""Watches that keep up are served from memory, and are told the same as those that read."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from paglets.directory import tables
from paglets.directory.contract import PagletRow, PagletState
from paglets.directory.latest import LatestRows
from paglets.directory.sqlite import SqliteDirectory
from tests.directory.support import Clock, CountingDatabase, changed, new, put


def _row(paglet_id: str, revision: int) -> PagletRow:
    return PagletRow(paglet_id=paglet_id, type="t", owner="o", state=PagletState.ACTIVE, revision=revision)


def test_who_keeps_up_is_told_of_each_once_as_it_is() -> None:
    """A row that was written twice comes once, in the place of its last writing."""
    latest = LatestRows(4)
    latest.add([_row("a", 5), _row("b", 6), _row("a", 7)])
    for revision, told in ((4, ["b6", "a7"]), (5, ["b6", "a7"]), (6, ["a7"]), (7, [])):
        found = latest.after(revision)
        assert found is not None
        assert [f"{row.paglet_id}{row.revision}" for row in found] == told


@pytest.mark.parametrize("revision", [0, 3, 8, 1000])
def test_who_does_not_must_read(revision: int) -> None:
    """Rows that are no longer kept, or of another directory's count, are not in memory."""
    latest = LatestRows(3)
    assert latest.after(revision) is None
    latest.add([_row("a", 4), _row("b", 5), _row("c", 6), _row("d", 7)])
    assert latest.after(revision) is None


async def test_watch_that_keeps_up_reads_nothing(tmp_path: Path, clock: Clock, seed: int) -> None:
    """The first look is at the table; what comes then is told from memory, in the same order."""
    database = CountingDatabase(tmp_path / "directory.db", tables.SCHEMA, version=tables.LAYOUT)
    directory = SqliteDirectory(database, clock)
    watch = directory.watch(0)
    await put(directory, new("first"))
    assert (await anext(watch)).paglet_id == "first"
    looks, rng = database.reads, random.Random(seed)
    living = {row.paglet_id: row for row in await put(directory, *(new(f"p{number}") for number in range(3)))}
    for _ in range(20):
        name = rng.choice(sorted(living))
        (living[name],) = await put(directory, changed(living[name], error=str(rng.random())))
    told = [await anext(watch) for _ in living]
    assert told == sorted(living.values(), key=lambda row: row.revision)
    assert database.reads == looks
    await directory.close()
