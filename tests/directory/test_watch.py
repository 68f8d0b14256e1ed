"""What every directory promises of watches."""

import asyncio

import pytest

from paglets.directory.contract import Directory
from paglets.errors import InvalidArgumentError
from tests.directory.support import changed, disposed, new, put, take


async def test_watch_tells_what_is_there_then_what_comes(directory: Directory) -> None:
    """A watch from 0 gives every row, then each change in the order of revisions."""
    first = await put(directory, new("a"), new("b"))
    rows = directory.watch(0)
    assert await take(rows, 2) == first
    later = [*await put(directory, new("c")), *await put(directory, changed(first[0], error="changed"))]
    assert await take(rows, 2) == later


async def test_watch_goes_on_after_a_revision(directory: Directory) -> None:
    """Rows of the revision given, and of those before it, do not come again."""
    first, second, third = await put(directory, new("a"), new("b"), new("c"))
    assert await take(directory.watch(first.revision), 2) == [second, third]


async def test_watch_tells_of_disposals(directory: Directory) -> None:
    """A tombstone is a change like any other."""
    (row,) = await put(directory, new("a"))
    rows = directory.watch(0)
    assert await take(rows, 1) == [row]
    (gone,) = await put(directory, disposed(row))
    assert await take(rows, 1) == [gone]


async def test_past_changes_come_once_as_they_are(directory: Directory) -> None:
    """A row that changed before the watch began comes in its latest version only."""
    (row,) = await put(directory, new("a"))
    for number in range(5):
        (row,) = await put(directory, changed(row, error=str(number)))
    (last,) = await put(directory, new("b"))
    assert await take(directory.watch(0), 2) == [row, last]


@pytest.mark.slow
async def test_watch_of_more_rows_than_a_page_holds_misses_none(directory: Directory) -> None:
    """Every row comes once, also while others are being written."""
    ids = [f"cart-{number:04}" for number in range(1500)]
    await directory.apply([new(paglet_id) for paglet_id in ids[:900]])

    async def write_the_rest() -> None:
        for at in range(900, 1500, 50):
            await directory.apply([new(paglet_id) for paglet_id in ids[at : at + 50]])

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(write_the_rest())
        rows = await take(directory.watch(0), 1500)
    assert [row.paglet_id for row in rows] == ids
    assert [row.revision for row in rows] == list(range(1, 1501))


@pytest.mark.slow
async def test_no_wake_up_is_lost(directory: Directory) -> None:
    """A watch that has told all it knows is woken by each of many single writes, however they interleave."""
    rows = directory.watch(0)
    for number in range(200):
        written, seen = await asyncio.gather(put(directory, new(f"cart-{number}")), take(rows, 1))
        assert seen == written


async def test_watches_do_not_disturb_each_other(directory: Directory) -> None:
    """Each watch has its own place; one that is given up leaves the others as they are."""
    watches = [directory.watch(0) for _ in range(5)]
    (row,) = await put(directory, new("a"))
    for rows in watches:
        assert await take(rows, 1) == [row]
    given_up = asyncio.ensure_future(take(watches[0], 1))
    others = [asyncio.ensure_future(take(rows, 1)) for rows in watches[1:]]
    await asyncio.wait([given_up], timeout=0.001)
    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    written = await put(directory, new("b"))
    assert await asyncio.gather(*others) == [written] * 4


async def test_watch_of_no_revision_is_refused(directory: Directory) -> None:
    """A revision is 0 or more."""
    with pytest.raises(InvalidArgumentError):
        await take(directory.watch(-1), 1)


async def test_watch_from_a_revision_of_a_lost_directory_begins_anew(directory: Directory) -> None:
    """Who has watched one that had counted further is told of every row, now and later."""
    first = await put(directory, new("a"))
    rows = directory.watch(1000)
    assert await take(rows, 1) == first
    later = await put(directory, new("b"))
    assert await take(rows, 1) == later


async def test_revisions_are_raised_above_what_was_counted_before(directory: Directory) -> None:
    """Inserts begin above the revision that is named, never below one that was given; so do all later ones."""
    await put(directory, new("a"))
    (row,) = await directory.apply([new("b")], above=500)
    assert (row.revision, row.epoch) == (501, 501)
    (row,) = await directory.apply([new("c")], above=7)
    assert (row.revision, row.epoch) == (502, 502)
    await directory.apply((), above=900)
    (row,) = await put(directory, new("d"))
    assert row.epoch == 901


@pytest.mark.parametrize("above", [-1, 2**62 + 1])
async def test_revisions_that_are_none_are_refused(directory: Directory, above: int) -> None:
    """A directory cannot be brought to count beyond its numbers."""
    with pytest.raises(InvalidArgumentError, match="revisions begin above"):
        await directory.apply([new("a")], above=above)
