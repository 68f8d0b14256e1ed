"""What has expired is gone at that moment, and its bytes soon after, without anybody asking."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from paglets.artifacts import catalogue
from paglets.artifacts.local import LocalArtifactStore
from paglets.artifacts.steps import Step
from paglets.artifacts.store import ArtifactWrite, WriteOutcome
from paglets.digest import Digest
from tests.artifacts.support import (
    Clock,
    armed,
    assert_consistent,
    bytes_on_disk,
    cancel_all,
    eventually,
    is_empty,
    opened,
    pieces,
    put,
    read_all,
    refused,
)


async def test_expired_is_not_found(local: LocalArtifactStore, clock: Clock) -> None:
    """Up to its time an artifact is there; from then on it is nowhere, swept or not."""
    artifact_id = await put(local, b"short", ttl_s=10)
    path = await local.blob_path(artifact_id)
    clock.now += 9.999
    assert await read_all(local, artifact_id) == b"short"
    clock.now += 0.001
    for call in (local.ref(artifact_id), read_all(local, artifact_id), local.blob_path(artifact_id)):
        assert (await refused(call)).reason == "ARTIFACT_NOT_FOUND"
    assert (await local.list()).refs == ()
    assert not await local.delete(artifact_id)
    await local.sweep()
    assert not path.exists()


async def test_expired_bytes_are_nobodys_any_more(local: LocalArtifactStore, clock: Clock) -> None:
    """Whoever names their digest has to send them, though they are on the disk until they are swept."""
    write = ArtifactWrite(expected_digest=Digest.of(b"bytes"))
    await put(local, b"bytes", ttl_s=10.0)
    for wanted in (True, False):
        async with await local.open_upload(write) as upload:
            assert upload.is_complete is wanted
        clock.now += 10.0
    await cancel_all(local)


async def test_expired_id_can_be_used_again(local: LocalArtifactStore, clock: Clock, root: Path) -> None:
    """The id of an expired artifact is free before any sweep."""
    await put(local, b"old", artifact_id="a", ttl_s=10)
    assert (await refused(put(local, b"new", artifact_id="a"))).reason == "ARTIFACT_EXISTS"
    clock.now += 10
    await put(local, b"new", artifact_id="a")
    assert await read_all(local, "a") == b"new"
    await local.sweep()
    assert_consistent(root)


async def test_sweep_in_batches(
    local: LocalArtifactStore, clock: Clock, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sweep takes all that is due, in as many batches as it needs, and only that."""
    monkeypatch.setattr(catalogue, "SWEEP_BATCH", 10)
    await asyncio.gather(*(put(local, b"shared by some", ttl_s=5) for _ in range(12)))
    await asyncio.gather(*(put(local, bytes([number]), ttl_s=5) for number in range(13)))
    kept = await put(local, b"kept", ttl_s=6)
    clock.now += 5
    batches: list[str] = []
    with armed(batches.append):
        await local.sweep()
    assert batches.count(Step.EXPIRE_AFTER) == 3
    assert [ref.artifact_id for ref in (await local.list()).refs] == [kept]
    assert bytes_on_disk(root) == 4
    assert_consistent(root)


async def test_sweeps_by_itself(root: Path) -> None:
    """The next expiry wakes the store by the real clock."""
    async with opened(root) as store:
        artifact_id = await put(store, b"brief", ttl_s=0.05)
        began = time.monotonic()

        async def gone() -> bool:
            return (await store.usage()).host.used == 0

        await eventually(gone)
        assert time.monotonic() - began < 5
        assert (await refused(store.ref(artifact_id))).reason == "ARTIFACT_NOT_FOUND"
    assert_consistent(root)


async def test_an_earlier_expiry_wakes_a_sleeping_store(root: Path) -> None:
    """A store that sleeps until tomorrow notices an artifact that expires at once."""
    async with opened(root) as store:
        await put(store, b"tomorrow", ttl_s=86_400)
        await put(store, b"now", ttl_s=0.05)

        async def only_tomorrow() -> bool:
            return bytes_on_disk(root) == len(b"tomorrow")

        await eventually(only_tomorrow)


async def test_expired_while_closed(root: Path, clock: Clock) -> None:
    """What expired while no store was open is swept at the next start."""
    async with opened(root, clock) as store:
        await put(store, b"short", ttl_s=10)
    clock.now += 11
    async with opened(root, clock) as store:
        assert (await store.usage()).host.used == 0
    assert is_empty(root)
    assert_consistent(root)


async def test_finished_uploads_are_remembered_for_a_day(local: LocalArtifactStore, clock: Clock) -> None:
    """An upload can be repeated for a day; after that its id is free."""
    write = ArtifactWrite(upload_id="u")
    first = await local.create_from_chunks(write, pieces(b"x"))
    clock.now += 24 * 3600 - 1
    await local.sweep()
    again = await local.create_from_chunks(write, pieces(b"x"))
    assert (again.outcome, again.ref) == (WriteOutcome.ALREADY_COMMITTED, first.ref)
    clock.now += 1
    await local.sweep()
    later = await local.create_from_chunks(write, pieces(b"y"))
    assert later.outcome is WriteOutcome.COMMITTED
    assert later.ref.artifact_id != first.ref.artifact_id
