"""Rotten bytes are found without anybody asking, and whoever uses the store does not notice the search."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import sqlite3
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from paglets.artifacts.proofs import due_blobs
from paglets.artifacts.rooms import StoreRooms, open_rooms
from paglets.artifacts.scrubber import Pace, Scrubber
from paglets.artifacts.store import ArtifactWrite, WriteOutcome
from paglets.errors import DataLossError
from tests.artifacts.support import (
    PATIENCE_S,
    Clock,
    assert_consistent,
    eventually,
    opened,
    pieces,
    put,
    read_all,
    refused,
    settings,
)

MIB = 1024 * 1024
WEEK_S = 7 * 24 * 3600.0
DATA = bytes(range(256)) * 10_000


def flip(path: Path) -> None:
    """One bit is wrong."""
    with path.open("r+b") as file:
        file.seek(len(DATA) // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))


def cut(path: Path) -> None:
    """The end is missing."""
    os.truncate(path, len(DATA) - 1)


def lengthen(path: Path) -> None:
    """There is too much."""
    with path.open("ab") as file:
        file.write(b"x")


@asynccontextmanager
async def scrubbed(root: Path, clock: Clock, pace: Pace | None = None) -> AsyncGenerator[tuple[StoreRooms, Scrubber]]:
    """A store's rooms, and a scrubber of them that has not begun."""
    async with open_rooms(root, "alpha", settings(scrub_bytes_per_s=None), clock) as rooms:
        made_of = (rooms.ledger, rooms.catalogue, rooms.stored, rooms.disk)
        pace = pace or Pace(1024.0**3)
        yield rooms, Scrubber(*made_of, pace=pace, period_s=WEEK_S, clock=rooms.clock)


async def verified_at(rooms: StoreRooms, artifact_id: str) -> float | None:
    """When the artifact's bytes were last found right; None for ones that are known to be wrong."""
    found = await rooms.catalogue.find(artifact_id)
    assert found is not None
    return None if found.ref.corrupt else found.ref.verified_at


@pytest.mark.parametrize("damage", [flip, cut, lengthen, Path.unlink])
async def test_rot_is_found_unasked(
    root: Path, clock: Clock, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    """A store that is opened, and asked nothing, finds damaged bytes; readers are refused before it opens the file."""
    async with opened(root, clock) as store:
        rotten, sound = await put(store, DATA), await put(store, b"sound")
        path = await store.blob_path(rotten)
        damage(path)
    clock.now += WEEK_S + 1
    async with opened(root, clock) as store:

        async def found() -> bool:
            return (await store.ref(rotten)).corrupt and (await store.ref(sound)).verified_at == clock.now

        await eventually(found)
        assert (await store.ref(rotten)).verified_at == clock.now - WEEK_S - 1
        path.unlink(missing_ok=True)
        for offset in (0, 5):
            assert isinstance(await refused(read_all(store, rotten, offset=offset)), DataLossError)
        assert await read_all(store, sound) == b"sound"
    assert [path.name in record.message for record in caplog.records if record.levelno == logging.ERROR] == [True]


async def test_rot_is_kept_until_it_is_healed(root: Path, clock: Clock) -> None:
    """Quarantined bytes stay on disk; the same bytes sent again heal all who point to them, and are proven anew."""
    async with opened(root, clock) as store:
        first, second = await put(store, DATA), await put(store, DATA)
        path = await store.blob_path(first)
        flip(path)
    clock.now += WEEK_S + 1
    async with opened(root, clock) as store:

        async def found() -> bool:
            return (await store.ref(second)).corrupt

        await eventually(found)
        assert path.exists()
        result = await store.create_from_chunks(ArtifactWrite(), pieces(DATA))
        assert result.outcome is WriteOutcome.COMMITTED
        for artifact_id in (first, second, result.ref.artifact_id):
            assert await read_all(store, artifact_id) == DATA
            ref = await store.ref(artifact_id)
            assert (ref.corrupt, ref.verified_at) == (False, clock.now)
        await store.sweep()
        assert not path.exists()
    assert_consistent(root)


async def test_what_was_proven_lately_is_left_alone(root: Path, clock: Clock) -> None:
    """A blob is re-read once in the period, not more often; the longest unproven comes first."""
    async with opened(root, clock) as store:
        old = await put(store, b"old")
        clock.now += WEEK_S - 1
        new = await put(store, b"new")
        path = await store.blob_path(new)
        path.chmod(0o600)
        path.write_bytes(b"wen")
    clock.now += 2
    async with scrubbed(root, clock) as (rooms, scrubber):
        due = await rooms.ledger.read(lambda rows: due_blobs(rows, clock.now, None, 10))
        assert [one.verified_at for one in due] == [clock.now - WEEK_S - 1, clock.now - 2]
        await scrubber.round()
        assert await verified_at(rooms, old) == clock.now
        assert await verified_at(rooms, new) == clock.now - 2
        clock.now += WEEK_S
        await scrubber.round()
        assert await verified_at(rooms, new) is None


@pytest.mark.slow
async def test_many_blobs(root: Path, clock: Clock) -> None:
    """A round reaches every blob, also when there are more than it looks up at once, and finds the index for it."""
    async with opened(root, clock) as store:
        ids = [await put(store, bytes([number, 7])) for number in range(70)]
    clock.now += WEEK_S + 1
    async with scrubbed(root, clock) as (rooms, scrubber):
        await scrubber.round()
        assert {await verified_at(rooms, artifact_id) for artifact_id in ids} == {clock.now}
        query = "SELECT digest FROM blobs WHERE NOT corrupt AND last_verified_at <= 1 ORDER BY last_verified_at LIMIT 9"
        plan = await rooms.ledger.read(lambda rows: rows.execute(f"EXPLAIN QUERY PLAN {query}").fetchall())
        assert "blobs_by_proof" in plan[0]["detail"]
        assert len(plan) == 1  # nothing is sorted


async def test_what_cannot_be_opened_is_no_rot(root: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trouble of the machine says nothing of the bytes, and keeps nobody from re-reading the others."""
    async with opened(root, clock) as store:
        ids = [await put(store, bytes([number])) for number in range(3)]
        path = await store.blob_path(ids[0])
    clock.now += WEEK_S + 1
    real = os.open

    def failing(name: Path, flags: int, mode: int = 0o777) -> int:
        if name == path:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return real(name, flags, mode)

    monkeypatch.setattr(os, "open", failing)
    async with scrubbed(root, clock) as (rooms, scrubber):
        await scrubber.round()
        times = [await verified_at(rooms, artifact_id) for artifact_id in ids]
        assert times == [clock.now - WEEK_S - 1, clock.now, clock.now]


async def test_bytes_that_the_disk_cannot_read_are_rot(
    root: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that no longer reads a blob has lost it."""
    async with opened(root, clock) as store:
        artifact_id = await put(store, DATA)
    clock.now += WEEK_S + 1

    def failing(_descriptor: int, _size: int, _offset: int) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "pread", failing)
    async with scrubbed(root, clock) as (rooms, scrubber):
        await scrubber.round()
        assert await verified_at(rooms, artifact_id) is None


class Busy(Pace):
    """A pace at which something happens before the first blob is read."""

    def __init__(self, happens: Callable[[], Awaitable[None]]) -> None:
        super().__init__(1024.0**3)
        self._happens: list[Callable[[], Awaitable[None]]] = [happens]

    async def spend(self, size_bytes: int) -> None:
        """Lets it happen, once."""
        while self._happens:
            await self._happens.pop()()
        await super().spend(size_bytes)


async def test_what_is_deleted_meanwhile_is_no_rot(root: Path, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """Blobs that go away when they were about to be re-read are passed over in silence."""
    async with opened(root, clock) as store:
        ids = [await put(store, bytes([number])) for number in range(3)]
    clock.now += WEEK_S + 1

    async def delete_most() -> None:
        for artifact_id in ids[1:]:
            removal = await rooms.catalogue.remove(artifact_id)
            await rooms.janitor.reap(removal.blobs)

    async with scrubbed(root, clock, Busy(delete_most)) as (rooms, scrubber):
        await scrubber.round()
        assert await verified_at(rooms, ids[0]) == clock.now
        assert await rooms.catalogue.find(ids[1]) is None
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_pace(root: Path, clock: Clock) -> None:
    """No more is read in a time than may be, and the event loop is free meanwhile."""
    async with opened(root, clock) as store:
        await put(store, bytes(2 * MIB))
    clock.now += WEEK_S + 1
    loop = asyncio.get_running_loop()
    async with scrubbed(root, clock, Pace(8.0 * MIB)) as (_, scrubber):
        began = loop.time()
        await scrubber.round()
        assert loop.time() - began >= 0.25


async def test_closing_does_not_wait_for_it(root: Path, clock: Clock) -> None:
    """A store that is closed in the middle of a slow search is closed at once; the search begins anew the next time."""
    async with opened(root, clock) as store:
        artifact_id = await put(store, DATA)
    clock.now += WEEK_S + 1
    async with asyncio.timeout(PATIENCE_S):
        async with opened(root, clock, settings(scrub_bytes_per_s=1.0)) as store:
            assert await read_all(store, artifact_id) == DATA
    async with scrubbed(root, clock) as (rooms, scrubber):
        assert await verified_at(rooms, artifact_id) == clock.now - WEEK_S - 1
        await scrubber.round()
        assert await verified_at(rooms, artifact_id) == clock.now


async def test_off(root: Path, clock: Clock) -> None:
    """Without a rate nothing is re-read."""
    async with opened(root, clock) as store:
        await put(store, DATA)
    clock.now += WEEK_S + 1
    async with opened(root, clock, settings(scrub_bytes_per_s=None)):
        names = {task.get_name() for task in asyncio.all_tasks()}
    assert "artifact janitor" in names
    assert "artifact scrubber" not in names


def is_cached(path: Path) -> bool:
    """Whether the first byte of a file is in memory. Skips the test where that cannot be told."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.preadv(descriptor, [bytearray(1)], 0, os.RWF_NOWAIT) == 1
    except BlockingIOError:
        return False
    except OSError as error:
        pytest.skip(f"this file system does not tell: {error}")
    finally:
        os.close(descriptor)


@pytest.fixture
def on_disk() -> Iterator[Path]:
    """A folder where files that last are, for a test of what the system caches of a disk."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        yield Path(folder) / "store"


async def test_page_cache_is_left_to_others(on_disk: Path, clock: Clock) -> None:
    """What was re-read does not stay in memory."""
    async with opened(on_disk, clock) as store:
        path = await store.blob_path(await put(store, DATA))
    path.read_bytes()
    if not is_cached(path):
        pytest.skip("this file system caches nothing")
    clock.now += WEEK_S + 1
    async with scrubbed(on_disk, clock) as (_, scrubber):
        await scrubber.round()
    assert not is_cached(path)


async def test_a_proof_that_cannot_be_noted(root: Path, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """A proof that cannot be noted is made again later; the store works on."""
    async with opened(root, clock) as store:
        artifact_id = await put(store, DATA)
    clock.now += WEEK_S + 1
    with sqlite3.connect(root / "artifacts.db") as rows:
        rows.execute("CREATE TRIGGER full BEFORE UPDATE ON blobs BEGIN SELECT RAISE(ABORT, 'no'); END")
    rows.close()
    async with opened(root, clock) as store:

        async def told() -> bool:
            return any("could not note" in record.message for record in caplog.records)

        await eventually(told)
        assert await read_all(store, artifact_id) == DATA
