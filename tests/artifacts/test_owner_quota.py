"""What each owner may have: all his artifacts count, whoever shares their bytes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from paglets.artifacts.local import LocalArtifactStore
from paglets.artifacts.store import ArtifactWrite, Usage, WriteOutcome
from paglets.config import StoreSettings
from paglets.digest import Digest
from paglets.errors import ExhaustedError
from tests.artifacts.support import Clock, assert_consistent, cancel_all, opened, pieces, put, refused

LIMIT = 100


@pytest.fixture
async def store(root: Path, clock: Clock) -> AsyncIterator[LocalArtifactStore]:
    """A store in which each owner may have a hundred bytes."""
    bounds = StoreSettings(owner_quota_bytes=LIMIT, quota_bytes=1000, min_free_bytes=0)
    async with opened(root, clock, bounds) as store:
        yield store
    assert_consistent(root)


async def give(store: LocalArtifactStore, owner: str, data: bytes, *, told: bool = False) -> WriteOutcome:
    """Stores bytes for somebody, whose digest is told first or not."""
    write = ArtifactWrite(owner=owner, expected_digest=Digest.of(data) if told else None, ttl_s=10)
    return (await store.create_from_chunks(write, pieces(data))).outcome


async def taken(store: LocalArtifactStore, owner: str) -> tuple[int, int]:
    """What an owner uses and has reserved."""
    (usage,) = (await store.usage(owner=owner)).owners
    return usage.used, usage.reserved


async def test_each_owner_has_his_own(store: LocalArtifactStore) -> None:
    """One who has all he may is refused in numbers, while others, and those without an owner, are not."""
    await give(store, "ann", b"a" * 60)
    error = await refused(give(store, "ann", b"b" * 41))
    assert (type(error), error.reason) == (ExhaustedError, "QUOTA_EXCEEDED")
    assert error.metadata == {
        "subject": "owner:ann",
        "limit_bytes": "100",
        "used_bytes": "60",
        "reserved_bytes": "0",
        "requested_bytes": "41",
    }
    await give(store, "ann", b"b" * 40)
    await give(store, "bob", b"c" * 100)
    await put(store, b"d" * 300)
    assert (await store.usage()).owners == (
        Usage(owner="ann", limit=LIMIT, used=100, reserved=0),
        Usage(owner="bob", limit=LIMIT, used=100, reserved=0),
    )


@pytest.mark.parametrize("told", [False, True])
async def test_shared_bytes_count_for_each(store: LocalArtifactStore, *, told: bool) -> None:
    """Bytes that are stored once count once for the host, and for every artifact of an owner."""
    await give(store, "ann", b"a" * 40)
    assert await give(store, "ann", b"a" * 40, told=told) is WriteOutcome.DEDUPLICATED
    assert await give(store, "bob", b"a" * 40, told=told) is WriteOutcome.COMMITTED
    await store.sweep()
    assert (await store.usage()).host.used == 40
    assert (await taken(store, "ann"), await taken(store, "bob")) == ((80, 0), (40, 0))
    assert (await refused(give(store, "ann", b"a" * 40, told=told))).reason == "QUOTA_EXCEEDED"
    assert await taken(store, "ann") == (80, 0)


async def test_what_is_reserved_counts(store: LocalArtifactStore) -> None:
    """An upload counts from its first byte, a partial until it is dropped, and one of unknown size by what it has."""
    async with await store.open_upload(ArtifactWrite(upload_id="u", owner="ann", size_bytes=70)) as upload:
        assert await taken(store, "ann") == (0, 70)
        await upload.write(0, b"x" * 10)
        assert (await refused(give(store, "ann", b"b" * 31))).reason == "QUOTA_EXCEEDED"
    assert await taken(store, "ann") == (0, 70)
    async with await store.open_upload(ArtifactWrite(upload_id="v", owner="ann")) as upload:
        await upload.write(0, b"x" * 20)
        assert (await refused(upload.write(20, b"x" * 11))).metadata["subject"] == "owner:ann"
        await upload.write(20, b"x" * 10)
    assert await taken(store, "ann") == (0, 100)
    await cancel_all(store)
    assert (await store.usage()).owners == ()


async def test_what_goes_counts_no_more(store: LocalArtifactStore, clock: Clock) -> None:
    """Deleted, expired, or gone with its owner: his room is free again."""
    write = ArtifactWrite(artifact_id="a", owner="ann")
    await store.create_from_chunks(write, pieces(b"a" * 50))
    await give(store, "ann", b"b" * 50)
    await store.delete("a")
    assert await taken(store, "ann") == (50, 0)
    clock.now += 11
    await give(store, "ann", b"c" * 100)
    assert await taken(store, "ann") == (100, 0)


async def test_pages_of_owners(store: LocalArtifactStore) -> None:
    """Owners come in their order, page by page; one who has nothing is told so by name only."""
    for name in ("o1", "o2", "o3", "o-4"):
        await give(store, name, name.encode())
    first = await store.usage(page_size=3)
    rest = await store.usage(page_size=3, page_token=first.next_token)
    assert [usage.owner for usage in (*first.owners, *rest.owners)] == ["o-4", "o1", "o2", "o3"]
    assert rest.next_token == ""
    assert await taken(store, "nobody") == (0, 0)
    assert first.host == Usage(limit=1000, used=9, reserved=0)
    assert first.disk_free > 0
