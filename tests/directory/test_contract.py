"""What every directory promises of rows and journeys."""

import pytest

from paglets.directory.contract import Directory, Guard, Intent, JourneyRecord, PagletRow, PagletState, RowWrite
from paglets.errors import ConflictError, InvalidArgumentError
from tests.directory.support import Clock, changed, departing, disposed, new, put


async def everything(directory: Directory) -> list[PagletRow]:
    """All live rows."""
    return list(await directory.list())


async def test_unknown_paglet_has_no_row(directory: Directory) -> None:
    """An id that was never used is None, not an error."""
    assert await directory.get("nobody") is None


async def test_insert_sets_epoch_revision_and_time(directory: Directory, clock: Clock) -> None:
    """The directory, not the writer, says when a row was made and where its epoch begins."""
    write = RowWrite(
        Guard("cart-1", absent=True),
        PagletRow(
            paglet_id="cart-1",
            type="shop.Cart",
            owner="alpha",
            state=PagletState.ARRIVING,
            epoch=99,
            intent=Intent("x-1", "beta"),
            revision=77,
            request_id="3f0c",
            fingerprint=b"\x00\xff",
            created_at=5.0,
            error="none yet",
        ),
        "create",
    )
    _, row = await put(directory, new("cart-0"), write)
    assert (row.epoch, row.revision, row.created_at) == (2, 2, clock.now)
    assert (row.intent, row.request_id, row.fingerprint) == (Intent("x-1", "beta"), "3f0c", b"\x00\xff")
    assert (row.type, row.owner, row.state, row.error) == ("shop.Cart", "alpha", PagletState.ARRIVING, "none yet")
    assert await directory.get("cart-1") == row


async def test_update_keeps_creation_and_takes_a_new_revision(directory: Directory, clock: Clock) -> None:
    """A change is seen by its revision; when the paglet was created stays as it was."""
    (row,) = await put(directory, new("cart"))
    clock.now += 60
    (after,) = await put(directory, changed(row, state=PagletState.FAILED, created_at=1.0, revision=0, error="no"))
    assert (after.created_at, after.epoch, after.revision) == (row.created_at, row.epoch, row.revision + 1)
    assert (await directory.get("cart")) == after


async def test_long_errors_are_cut(directory: Directory) -> None:
    """Why a paglet failed is for people, and never makes a row that cannot be written or sent."""
    (row,) = await put(directory, new("cart"))
    (after,) = await put(directory, changed(row, state=PagletState.FAILED, error="é" * 100_000))
    assert after.error == "é" * 500


@pytest.mark.parametrize(
    "guard",
    [
        pytest.param(Guard("cart", absent=True), id="not-absent"),
        pytest.param(Guard("cart", "beta", 1), id="owner"),
        pytest.param(Guard("cart", "alpha", 2), id="later-epoch"),
        pytest.param(Guard("cart", "alpha", 0), id="earlier-epoch"),
        pytest.param(Guard("cart", "alpha", 1, "x-1"), id="intent"),
        pytest.param(Guard("other", "alpha", 1), id="no-row"),
    ],
)
async def test_guard_that_does_not_hold_changes_nothing(directory: Directory, guard: Guard) -> None:
    """A wrong owner, epoch, intent or existence fences the write, and the error names the paglet."""
    (row,) = await put(directory, new("cart"))
    write = RowWrite(
        guard,
        PagletRow(
            paglet_id=guard.paglet_id,
            type="shop.Cart",
            owner="gamma",
            state=PagletState.ACTIVE,
            epoch=guard.epoch + 1,
        ),
        "change",
    )
    with pytest.raises(ConflictError) as caught:
        await directory.apply([write])
    assert caught.value.reason == "EPOCH_FENCED"
    assert caught.value.metadata == {"paglet_id": guard.paglet_id}
    assert await everything(directory) == [row]


async def test_guard_wants_the_very_intent(directory: Directory) -> None:
    """A row with an intent is changed by its own transfer alone."""
    (row,) = await put(directory, new("cart"))
    (frozen,) = await put(directory, departing(row, "x-1", "beta"))
    for transfer_id in ("", "x-2"):
        guard = Guard("cart", "alpha", row.epoch, transfer_id)
        with pytest.raises(ConflictError):
            await directory.apply([RowWrite(guard, changed(frozen, intent=None, epoch=frozen.epoch + 1).row, "commit")])
    (moved,) = await put(directory, changed(frozen, owner="beta", intent=None, epoch=frozen.epoch + 1))
    assert (moved.owner, moved.epoch, moved.intent) == ("beta", row.epoch + 1, None)


async def test_batch_is_all_or_nothing(directory: Directory) -> None:
    """One guard that does not hold keeps all other writes, journeys and forgets of the batch from being made."""
    (cart,) = await put(directory, new("cart"))
    journey = JourneyRecord(
        transfer_id="x-1", paglet_id="cart", source="alpha", target="beta", state=PagletState.ARRIVING
    )
    await directory.apply([], journeys=[journey])
    writes = [new("till"), changed(cart, error="changed"), new("cart"), new("last")]
    other = JourneyRecord(
        transfer_id="x-2", paglet_id="cart", source="alpha", target="beta", state=PagletState.ARRIVING
    )
    with pytest.raises(ConflictError) as caught:
        await directory.apply(writes, journeys=[other], forget=["x-1"])
    assert caught.value.metadata == {"paglet_id": "cart"}
    assert await everything(directory) == [cart]
    assert await directory.journey("x-1") == journey
    assert await directory.journey("x-2") is None
    assert (await put(directory, new("next")))[0].revision == cart.revision + 1


async def test_batch_is_made_in_order(directory: Directory) -> None:
    """Each guard sees the writes before it, and the rows come back as the writes were given."""
    first = new("cart").row
    second = changed(
        PagletRow(paglet_id="cart", type="shop.Cart", owner="alpha", state=first.state, epoch=1), error="2"
    )
    rows = await put(directory, new("cart"), second, new("till"))
    assert [(row.paglet_id, row.revision, row.error) for row in rows] == [
        ("cart", 1, ""),
        ("cart", 2, "2"),
        ("till", 3, ""),
    ]


async def test_tombstone_is_read_but_not_listed(directory: Directory) -> None:
    """A disposed paglet keeps its row for those who ask for it by id."""
    (row,) = await put(directory, new("cart"))
    (gone,) = await put(directory, disposed(row))
    assert await directory.get("cart") == gone
    assert await everything(directory) == []


async def test_tombstone_does_not_come_back_to_life(directory: Directory) -> None:
    """Only an insert makes a disposed id live again, whatever a late writer believes."""
    (row,) = await put(directory, new("cart"))
    (gone,) = await put(directory, disposed(row))
    for write in (changed(row), changed(gone, state=PagletState.ACTIVE), disposed(gone)):
        with pytest.raises(ConflictError):
            await directory.apply([write])
    assert await directory.get("cart") == gone


async def test_insert_that_comes_late_does_not_begin_another_life(directory: Directory) -> None:
    """An insert without an answer may come after the paglet that it made has ended; it names what it saw."""
    (row,) = await put(directory, new("cart"))
    (gone,) = await put(directory, disposed(row))
    (again,) = await put(directory, new("cart", after=gone))
    (gone_again,) = await put(directory, disposed(again))
    for write in (new("cart"), new("cart", after=gone), new("never", after=gone)):
        with pytest.raises(ConflictError):
            await directory.apply([write])
    assert await directory.get("cart") == gone_again


async def test_id_used_again_gets_a_higher_epoch(directory: Directory, clock: Clock) -> None:
    """An epoch of an earlier life never fits the next one, however often the earlier one's epoch was raised."""
    (row,) = await put(directory, new("cart"))
    for _ in range(5):
        (row,) = await put(directory, changed(row, epoch=row.epoch + 1))
    (gone,) = await put(directory, disposed(row))
    clock.now += 60
    (again,) = await put(directory, new("cart", after=gone))
    assert again.epoch > row.epoch
    assert (again.epoch, again.created_at) == (again.revision, clock.now)
    with pytest.raises(ConflictError):
        await directory.apply([changed(row, error="late")])


async def test_list_pages_in_the_order_of_ids(directory: Directory) -> None:
    """Pages put together are all rows, once each, in order."""
    ids = [f"cart-{number:02}" for number in range(25)]
    await put(directory, *(new(paglet_id) for paglet_id in reversed(ids)))
    pages: list[list[str]] = []
    while not pages or len(pages[-1]) == 10:
        rows = await directory.list(after=pages[-1][-1] if pages else "", limit=10)
        pages.append([row.paglet_id for row in rows])
    assert pages == [ids[:10], ids[10:20], ids[20:]]


async def test_list_by_owner_and_type(directory: Directory) -> None:
    """Both filters hold together, and tombstones count for neither."""
    rows = await put(
        directory,
        new("a", "alpha", "shop.Cart"),
        new("b", "beta", "shop.Cart"),
        new("c", "beta", "shop.Till"),
        new("d", "beta", "shop.Cart"),
        new("e", "beta", "shop.Cart"),
    )
    await put(directory, disposed(rows[3]))
    assert [row.paglet_id for row in await directory.list(owner="beta")] == ["b", "c", "e"]
    assert [row.paglet_id for row in await directory.list(type_name="shop.Cart")] == ["a", "b", "e"]
    assert [row.paglet_id for row in await directory.list(owner="beta", type_name="shop.Cart")] == ["b", "e"]
    assert [row.paglet_id for row in await directory.list(owner="beta", type_name="shop.Cart", after="b")] == ["e"]
    assert await directory.list(owner="nobody") == []


@pytest.mark.parametrize("limit", [-1, 0, 1001])
async def test_page_of_no_size_is_refused(directory: Directory, limit: int) -> None:
    """A page holds 1 to 1000 rows."""
    with pytest.raises(InvalidArgumentError) as caught:
        await directory.list(limit=limit)
    assert (caught.value.reason, caught.value.field) == ("MALFORMED_REQUEST", "page_size")


@pytest.mark.slow
async def test_largest_batch_and_page_pass(directory: Directory) -> None:
    """A thousand of the largest rows go in and out at once."""
    writes = [
        RowWrite(
            Guard(f"{number:0>128}", absent=True),
            PagletRow(
                paglet_id=f"{number:0>128}",
                type="m" * 256,
                owner="a" * 128,
                state=PagletState.FAILED,
                intent=Intent("x" * 128, "b" * 128),
                request_id="r" * 128,
                fingerprint=b"f" * 64,
                error="\N{GRINNING FACE}" * 500,
            ),
            "create",
        )
        for number in range(1000)
    ]
    written = await put(directory, *writes)
    assert await everything(directory) == written
    assert len(written) == 1000
    with pytest.raises(InvalidArgumentError):
        await directory.apply([*writes, new("one-more")])


async def test_journey_is_kept_until_it_is_forgotten(directory: Directory) -> None:
    """The outcome of a move can be read, changed, and goes with the batch that forgets it."""
    (row,) = await put(directory, new("cart"))
    record = JourneyRecord(
        transfer_id="x-1", paglet_id="cart", source="alpha", target="beta", state=PagletState.ARRIVING
    )
    assert await directory.journey("x-1") is None
    await directory.apply([changed(row, error="with it")], journeys=[record])
    assert await directory.journey("x-1") == record
    failed = JourneyRecord(
        transfer_id="x-1",
        paglet_id="cart",
        source="alpha",
        target="beta",
        state=PagletState.FAILED,
        status=b"\x08\x05\xff",
    )
    await directory.apply([], journeys=[failed])
    assert await directory.journey("x-1") == failed
    await directory.apply([], forget=["x-1", "x-unknown"])
    assert await directory.journey("x-1") is None
    await directory.apply([], journeys=[failed])
    assert await directory.journey("x-1") is None, "an outcome told again brings back what was forgotten"


def _refused() -> list[object]:
    row = PagletRow(paglet_id="cart", type="shop.Cart", owner="alpha", state=PagletState.ACTIVE, epoch=1)
    frozen = PagletRow(
        paglet_id="cart",
        type="shop.Cart",
        owner="alpha",
        state=PagletState.DEPARTING,
        epoch=1,
        intent=Intent("x-1", "beta"),
    )
    return [
        pytest.param(changed(row, epoch=0), id="epoch-falls"),
        pytest.param(changed(row, epoch=3), id="epoch-jumps"),
        pytest.param(changed(row, owner="beta"), id="owner-without-epoch"),
        pytest.param(changed(frozen, intent=None), id="abort-without-epoch"),
        pytest.param(changed(frozen, intent=Intent("x-2", "beta")), id="other-intent-without-epoch"),
        pytest.param(RowWrite(Guard("till", absent=True), row, "create"), id="guard-on-another"),
        pytest.param(changed(row, owner=""), id="no-owner"),
        pytest.param(new("Cart"), id="bad-id"),
        pytest.param(changed(row, type=""), id="no-type"),
        pytest.param(changed(row, intent=Intent("x-1", "")), id="intent-without-target"),
        pytest.param(changed(row, cause=""), id="no-cause"),
        pytest.param(changed(row, cause="Two words"), id="cause-of-two-words"),
    ]


@pytest.mark.parametrize("write", _refused())
async def test_write_that_breaks_a_rule_is_refused(directory: Directory, write: RowWrite) -> None:
    """What no host may ever write is refused, whether or not its guard would hold."""
    with pytest.raises(InvalidArgumentError):
        await directory.apply([write])
