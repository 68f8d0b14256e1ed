"""Many small artifacts at once: a result each, one wait for the disk, and the same rules as for any other write."""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import grpc
import pytest

from paglet.v1 import artifact_pb2, artifact_pb2_grpc
from paglets.artifacts.catalogue import Catalogue, Removal
from paglets.artifacts.local import LocalArtifactStore
from paglets.artifacts.steps import Step
from paglets.artifacts.store import (
    ArtifactStore,
    ArtifactWrite,
    ArtifactWriteResult,
    SmallArtifact,
    SmallWrite,
    WriteOutcome,
)
from paglets.config import StoreSettings
from paglets.digest import Digest
from paglets.errors import InvalidArgumentError, PagletError
from paglets.values import new_id
from paglets.wire.status import from_rpc_error
from tests.artifacts.support import (
    INLINE_BYTES,
    Clock,
    armed,
    assert_consistent,
    eventually,
    is_empty,
    opened,
    pieces,
    put,
    read_all,
    refused,
    settings,
)


def small(data: bytes, write: ArtifactWrite | None = None) -> SmallWrite:
    """One item."""
    return SmallWrite(write or ArtifactWrite(), data)


def told(results: Sequence[ArtifactWriteResult | PagletError]) -> list[str]:
    """How each item ended: its outcome, or the reason why it failed."""
    return [each.reason if isinstance(each, PagletError) else each.outcome.value for each in results]


async def test_each_has_its_result(store: ArtifactStore) -> None:
    """What can be stored is, what cannot says why in its place, and what was written is read as it was."""
    a, b, taken, unique = new_id(), new_id(), await put(store, b"taken"), os.urandom(16)
    write = ArtifactWrite(
        artifact_id=a,
        name="note",
        owner="paglet-1",
        content_type="text/plain",
        content_encoding="zstd",
        labels={"k": "v"},
        ttl_s=60.5,
        expected_digest=Digest.of(unique),
    )
    results = await store.create_batch(
        [
            small(unique, write),
            small(b"x", ArtifactWrite(artifact_id="No Id")),
            small(b"x", ArtifactWrite(artifact_id=taken)),
            small(b"other", ArtifactWrite(artifact_id=b, expected_digest=Digest.of(b"OTHER"))),
            small(b"x" * (INLINE_BYTES + 1)),
            small(os.urandom(INLINE_BYTES), ArtifactWrite(artifact_id=b)),
            small(b"", ArtifactWrite(artifact_id=b)),
            small(b"x", ArtifactWrite(labels={"": "v"})),
        ]
    )
    assert told(results) == [
        "committed",
        "INVALID_ID",
        "ARTIFACT_EXISTS",
        "DIGEST_MISMATCH",
        "ARTIFACT_TOO_LARGE",
        "committed",
        "ARTIFACT_EXISTS",
        "MALFORMED_REQUEST",
    ]
    large = results[4]
    assert isinstance(large, InvalidArgumentError)
    assert (large.field, large.metadata["limit_bytes"], large.metadata["requested_bytes"]) == ("data", "16384", "16385")
    found = (await store.ref(a), await read_all(store, a))
    assert isinstance(results[0], ArtifactWriteResult)
    assert found == (results[0].ref, unique)
    assert (found[0].name, found[0].owner, found[0].content_encoding) == ("note", "paglet-1", "zstd")
    assert (dict(found[0].labels), found[0].expires_at) == ({"k": "v"}, pytest.approx(found[0].created_at + 60.5))


async def test_none_is_none(store: ArtifactStore) -> None:
    """Nothing to do is done."""
    assert await store.create_batch([]) == []
    assert await store.read_batch([]) == []


@pytest.mark.slow
async def test_many(store: ArtifactStore) -> None:
    """More than one message, or one transaction, takes are stored and read in their order."""
    data = [os.urandom(4096) for _ in range(1100)]
    results = await store.create_batch([small(each) for each in data])
    refs = [result.ref for result in results if isinstance(result, ArtifactWriteResult)]
    assert [ref.digest for ref in refs] == [Digest.of(each) for each in data]
    assert await store.read_batch([ref.artifact_id for ref in refs]) == [
        SmallArtifact(ref, each) for ref, each in zip(refs, data, strict=True)
    ]
    for ref in refs:
        await store.delete(ref.artifact_id)


async def test_repeated(store: ArtifactStore) -> None:
    """A batch whose items have upload ids is told again what it made; other bytes are refused."""
    ids = [new_id(), new_id()]
    items = [small(os.urandom(9), ArtifactWrite(upload_id=each)) for each in ids]
    first, again = await store.create_batch(items), await store.create_batch(items)
    assert (told(first), told(again)) == (["committed"] * 2, ["already-committed"] * 2)
    made = [result.ref for result in first if isinstance(result, ArtifactWriteResult)]
    assert [result.ref for result in again if isinstance(result, ArtifactWriteResult)] == made
    other = await store.create_batch([small(b"other", items[0].write), items[0], items[1]])
    assert told(other) == ["REQUEST_ID_REUSED", "already-committed", "already-committed"]
    alone = await store.create_from_chunks(items[0].write, pieces(items[0].data))
    assert (alone.outcome, alone.ref) == (WriteOutcome.ALREADY_COMMITTED, made[0])
    await store.delete(made[0].artifact_id)
    assert told(await store.create_batch(items)) == ["ARTIFACT_NOT_FOUND", "already-committed"]


async def test_an_upload_that_was_begun(inline: LocalArtifactStore) -> None:
    """The id of an upload that is open, or rests, is not the batch's to take."""
    write = ArtifactWrite(upload_id="u")
    async with await inline.open_upload(write) as upload:
        await upload.write(0, b"x")
        assert told(await inline.create_batch([small(b"x", write)])) == ["UPLOAD_IN_PROGRESS"]
        await upload.pause()
    assert told(await inline.create_batch([small(b"x", write)])) == ["UPLOAD_IN_PROGRESS"]
    assert (await inline.upload("u")).committed_size == 1


async def test_same_bytes(store: ArtifactStore) -> None:
    """Items of the same bytes, and of ones that were here, share them."""
    data = os.urandom(100)
    await put(store, data)
    assert told(await store.create_batch([small(data)] * 2 + [small(data + b"x")] * 2)) == [
        "deduplicated",
        "deduplicated",
        "committed",
        "deduplicated",
    ]


async def test_read_each_has_its_result(store: ArtifactStore) -> None:
    """What cannot be read as one of many says why in its place."""
    one, large = await put(store, b"one"), await put(store, b"x" * (INLINE_BYTES + 1))
    results = await store.read_batch([large, one, "no-such", "No Id", one])
    reasons = [each.reason if isinstance(each, PagletError) else each.data for each in results]
    assert reasons == ["ARTIFACT_TOO_LARGE", b"one", "ARTIFACT_NOT_FOUND", "INVALID_ID", b"one"]


async def test_files_are_read_too(inline: LocalArtifactStore) -> None:
    """A small artifact that has a file is read as any other, and is held when its bytes come in a batch."""
    await inline.create_from_chunks(ArtifactWrite(artifact_id="a", as_file=True), pieces(b"file"))
    assert told(await inline.create_batch([small(b"file", ArtifactWrite(artifact_id="b"))])) == ["deduplicated"]
    assert [each.data for each in await inline.read_batch(["a", "b"]) if isinstance(each, SmallArtifact)] == [
        b"file"
    ] * 2


async def test_rotten_files_spare_nobody_theirs(root: Path, inline: LocalArtifactStore) -> None:
    """Bytes of a batch are dropped only for a file that is read and found right."""
    await inline.create_from_chunks(ArtifactWrite(artifact_id="a", as_file=True), pieces(b"file"))
    path = await inline.blob_path("a")
    path.chmod(0o600)
    path.write_bytes(b"FILE")
    assert told(await inline.create_batch([small(b"file", ArtifactWrite(artifact_id="b"))])) == ["committed"]
    await inline.sweep()
    assert (await read_all(inline, "a"), await read_all(inline, "b")) == (b"file", b"file")
    assert_consistent(root)


async def test_rotten_bytes_reach_nobody(root: Path, inline: LocalArtifactStore) -> None:
    """Bytes that changed in the catalogue are refused in their place, and their artifact is in quarantine then."""
    await inline.create_batch([small(each, ArtifactWrite(artifact_id=each.decode())) for each in (b"a", b"b")])
    with closing(sqlite3.connect(root / "artifacts.db")) as rows:
        rows.execute("UPDATE inline_blobs SET data = X'00' WHERE data = X'61'")
        rows.commit()
    bad, good = await inline.read_batch(["a", "b"])
    assert isinstance(bad, PagletError)
    assert bad.reason == "STORED_BLOB_CORRUPT"
    assert isinstance(good, SmallArtifact)
    assert good.data == b"b"
    assert (await inline.ref("a")).corrupt


async def test_one_commit(root: Path, inline: LocalArtifactStore) -> None:
    """A batch is one transaction: its events are there all at once, and no file is."""
    steps: list[str] = []
    with armed(steps.append):
        await inline.create_batch([small(os.urandom(50)) for _ in range(100)])
    assert not set(steps) & {step.value for step in Step}
    assert is_empty(root)
    assert_consistent(root)


async def test_quota(root: Path, clock: Clock) -> None:
    """As many are stored as there is room for; those that share bytes take none; what has expired makes room first."""
    async with opened(root, clock, settings(inline_bytes=INLINE_BYTES, quota_bytes=105)) as store:
        await put(store, b"z" * 40, artifact_id="old", ttl_s=10.0)
        items = [small(bytes([each]) * 30) for each in (1, 2, 3, 1, 2, 4)]
        results = await store.create_batch(items)
        assert told(results) == ["committed"] * 2 + ["QUOTA_EXCEEDED"] + ["deduplicated"] * 2 + ["QUOTA_EXCEEDED"]
        full = results[2]
        assert isinstance(full, PagletError)
        assert full.metadata["used_bytes"] == "100"
        assert full.metadata["reserved_bytes"] == "0"
        assert full.metadata["requested_bytes"] == "30"
        clock.now += 11.0
        assert told(await store.create_batch(items[2:3])) == ["committed"]
        usage = (await store.usage()).host
        assert (usage.used, usage.reserved) == (90, 0)
    assert_consistent(root)


async def test_stored_is_told_when_no_room_can_be_made(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fails while room is made for the last takes nothing away from the first, who are told so."""

    async def fail(_: Catalogue) -> Removal:
        raise OSError(errno.EIO, "the disk fails")

    async with opened(root, bounds=settings(inline_bytes=INLINE_BYTES, quota_bytes=50)) as store:
        with monkeypatch.context() as patch:
            patch.setattr(Catalogue, "remove_expired", fail)
            results = await store.create_batch([small(bytes([each]) * 30) for each in (1, 2)])
            assert told(results) == ["committed", "QUOTA_EXCEEDED"]
            assert (await refused(store.open_upload(ArtifactWrite(size_bytes=30)))).reason == "QUOTA_EXCEEDED"
    assert_consistent(root)


async def test_owners_quota(root: Path) -> None:
    """An owner's own limit refuses his items alone, shared bytes or not, and leaves nothing of them."""
    async with opened(root, bounds=StoreSettings(owner_quota_bytes=50, min_free_bytes=0)) as store:
        mine = ArtifactWrite(owner="one")
        items = [small(b"a" * 30, mine), small(b"b" * 30, mine), small(b"c" * 30), small(b"d" * 20, mine)]
        assert told(await store.create_batch(items)) == ["committed", "QUOTA_EXCEEDED", "committed", "committed"]
    assert_consistent(root)


async def test_other_owners_bytes_in_one_batch(root: Path, inline: LocalArtifactStore) -> None:
    """Who may not read the bytes of an item before his is told that his are new; they lie there once."""
    writes = [ArtifactWrite(owner=owner) for owner in ("one", "two", "one")]
    assert told(await inline.create_batch([small(b"same", write) for write in writes])) == [
        "committed",
        "committed",
        "deduplicated",
    ]
    assert (await inline.usage()).host.used == 4
    assert_consistent(root)


async def test_batches_race(root: Path, inline: LocalArtifactStore) -> None:
    """Batches at the same time, for the same ids, each store what the other did not."""
    items = [small(os.urandom(20), ArtifactWrite(artifact_id=f"a{number}")) for number in range(50)]
    results = await asyncio.gather(*(inline.create_batch(items) for _ in range(4)))
    assert sorted(how for result in results for how in told(result)) == ["ARTIFACT_EXISTS"] * 150 + ["committed"] * 50
    assert_consistent(root)


async def test_an_id_that_is_being_written(inline: LocalArtifactStore) -> None:
    """Whoever writes an artifact by a stream is not overtaken by a batch."""
    async with await inline.open_upload(ArtifactWrite(upload_id="u", artifact_id="a")) as upload:
        await upload.write(0, b"x")
        assert told(await inline.create_batch([small(b"y", ArtifactWrite(artifact_id="a"))])) == ["UPLOAD_IN_PROGRESS"]
        await upload.finish()
    assert await read_all(inline, "a") == b"x"


async def test_expiry_is_kept(inline: LocalArtifactStore, clock: Clock) -> None:
    """Items expire as any artifact does."""
    await inline.create_batch([small(b"x", ArtifactWrite(artifact_id="a", ttl_s=5.0))])
    clock.now += 6.0
    assert (await refused(inline.ref("a"))).reason == "ARTIFACT_NOT_FOUND"
    assert [each.reason for each in await inline.read_batch(["a"]) if isinstance(each, PagletError)] == [
        "ARTIFACT_NOT_FOUND"
    ]


async def test_a_closed_store_takes_none(inline: LocalArtifactStore) -> None:
    """Nothing is stored when the store is closing."""
    await inline.close()
    assert (await refused(inline.create_batch([small(b"x")]))).reason == "SHUTTING_DOWN"


async def test_answers_end_where_they_are_full(channel: grpc.aio.Channel) -> None:
    """An answer has as many results as fit, in the order of the ids, and says nothing of the rest."""
    stub: artifact_pb2_grpc.ArtifactServiceAsyncStub = artifact_pb2_grpc.ArtifactServiceStub(channel)
    ids = [new_id() for _ in range(300)]
    for start in range(0, 300, 200):
        items = [
            artifact_pb2.SmallArtifact(artifact_id=each, data=os.urandom(INLINE_BYTES))
            for each in ids[start : start + 200]
        ]
        made = await stub.BatchWriteArtifacts(artifact_pb2.BatchWriteArtifactsRequest(items=items))
        assert all(result.outcome == artifact_pb2.WRITE_OUTCOME_COMMITTED for result in made.results)
    reply = await stub.BatchReadArtifacts(artifact_pb2.BatchReadArtifactsRequest(artifact_ids=ids))
    assert 240 < len(reply.results) < 256
    assert [result.artifact.artifact_id for result in reply.results] == ids[: len(reply.results)]
    for each in ids:
        await stub.DeleteArtifact(artifact_pb2.DeleteArtifactRequest(artifact_id=each))


async def test_too_many(channel: grpc.aio.Channel) -> None:
    """A call with more than 1000 items is refused as a whole."""
    stub: artifact_pb2_grpc.ArtifactServiceAsyncStub = artifact_pb2_grpc.ArtifactServiceStub(channel)
    items = [artifact_pb2.SmallArtifact()] * 1001
    for call in (
        stub.BatchWriteArtifacts(artifact_pb2.BatchWriteArtifactsRequest(items=items)),
        stub.BatchReadArtifacts(artifact_pb2.BatchReadArtifactsRequest(artifact_ids=["a"] * 1001)),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert from_rpc_error(caught.value).reason == "MALFORMED_REQUEST"


async def test_an_item_that_cannot_be_read(channel: grpc.aio.Channel) -> None:
    """What is wrong with the message of one item is that item's error, with all that a status would tell."""
    stub: artifact_pb2_grpc.ArtifactServiceAsyncStub = artifact_pb2_grpc.ArtifactServiceStub(channel)
    items = [
        artifact_pb2.SmallArtifact(upload_id="No Id", data=b"x"),
        artifact_pb2.SmallArtifact(data=b"y", expected_digest=artifact_pb2.SmallArtifact().expected_digest),
        artifact_pb2.SmallArtifact(data=b"z"),
    ]
    reply = await stub.BatchWriteArtifacts(artifact_pb2.BatchWriteArtifactsRequest(items=items))
    first, second, third = reply.results
    assert (first.error.code, first.error.reason, first.error.field) == (3, "INVALID_ID", "upload_id")
    assert (second.error.code, second.error.reason) == (3, "MALFORMED_REQUEST")
    assert third.outcome in (artifact_pb2.WRITE_OUTCOME_COMMITTED, artifact_pb2.WRITE_OUTCOME_DEDUPLICATED)


async def test_what_a_batch_heals_takes_no_room(root: Path) -> None:
    """A rotten file whose bytes come anew by a batch is unlinked, and counts no more."""
    async with opened(root, bounds=settings(inline_bytes=INLINE_BYTES)) as store:
        await store.create_from_chunks(ArtifactWrite(artifact_id="a", as_file=True), pieces(b"bytes"))
        path = await store.blob_path("a")
        path.chmod(0o600)
        path.write_bytes(b"BYTES")
        assert told(await store.create_batch([small(b"bytes")])) == ["committed"]

        async def unlinked() -> bool:
            return (await store.usage()).host.used == len(b"bytes") and is_empty(root)

        await eventually(unlinked)
        assert await read_all(store, "a") == b"bytes"
    assert_consistent(root)
