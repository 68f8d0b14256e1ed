"""Many writers at once: of those that want the same change, one makes it."""

import asyncio

from paglets.directory.contract import Directory, PagletRow, RowWrite
from paglets.errors import AlreadyExistsError, ConflictError
from tests.directory.support import changed, departing, host, new, put

RACERS = 32


async def tried(directory: Directory, *writes: RowWrite) -> list[PagletRow]:
    """The rows written, none when another was first."""
    try:
        return await put(directory, *writes)
    except ConflictError:
        return []


async def race(directory: Directory, attempts: list[list[RowWrite]]) -> list[list[PagletRow]]:
    """Makes all attempts at once; what the winners wrote."""
    outcomes = await asyncio.gather(*(tried(directory, *writes) for writes in attempts))
    return [rows for rows in outcomes if rows]


async def test_one_insert_wins(directory: Directory) -> None:
    """Of many hosts that make a paglet of one id, one does."""
    winners = await race(directory, [[new("cart", f"host-{number}")] for number in range(RACERS)])
    assert len(winners) == 1
    assert [await directory.get("cart")] == winners[0]


async def test_one_change_of_an_epoch_wins(directory: Directory) -> None:
    """Commit, abort and all others that saw the same row: one of them changes it."""
    (row,) = await put(directory, new("cart"))
    (frozen,) = await put(directory, departing(row, "x-1", "beta"))
    abort = changed(frozen, intent=None, epoch=frozen.epoch + 1)
    commit = changed(frozen, intent=None, epoch=frozen.epoch + 1, owner="beta")
    winners = await race(directory, [[abort], [commit]] * (RACERS // 2))
    assert len(winners) == 1
    assert [await directory.get("cart")] == winners[0]


async def test_batches_that_overlap_do_not_mix(directory: Directory) -> None:
    """Batches over the same rows, in any order, are made whole or not at all."""
    rows = await put(directory, *(new(f"cart-{number}") for number in range(8)))
    attempts = [
        [changed(row, error=f"batch {number}") for row in (rows if number % 2 else reversed(rows))]
        for number in range(RACERS)
    ]
    # A change of `error` alone keeps the epoch, so each batch may follow another; none may be half there.
    assert len(await race(directory, attempts)) == RACERS
    assert len({row.error for row in await directory.list()}) == 1
    raising = [[changed(row, error=f"last {number}", epoch=row.epoch + 1) for row in rows] for number in range(RACERS)]
    (winner,) = await race(directory, raising)
    assert list(await directory.list()) == winner


async def test_counting_by_compare_and_swap_loses_nothing(directory: Directory) -> None:
    """Writers that read, raise and try again until they win make exactly as many changes as there are writers."""
    (row,) = await put(directory, new("cart"))

    async def raise_once() -> None:
        while True:
            found = await directory.get("cart")
            assert found is not None
            if await tried(directory, changed(found, epoch=found.epoch + 1)):
                return

    await asyncio.gather(*(raise_once() for _ in range(12)))
    found = await directory.get("cart")
    assert found is not None
    assert found.epoch == row.epoch + 12


async def test_one_folder_gets_the_name(directory: Directory) -> None:
    """Of many new hosts of one name, one registers."""

    async def register(uid: str) -> bool:
        try:
            await directory.lease_register(host("alpha", uid), 10)
        except AlreadyExistsError:
            return False
        return True

    assert sum(await asyncio.gather(*(register(f"uid-{number}") for number in range(RACERS)))) == 1
