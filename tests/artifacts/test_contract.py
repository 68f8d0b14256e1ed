"""What every `ArtifactStore` promises of what is written and named: the local store, and a host's over TCP."""

from __future__ import annotations

import asyncio
import io
import math
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from paglets.artifacts.store import ArtifactQuery, ArtifactStore, ArtifactWrite, WriteOutcome
from paglets.digest import Digest
from paglets.errors import (
    AlreadyExistsError,
    ConflictError,
    ExhaustedError,
    InvalidArgumentError,
    NotFoundError,
    PreconditionError,
    Resource,
)
from paglets.values import OwnerPolicy, new_id
from tests.artifacts.conftest import MAX_ARTIFACT_BYTES, QUOTA_BYTES
from tests.artifacts.support import eventually, pieces, read_all, refused

MIB = 1024 * 1024


async def test_round_trip(store: ArtifactStore) -> None:
    """What was written is found, described and read as it was."""
    data = os.urandom(3 * MIB + 5)
    write = ArtifactWrite(
        name="report.txt",
        owner="paglet-1",
        owner_policy=OwnerPolicy.DELETE_WITH_OWNER,
        content_type="text/plain",
        content_encoding="zstd",
        labels={"colour": "grün", "empty": ""},
        ttl_s=3600.5,
        size_bytes=len(data),
        expected_digest=Digest.of(data),
    )
    result = await store.create_from_chunks(write, pieces(data[:7], data[7 : MIB + 7], b"", data[MIB + 7 :]))
    ref = result.ref
    assert result.outcome is WriteOutcome.COMMITTED
    assert (ref.host, ref.digest, ref.size_bytes) == ("alpha", Digest.of(data), len(data))
    assert (ref.name, ref.owner, ref.owner_policy) == ("report.txt", "paglet-1", OwnerPolicy.DELETE_WITH_OWNER)
    assert (ref.content_type, ref.content_encoding) == ("text/plain", "zstd")
    assert dict(ref.labels) == {"colour": "grün", "empty": ""}
    assert ref.expires_at == pytest.approx(ref.created_at + 3600.5, abs=1e-6)
    found = await store.ref(ref.artifact_id)
    assert (found, found.corrupt, found.verified_at) == (ref, False, ref.created_at)
    assert await read_all(store, ref.artifact_id) == data


@pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, MIB + 1, 2 * MIB + 1])
async def test_sizes(store: ArtifactStore, size: int) -> None:
    """Every size around the borders of messages survives, the declared and the undeclared."""
    data = os.urandom(size)
    known = await store.create_from_chunks(ArtifactWrite(size_bytes=size), pieces(data))
    unknown = await store.create_from_chunks(ArtifactWrite(), pieces(data))
    assert known.ref.digest == unknown.ref.digest == Digest.of(data)
    assert unknown.outcome is WriteOutcome.DEDUPLICATED
    assert await read_all(store, unknown.ref.artifact_id) == data


async def test_many_small_chunks_make_one_artifact(store: ArtifactStore) -> None:
    """How the bytes are cut does not matter."""
    data = os.urandom(999)
    result = await store.create_from_chunks(ArtifactWrite(), pieces(*(data[at : at + 1] for at in range(len(data)))))
    assert await read_all(store, result.ref.artifact_id) == data


async def test_chosen_id(store: ArtifactStore) -> None:
    """The writer may choose the id, once."""
    wanted = f"my.file-{new_id()}"
    result = await store.create_from_chunks(ArtifactWrite(artifact_id=wanted), pieces(b"one"))
    assert result.ref.artifact_id == wanted
    error = await refused(store.create_from_chunks(ArtifactWrite(artifact_id=wanted), pieces(b"two")))
    assert isinstance(error, AlreadyExistsError)
    assert (error.reason, error.resource) == ("ARTIFACT_EXISTS", Resource("artifact", wanted))
    assert error.metadata == {"digest": str(Digest.of(b"one"))}
    assert await read_all(store, wanted) == b"one"


async def test_repeated_upload(store: ArtifactStore) -> None:
    """The same upload sent again is a success and makes nothing new."""
    write = ArtifactWrite(upload_id=new_id(), name="n", labels={"a": "b"}, ttl_s=99.0)
    first = await store.create_from_chunks(write, pieces(b"same"))
    again = await store.create_from_chunks(write, pieces(b"sa", b"me"))
    assert again.outcome is WriteOutcome.ALREADY_COMMITTED
    assert again.ref == first.ref


@pytest.mark.parametrize(
    ("other", "data"),
    [
        (ArtifactWrite(), b"other"),
        (ArtifactWrite(), b"lon"),
        (ArtifactWrite(), b"longer than before"),
        (ArtifactWrite(name="another"), b"same"),
        (ArtifactWrite(artifact_id="another"), b"same"),
        (ArtifactWrite(expected_digest=Digest.of(b"other")), b"other"),
        (ArtifactWrite(size_bytes=5), b"other"),
    ],
)
async def test_reused_upload(store: ArtifactStore, other: ArtifactWrite, data: bytes) -> None:
    """An upload id that made one artifact makes no other."""
    upload_id = new_id()
    await store.create_from_chunks(ArtifactWrite(upload_id=upload_id), pieces(b"same"))
    error = await refused(store.create_from_chunks(replace(other, upload_id=upload_id), pieces(data)))
    assert isinstance(error, PreconditionError)
    assert (error.reason, error.metadata) == ("REQUEST_ID_REUSED", {"request_id": upload_id})


async def test_repeated_upload_of_a_deleted_artifact(store: ArtifactStore) -> None:
    """A repetition tells that what the upload made is gone since, and does not make it again."""
    write = ArtifactWrite(upload_id=new_id())
    first = await store.create_from_chunks(write, pieces(b"gone"))
    await store.delete(first.ref.artifact_id)
    error = await refused(store.create_from_chunks(write, pieces(b"gone")))
    assert isinstance(error, NotFoundError)
    assert (error.reason, error.resource) == ("ARTIFACT_NOT_FOUND", Resource("artifact", first.ref.artifact_id))
    assert "deleted" in error.message
    assert (await refused(store.ref(first.ref.artifact_id))).reason == "ARTIFACT_NOT_FOUND"


async def test_wrong_digest(store: ArtifactStore) -> None:
    """Bytes that are not what was declared are refused and not kept."""
    wanted, upload_id = f"a{new_id()}", new_id()
    expected, actual = Digest.of(b"123456"), Digest.of(b"654321")
    write = ArtifactWrite(upload_id=upload_id, artifact_id=wanted, expected_digest=expected)
    error = await refused(store.create_from_chunks(write, pieces(b"654321")))
    assert isinstance(error, InvalidArgumentError)
    assert error.reason == "DIGEST_MISMATCH"
    assert error.metadata == {"expected": str(expected), "actual": str(actual)}
    assert (await refused(store.ref(wanted))).reason == "ARTIFACT_NOT_FOUND"
    assert (await store.create_from_chunks(write, pieces(b"123456"))).ref.artifact_id == wanted


@pytest.mark.parametrize(("declared", "sent"), [(5, b"1234"), (3, b"1234"), (0, b"1"), (1, b"")])
async def test_wrong_size(store: ArtifactStore, declared: int, sent: bytes) -> None:
    """More or fewer bytes than declared are refused."""
    error = await refused(store.create_from_chunks(ArtifactWrite(size_bytes=declared), pieces(sent)))
    assert isinstance(error, InvalidArgumentError)
    assert error.reason == "SIZE_MISMATCH"
    assert error.metadata == {"expected": str(declared), "actual": str(len(sent))}


async def test_declared_too_large(store: ArtifactStore) -> None:
    """An artifact beyond the limit is refused before a byte is asked for."""
    asked = False

    async def never() -> AsyncIterator[bytes]:
        nonlocal asked
        asked = True
        yield b""

    size = MAX_ARTIFACT_BYTES + 1
    error = await refused(store.create_from_chunks(ArtifactWrite(size_bytes=size), never()))
    assert isinstance(error, InvalidArgumentError)
    assert error.reason == "ARTIFACT_TOO_LARGE"
    assert error.metadata == {"limit_bytes": str(MAX_ARTIFACT_BYTES), "requested_bytes": str(size)}
    assert not asked


async def test_undeclared_too_large(store: ArtifactStore) -> None:
    """An endless stream is refused where it passes the limit, and with that very reason."""

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(MIB)

    error = await refused(store.create_from_chunks(ArtifactWrite(), endless()))
    assert isinstance(error, InvalidArgumentError)
    assert error.reason == "ARTIFACT_TOO_LARGE"
    assert error.metadata["limit_bytes"] == str(MAX_ARTIFACT_BYTES)


async def test_quota(store: ArtifactStore) -> None:
    """When the room is used up the refusal says by how much; deleting makes room again."""
    size = 5 * MIB
    ids: list[str] = []

    async def use_up() -> None:
        for number in range(QUOTA_BYTES // size + 1):
            write = ArtifactWrite(size_bytes=size)
            ids.append((await store.create_from_chunks(write, pieces(bytes([number]) * size))).ref.artifact_id)

    error = await refused(use_up())
    assert isinstance(error, ExhaustedError)
    assert error.reason == "QUOTA_EXCEEDED"
    assert (error.metadata["limit_bytes"], error.metadata["requested_bytes"]) == (str(QUOTA_BYTES), str(size))
    assert error.metadata["reserved_bytes"] == "0"
    assert int(error.metadata["used_bytes"]) > QUOTA_BYTES - size
    for artifact_id in ids:
        assert await store.delete(artifact_id)
    freed = await store.create_from_chunks(ArtifactWrite(size_bytes=size), pieces(b"f" * size))
    assert await store.delete(freed.ref.artifact_id)


@pytest.mark.parametrize("upload_id", ["", "named"])
async def test_failing_source(store: ArtifactStore, upload_id: str) -> None:
    """An error of the source passes unchanged; what came of a named upload stays, for the same source to go on."""

    async def breaks() -> AsyncIterator[bytes]:
        yield b"some"
        raise OSError(5, "the tape broke")

    write = ArtifactWrite(upload_id=upload_id and new_id(), artifact_id=f"a{new_id()}")
    with pytest.raises(OSError, match="the tape broke"):
        await store.create_from_chunks(write, breaks())
    assert (await refused(store.ref(write.artifact_id))).reason == "ARTIFACT_NOT_FOUND"
    left = [info for info in (await store.uploads(page_size=1000)).uploads if info.artifact_id == write.artifact_id]
    assert {info.upload_id for info in left} <= ({write.upload_id} if upload_id else set())

    async def at_rest() -> bool:
        return not [info for info in (await store.uploads(page_size=1000)).uploads if info.writing]

    await eventually(at_rest)
    if (await store.uploads()).uploads:
        error = await refused(store.create_from_chunks(write, pieces(b"Some other")))
        assert (type(error), error.reason) == (PreconditionError, "PREFIX_MISMATCH")
    await store.create_from_chunks(write, pieces(b"so", b"me and the rest"))
    assert await read_all(store, write.artifact_id) == b"some and the rest"


async def test_cancelled_write(store: ArtifactStore) -> None:
    """A write that is given up leaves its id free."""
    write = ArtifactWrite(upload_id=new_id(), artifact_id=f"a{new_id()}", size_bytes=MIB)
    under_way = asyncio.Event()

    async def stuck() -> AsyncIterator[bytes]:
        yield bytes(10)
        under_way.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(store.create_from_chunks(write, stuck()))
    await under_way.wait()
    other = ArtifactWrite(artifact_id=write.artifact_id)
    error = await refused(store.create_from_chunks(other, pieces(b"")))
    assert (type(error), error.reason) == (ConflictError, "UPLOAD_IN_PROGRESS")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await refused(store.ref(write.artifact_id))).reason == "ARTIFACT_NOT_FOUND"

    async def free() -> bool:
        try:
            await store.create_from_chunks(write, pieces(bytes(MIB)))
        except ConflictError:
            return False
        return True

    await eventually(free)


async def test_create_from_path(store: ArtifactStore, tmp_path: Path) -> None:
    """A file is stored under its own name, or another."""
    source = tmp_path / "données.bin"
    data = os.urandom(MIB + 3)
    source.write_bytes(data)
    ref = (await store.create_from_path(ArtifactWrite(), source)).ref
    assert (ref.name, ref.size_bytes) == ("données.bin", len(data))
    assert (await store.create_from_path(ArtifactWrite(name="mine"), str(source))).ref.name == "mine"
    assert await read_all(store, ref.artifact_id) == data


async def test_create_from_path_with_a_name_that_is_no_text(store: ArtifactStore, tmp_path: Path) -> None:
    """A file name that is no valid UTF-8 is made one."""
    source = tmp_path / os.fsdecode(b"caf\xe9")
    source.write_bytes(b"x")
    assert (await store.create_from_path(ArtifactWrite(), source)).ref.name == "caf?"


async def test_create_from_path_refuses_what_is_no_file(store: ArtifactStore, tmp_path: Path) -> None:
    """Folders, pipes and missing files are refused, and do not block."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("", "pipe", "link", "missing", "missing/deeper"):
        source = tmp_path / name
        error = await refused(store.create_from_path(ArtifactWrite(), source))
        assert isinstance(error, InvalidArgumentError)
        assert (error.reason, error.metadata) == ("SOURCE_NOT_A_FILE", {"path": str(source)})


async def test_create_from_stream(store: ArtifactStore) -> None:
    """Anything with a blocking read will do."""
    data = os.urandom(MIB + 1)
    result = await store.create_from_stream(ArtifactWrite(), io.BytesIO(data))
    assert await read_all(store, result.ref.artifact_id) == data


async def test_list(store: ArtifactStore) -> None:
    """Pages come in the order of ids, without gaps or repetitions, and hold one owner's artifacts if asked."""
    owner = f"o{new_id()}"
    made = [
        (await store.create_from_chunks(ArtifactWrite(owner=owner), pieces(bytes([number])))).ref for number in range(5)
    ]
    await store.create_from_chunks(ArtifactWrite(), pieces(b"not his"))
    listed: list[str] = []
    token = ""
    while True:
        page = await store.list(ArtifactQuery(owner=owner), page_size=2, page_token=token)
        listed += [ref.artifact_id for ref in page.refs]
        token = page.next_token
        if not token:
            break
    assert listed == sorted(ref.artifact_id for ref in made)
    assert (await store.list(ArtifactQuery(owner=owner))).refs == tuple(sorted(made, key=lambda ref: ref.artifact_id))
    unowned = await store.list(ArtifactQuery(owner=""), page_size=1000)
    assert unowned.refs
    assert {ref.owner for ref in unowned.refs} == {""}
    everyone = {ref.artifact_id for ref in (await store.list(page_size=0)).refs}
    assert set(listed) <= everyone


async def test_list_refuses_hostile_pages(store: ArtifactStore) -> None:
    """Negative sizes, tokens of other lists and made-up tokens are refused."""
    for number in range(2):
        await store.create_from_chunks(ArtifactWrite(owner="lister"), pieces(bytes([number])))
    token = (await store.list(ArtifactQuery(owner="lister"), page_size=1)).next_token
    assert token
    cases = [(-1, "", "lister"), (1, token, None), (1, token, ""), (1, token, "other"), (1, token[:-1], "lister")]
    cases += [(1, hostile, None) for hostile in ("x", "é", "=", "A" * 5000, "../..", "AAAAAAAAAAAAAAAAAAAA")]
    for size, hostile, owner in cases:
        error = await refused(store.list(ArtifactQuery(owner=owner), page_size=size, page_token=hostile))
        assert (type(error), error.reason) == (InvalidArgumentError, "MALFORMED_REQUEST"), hostile
        assert error.field == ("page_size" if size < 0 else "page_token")


HOSTILE_IDS = ["A", "..", "../x", "a/b", "a b", ".a", "a\n", "ä", "a" * 129, "-", "a\x00b", "%2e%2e"]


@pytest.mark.parametrize("hostile", HOSTILE_IDS)
async def test_hostile_ids(store: ArtifactStore, hostile: str) -> None:
    """An id that is none is refused everywhere, naming the field."""
    calls = [
        (store.create_from_chunks(ArtifactWrite(upload_id=hostile), pieces(b"")), "upload_id"),
        (store.create_from_chunks(ArtifactWrite(artifact_id=hostile), pieces(b"")), "artifact_id"),
        (store.create_from_chunks(ArtifactWrite(owner=hostile), pieces(b"")), "owner"),
        (store.ref(hostile), "artifact_id"),
        (store.delete(hostile), "artifact_id"),
        (read_all(store, hostile), "artifact_id"),
    ]
    for call, field in calls:
        error = await refused(call)
        assert (type(error), error.reason, error.field) == (InvalidArgumentError, "INVALID_ID", field)


@pytest.mark.parametrize(
    ("write", "field"),
    [
        (ArtifactWrite(name="n" * 256), "name"),
        (ArtifactWrite(name="ü" * 128), "name"),
        (ArtifactWrite(name="a\0b"), "name"),
        (ArtifactWrite(content_type="t" * 256), "content_type"),
        (ArtifactWrite(content_encoding="e" * 256), "content_encoding"),
        (ArtifactWrite(labels={str(number): "" for number in range(65)}), "labels"),
        (ArtifactWrite(labels={"k": "v" * 4096}), "labels"),
        (ArtifactWrite(labels={"": "v"}), "labels"),
        (ArtifactWrite(ttl_s=0.0), "ttl"),
        (ArtifactWrite(ttl_s=-1.0), "ttl"),
        (ArtifactWrite(ttl_s=0.0005), "ttl"),
        (ArtifactWrite(ttl_s=1e12), "ttl"),
        (ArtifactWrite(ttl_s=1e30), "ttl"),
        (ArtifactWrite(ttl_s=math.inf), "ttl"),
        (ArtifactWrite(ttl_s=math.nan), "ttl"),
        (ArtifactWrite(size_bytes=-1), "expected_size"),
        (ArtifactWrite(size_bytes=3, expected_digest=Digest.of(b"four")), "expected_digest"),
    ],
)
async def test_out_of_bounds(store: ArtifactStore, write: ArtifactWrite, field: str) -> None:
    """A field beyond its bound is refused by name."""
    error = await refused(store.create_from_chunks(write, pieces(b"four")))
    assert (type(error), error.reason, error.field) == (InvalidArgumentError, "MALFORMED_REQUEST", field)


async def test_within_bounds(store: ArtifactStore) -> None:
    """Fields at their bounds are kept as they are; names are labels, not paths."""
    labels = {f"{number:02}": "v" * 60 for number in range(64)}
    for name in ("n" * 255, "../../etc/passwd", "a\nb", "/"):
        write = ArtifactWrite(name=name, labels=labels, owner="o" * 128, ttl_s=0.5)
        result = await store.create_from_chunks(write, pieces(b"bounds"))
        assert (result.ref.name, dict(result.ref.labels)) == (name, labels)


async def test_delete(store: ArtifactStore) -> None:
    """Deleting says whether there was something, and another artifact with the same bytes stays."""
    first = (await store.create_from_chunks(ArtifactWrite(), pieces(b"shared"))).ref
    second = (await store.create_from_chunks(ArtifactWrite(), pieces(b"shared"))).ref
    assert await store.delete(first.artifact_id)
    assert not await store.delete(first.artifact_id)
    for call in (store.ref(first.artifact_id), read_all(store, first.artifact_id)):
        error = await refused(call)
        assert (type(error), error.reason) == (NotFoundError, "ARTIFACT_NOT_FOUND")
        assert error.resource == Resource("artifact", first.artifact_id)
    assert await read_all(store, second.artifact_id) == b"shared"


async def test_delete_owner(store: ArtifactStore) -> None:
    """An owner takes along what goes with him, nothing else."""
    owner = f"o{new_id()}"
    with_him = ArtifactWrite(owner=owner, owner_policy=OwnerPolicy.DELETE_WITH_OWNER)
    for data in (b"1", b"2", b"3"):
        await store.create_from_chunks(with_him, pieces(data))
    kept = (await store.create_from_chunks(ArtifactWrite(owner=owner), pieces(b"1"))).ref
    other = ArtifactWrite(owner=f"{owner}x", owner_policy=OwnerPolicy.DELETE_WITH_OWNER)
    others = (await store.create_from_chunks(other, pieces(b"2"))).ref
    assert await store.delete_owner(owner) == 3
    assert await store.delete_owner(owner) == 0
    assert (await store.list(ArtifactQuery(owner=owner))).refs == (kept,)
    assert await read_all(store, others.artifact_id) == b"2"


async def test_writers_race_for_one_id(store: ArtifactStore) -> None:
    """Of several writers for one id, one wins; what is visible is his, whole."""
    wanted = f"a{new_id()}"
    datas = [bytes([number]) * 100_000 for number in range(8)]
    results = await asyncio.gather(
        *(store.create_from_chunks(ArtifactWrite(artifact_id=wanted), pieces(data)) for data in datas),
        return_exceptions=True,
    )
    refusals = {(type(result), getattr(result, "reason", "")) for result in results if isinstance(result, Exception)}
    assert refusals <= {(ConflictError, "UPLOAD_IN_PROGRESS"), (AlreadyExistsError, "ARTIFACT_EXISTS")}
    assert len([result for result in results if not isinstance(result, BaseException)]) == 1
    assert await read_all(store, wanted) in datas
