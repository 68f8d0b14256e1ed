"""The quota holds at every moment, whoever races; what nobody uses any more counts no longer."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from paglets.artifacts.local import LocalArtifactStore
from paglets.artifacts.store import ArtifactWrite
from paglets.errors import ExhaustedError
from tests.artifacts.support import (
    Clock,
    armed,
    assert_consistent,
    bytes_on_disk,
    opened,
    pieces,
    put,
    refused,
    settings,
)

SIZE = 50_000
ROOM = 5 * SIZE


async def data(number: int) -> AsyncIterator[bytes]:
    """Bytes of one writer in several pieces, others than those of the next."""
    for _ in range(5):
        yield bytes([number]) * (SIZE // 5)
        await asyncio.sleep(0)


async def race(store: LocalArtifactStore, root: Path, write: ArtifactWrite) -> tuple[int, list[ExhaustedError], int]:
    """16 writers at once: how many succeeded, the refusals, and the most bytes that were ever on disk."""
    most = 0

    def look(_name: str) -> None:
        nonlocal most
        most = max(most, bytes_on_disk(root))

    with armed(look):
        results = await asyncio.gather(
            *(store.create_from_chunks(write, data(number)) for number in range(16)), return_exceptions=True
        )
    errors = [result for result in results if isinstance(result, ExhaustedError)]
    others = [result for result in results if isinstance(result, Exception) and result not in errors]
    assert others == []
    return len(results) - len(errors), errors, most


async def test_declared_sizes(root: Path) -> None:
    """Of 16 writers for the room of five, five succeed; the others are refused before they send."""
    async with opened(root, bounds=settings(quota_bytes=ROOM)) as store:
        stored, errors, most = await race(store, root, ArtifactWrite(size_bytes=SIZE))
        assert (stored, most) == (5, ROOM)
        for error in errors:
            assert error.reason == "QUOTA_EXCEEDED"
            assert (error.metadata["limit_bytes"], error.metadata["requested_bytes"]) == (str(ROOM), str(SIZE))
            assert int(error.metadata["used_bytes"]) + int(error.metadata["reserved_bytes"]) > ROOM - SIZE
        assert (await store.usage()).host.used == ROOM
    assert_consistent(root)


async def test_undeclared_sizes(root: Path) -> None:
    """Writers who do not say how much will come never get above the quota either, and give back what they had."""
    async with opened(root, bounds=settings(quota_bytes=ROOM)) as store:
        stored, errors, most = await race(store, root, ArtifactWrite())
        assert stored <= 5
        assert most <= ROOM
        assert {error.reason for error in errors} == {"QUOTA_EXCEEDED"}
        usage = (await store.usage()).host
        assert (usage.used, usage.reserved) == (stored * SIZE, 0)
    assert_consistent(root)


async def test_unknown_size_fits_what_is_left(root: Path) -> None:
    """An artifact of unknown size needs no more room than it has bytes."""
    async with opened(root, bounds=settings(quota_bytes=100)) as store:
        for number in range(5):
            await put(store, bytes([number]) * 20)
        error = await refused(put(store, b"x"))
        assert error.metadata == {
            "subject": "host",
            "limit_bytes": "100",
            "used_bytes": "100",
            "reserved_bytes": "0",
            "requested_bytes": "1",
        }
    assert_consistent(root)


async def test_unknown_size_grows_in_steps(root: Path) -> None:
    """Reservations double up to the step, so that a large artifact asks seldom."""
    reserved: list[int] = []
    async with opened(root, bounds=settings(reserve_step_bytes=4000)) as store:
        async with await store.open_upload(ArtifactWrite()) as upload:
            for offset in range(0, 12_000, 500):
                await upload.write(offset, bytes(500))
                reserved.append((await store.usage()).host.reserved)
            await upload.finish()
        assert sorted(set(reserved)) == [500, 1000, 2000, 4000, 8000, 12_000]
    assert_consistent(root)


@pytest.mark.parametrize("quota", [0, -1])
async def test_no_room_at_all(root: Path, quota: int) -> None:
    """Where there is no room, artifacts without bytes fit still."""
    async with opened(root, bounds=settings(quota_bytes=quota)) as store:
        await put(store, b"")
        assert (await refused(put(store, b"x"))).reason == "QUOTA_EXCEEDED"


async def test_same_bytes_need_room_only_while_they_come(root: Path) -> None:
    """A second artifact of the same bytes counts nothing; its part does while it is received."""
    async with opened(root, bounds=settings(quota_bytes=250)) as store:
        await put(store, b"a" * 100)
        await put(store, b"a" * 100)
        assert (await store.usage()).host.used == 100
        async with await store.open_upload(ArtifactWrite()) as upload:
            await upload.write(0, b"a" * 100)
            assert (await store.usage()).host.reserved == 100
            assert (await refused(put(store, b"b" * 51))).reason == "QUOTA_EXCEEDED"
            await upload.finish()
        await put(store, b"b" * 150)
    assert_consistent(root)


async def test_the_same_bytes_together_stay_within_the_quota(root: Path) -> None:
    """Twins that finish at the same time are counted while both files exist."""
    async with opened(root, bounds=settings(quota_bytes=4 * SIZE)) as store:
        twin, most = os.urandom(SIZE), 0

        def look(_name: str) -> None:
            nonlocal most
            most = max(most, bytes_on_disk(root))

        with armed(look):
            results = await asyncio.gather(
                *(store.create_from_chunks(ArtifactWrite(), pieces(twin)) for _ in range(16)), return_exceptions=True
            )
        assert most <= 4 * SIZE
        assert len([result for result in results if not isinstance(result, BaseException)]) >= 4
        await store.sweep()
        assert (await store.usage()).host.used == SIZE
    assert_consistent(root)


async def test_what_has_expired_gives_its_room_up(root: Path, clock: Clock) -> None:
    """A full quota sweeps what has expired before it refuses."""
    async with opened(root, clock, settings(quota_bytes=100)) as store:
        await put(store, b"a" * 60, ttl_s=10)
        assert (await refused(put(store, b"b" * 60))).reason == "QUOTA_EXCEEDED"
        clock.now += 10
        await put(store, b"b" * 60)
    assert_consistent(root)
