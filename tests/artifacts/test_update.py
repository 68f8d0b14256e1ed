"""What is known of an artifact changes, its bytes never: the promises of `update`, and of etags, by every store."""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import replace
from pathlib import Path

import pytest

from paglet.v1 import artifact_pb2
from paglets.artifacts.local import LocalArtifactStore
from paglets.artifacts.store import ArtifactChanges, ArtifactStore, ArtifactWrite
from paglets.errors import ConflictError, InvalidArgumentError, NotFoundError, PagletError, Resource
from paglets.services.artifact import ArtifactServicer
from paglets.services.guard import ServerContext
from paglets.values import ArtifactRef, OwnerPolicy, new_id
from tests.artifacts.support import Clock, eventually, is_empty, opened, pieces, put, read_all, refused
from tests.artifacts.test_remote import host


async def made(store: ArtifactStore, artifact_id: str = "") -> ArtifactRef:
    """An artifact of which everything is set, with its etag."""
    write = ArtifactWrite(
        artifact_id=artifact_id,
        name="old",
        owner="ann",
        owner_policy=OwnerPolicy.DELETE_WITH_OWNER,
        content_type="text/plain",
        content_encoding="zstd",
        labels={"a": "1", "b": "2"},
        ttl_s=3600,
    )
    result = await store.create_from_chunks(write, pieces(b"bytes"))
    return await store.ref(result.ref.artifact_id)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (ArtifactChanges(name="new"), {"name": "new"}),
        (ArtifactChanges(name=""), {"name": ""}),
        (ArtifactChanges(owner="bob"), {"owner": "bob"}),
        (ArtifactChanges(owner=""), {"owner": ""}),
        (ArtifactChanges(owner_policy=OwnerPolicy.KEEP), {"owner_policy": OwnerPolicy.KEEP}),
        (ArtifactChanges(content_type="a/b"), {"content_type": "a/b"}),
        (ArtifactChanges(content_encoding=""), {"content_encoding": ""}),
        (ArtifactChanges(labels={"c": "3"}), {"labels": {"c": "3"}}),
        (ArtifactChanges(labels={}), {"labels": {}}),
        (ArtifactChanges(expires_at=4e9), {"expires_at": 4e9}),
        (ArtifactChanges(expires_at=math.inf), {"expires_at": None}),
        (ArtifactChanges(name="new", labels={}), {"name": "new", "labels": {}}),
    ],
)
async def test_changes_what_is_given_and_nothing_else(
    store: ArtifactStore, changes: ArtifactChanges, told: dict[str, object]
) -> None:
    """The named fields are as given, set or cleared; the others and the bytes are as they were."""
    before = await made(store)
    after = await store.update(before.artifact_id, changes)
    assert after == replace(before, **told)
    found = await store.ref(before.artifact_id)
    assert (found, found.etag, found.updated_at) == (after, after.etag, after.updated_at)
    assert await read_all(store, before.artifact_id) == b"bytes"


async def test_every_version_has_its_etag(store: ArtifactStore) -> None:
    """An update makes a new etag, also one that sets the same; an id that is used again starts with none of them."""
    artifact_id = new_id()
    seen: list[str] = []
    for _ in range(3):
        ref = await made(store, artifact_id)
        seen.append(ref.etag)
        assert ref.updated_at == ref.created_at
        for _ in range(2):
            ref = await store.update(artifact_id, ArtifactChanges(name="same"))
            assert ref.updated_at >= ref.created_at
            seen.append(ref.etag)
        await store.delete(artifact_id)
    assert "" not in seen
    assert len(set(seen)) == len(seen)


def assert_mismatch(error: PagletError, expected: ArtifactRef, actual: ArtifactRef) -> None:
    """The refusal names the artifact and both etags."""
    assert (type(error), error.reason) == (ConflictError, "ETAG_MISMATCH")
    assert error.resource == Resource("artifact", actual.artifact_id)
    assert error.metadata == {"expected": expected.etag, "actual": actual.etag}


async def test_update_of_one_version(store: ArtifactStore) -> None:
    """With an etag only that version is changed, once."""
    first = await made(store)
    second = await store.update(first.artifact_id, ArtifactChanges(name="new"), etag=first.etag)
    error = await refused(store.update(first.artifact_id, ArtifactChanges(name="newer"), etag=first.etag))
    assert_mismatch(error, first, second)
    assert (await store.ref(first.artifact_id)).name == "new"


async def test_one_of_many_wins(store: ArtifactStore) -> None:
    """Of updates that race with one etag, one is made and the others are refused."""
    ref = await made(store)
    calls = [store.update(ref.artifact_id, ArtifactChanges(name=f"n{number}"), etag=ref.etag) for number in range(8)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    (winner,) = [result for result in results if isinstance(result, ArtifactRef)]
    assert [result.reason for result in results if isinstance(result, ConflictError)] == ["ETAG_MISMATCH"] * 7
    assert (await store.ref(ref.artifact_id)).name == winner.name


async def test_delete_of_one_version(store: ArtifactStore) -> None:
    """With an etag only that version is deleted, and none that came later under its id."""
    first = await made(store)
    second = await store.update(first.artifact_id, ArtifactChanges(name="new"))
    assert_mismatch(await refused(store.delete(first.artifact_id, etag=first.etag)), first, second)
    assert await store.delete(first.artifact_id, etag=second.etag)
    assert not await store.delete(first.artifact_id, etag=second.etag)
    third = await made(store, first.artifact_id)
    assert_mismatch(await refused(store.delete(first.artifact_id, etag=second.etag)), second, third)
    assert await read_all(store, first.artifact_id) == b"bytes"


@pytest.mark.parametrize("artifact_id", ["absent", "A/b"])
async def test_of_none(store: ArtifactStore, artifact_id: str) -> None:
    """Where there is no artifact, or the id is none, nothing is changed."""
    error = await refused(store.update(artifact_id, ArtifactChanges(name="n"), etag="x"))
    wanted = NotFoundError if artifact_id == "absent" else InvalidArgumentError
    assert (type(error), error.reason) == (wanted, "ARTIFACT_NOT_FOUND" if artifact_id == "absent" else "INVALID_ID")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        (ArtifactChanges(), "update_mask"),
        (ArtifactChanges(name="n" * 256), "name"),
        (ArtifactChanges(name="a\0b"), "name"),
        (ArtifactChanges(content_type="t" * 256), "content_type"),
        (ArtifactChanges(content_encoding="e" * 256), "content_encoding"),
        (ArtifactChanges(labels={"": "v"}), "labels"),
        (ArtifactChanges(labels={"k": "v" * 4096}), "labels"),
        (ArtifactChanges(owner="NO ID"), "owner"),
        (ArtifactChanges(expires_at=0.0), "expire_time"),
        (ArtifactChanges(expires_at=-5.0), "expire_time"),
        (ArtifactChanges(expires_at=1.0), "expire_time"),
        (ArtifactChanges(expires_at=1e12), "expire_time"),
    ],
)
async def test_out_of_bounds(store: ArtifactStore, changes: ArtifactChanges, field: str) -> None:
    """A field beyond its bound is refused by name, and nothing is changed."""
    ref = await made(store)
    error = await refused(store.update(ref.artifact_id, changes))
    assert (type(error), error.field) == (InvalidArgumentError, field)
    assert error.reason == ("INVALID_ID" if field == "owner" else "MALFORMED_REQUEST")
    assert (await store.ref(ref.artifact_id)).etag == ref.etag


async def test_an_owner_takes_what_is_his_now(store: ArtifactStore) -> None:
    """What was given away stays when its first owner goes, and goes with its second."""
    first, second = f"o{new_id()}", f"o{new_id()}"
    write = ArtifactWrite(owner=first, owner_policy=OwnerPolicy.DELETE_WITH_OWNER)
    artifact_id = (await store.create_from_chunks(write, pieces(b"given"))).ref.artifact_id
    await store.update(artifact_id, ArtifactChanges(owner=second))
    assert await store.delete_owner(first) == 0
    assert await store.delete_owner(second) == 1


async def test_expired_is_not_changed(local: LocalArtifactStore, clock: Clock) -> None:
    """An update comes too late for what has expired, swept or not, also one that would make it stay."""
    artifact_id = await put(local, b"x", ttl_s=10)
    clock.now += 10
    assert (
        await refused(local.update(artifact_id, ArtifactChanges(expires_at=math.inf)))
    ).reason == "ARTIFACT_NOT_FOUND"


async def test_new_expiry_is_exact(local: LocalArtifactStore, clock: Clock) -> None:
    """From the new time on, to the microsecond, the artifact is not found, and not before."""
    artifact_id = await put(local, b"x", ttl_s=10)
    until = round(clock.now, 6) + 100
    ref = await local.update(artifact_id, ArtifactChanges(expires_at=until))
    assert ref.expires_at == pytest.approx(until, abs=1e-6)
    clock.now += 99.999
    assert (await local.ref(artifact_id)).expires_at == ref.expires_at
    clock.now += 0.001
    assert (await refused(local.ref(artifact_id))).reason == "ARTIFACT_NOT_FOUND"


async def test_new_expiry_is_swept_unasked(root: Path) -> None:
    """An artifact that was to stay, and then is given an end, is gone from the disk soon after."""
    async with opened(root) as store:
        await put(store, b"x", artifact_id="a")
        await store.update("a", ArtifactChanges(expires_at=time.time() + 0.05))

        async def gone() -> bool:
            return is_empty(root)

        await eventually(gone)


async def test_etags_of_another_store(root: Path, tmp_path: Path) -> None:
    """An etag outlives a restart, and no other store has it, though its artifacts have the same ids."""
    async with opened(tmp_path / "other") as store:
        foreign = await made(store, "a")
    async with opened(root) as store:
        first = await made(store, "a")
    async with opened(root) as store:
        assert (await store.ref("a")).etag == first.etag
        await store.delete("a")
        second = await made(store, "a")
    assert len({foreign.etag, first.etag, second.etag}) == 3


class Lively(ArtifactServicer):
    """A host on which something is changed between a list and what follows it."""

    def __init__(self, store: LocalArtifactStore, changes: dict[str, ArtifactChanges]) -> None:
        super().__init__(store, "alpha")
        self._local = store
        self._changes = changes

    async def ListArtifacts(  # noqa: N802 - named by the proto
        self, request: artifact_pb2.ListArtifactsRequest, context: ServerContext
    ) -> artifact_pb2.ListArtifactsResponse:
        """Answers, and changes what was listed."""
        reply = await super().ListArtifacts(request, context)
        while self._changes:
            await self._local.update(*self._changes.popitem())
        return reply


async def test_a_remote_owner_takes_only_what_is_his_still(local: LocalArtifactStore) -> None:
    """What is given away after it was listed is spared; what is only renamed goes."""
    for artifact_id in ("given", "kept", "renamed"):
        await made(local, artifact_id)
    keep = ArtifactChanges(owner_policy=OwnerPolicy.KEEP)
    changes = {"given": ArtifactChanges(owner="bob"), "kept": keep, "renamed": ArtifactChanges(name="n")}
    async with host(Lively(local, changes)) as remote:
        assert await remote.delete_owner("ann") == 1
    assert [ref.artifact_id for ref in (await local.list()).refs] == ["given", "kept"]
