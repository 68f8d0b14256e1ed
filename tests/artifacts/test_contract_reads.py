"""What every `ArtifactStore` promises of reads, ranges and exports: the local store, and a host's over TCP."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from paglets.artifacts.store import ArtifactStore, ArtifactWrite, ByteRange
from paglets.digest import Digest
from paglets.errors import (
    AlreadyExistsError,
    InvalidArgumentError,
    OutOfRangeError,
    PermissionDeniedError,
    Resource,
)
from paglets.values import new_id
from tests.artifacts.support import names_in, pieces, read_all, refused

MIB = 1024 * 1024


async def test_read_survives_deletion(store: ArtifactStore) -> None:
    """A reader that has begun reads to the end what is deleted under it."""
    data = os.urandom(4 * MIB)
    ref = (await store.create_from_chunks(ArtifactWrite(), pieces(data))).ref
    async with store.open_reader(ref.artifact_id) as reader:
        got = bytearray()
        async for piece in reader:
            if not got:
                assert await store.delete(ref.artifact_id)
                assert (await refused(store.ref(ref.artifact_id))).reason == "ARTIFACT_NOT_FOUND"
            assert len(piece) <= 2 * MIB
            got += piece
        assert bytes(got) == data
        assert reader.ref == ref


async def test_abandoned_read(store: ArtifactStore) -> None:
    """A reader may leave at any time."""
    ref = (await store.create_from_chunks(ArtifactWrite(), pieces(bytes(4 * MIB)))).ref
    for _ in range(20):
        async with store.open_reader(ref.artifact_id) as reader:
            async for _ in reader:
                break
    assert await store.delete(ref.artifact_id)


async def test_export(store: ArtifactStore, tmp_path: Path) -> None:
    """An export is an ordinary file with the artifact's bytes, in folders made for it."""
    data = os.urandom(2 * MIB + 1)
    ref = (await store.create_from_chunks(ArtifactWrite(), pieces(data))).ref
    target = tmp_path / "new" / "folder" / "file.bin"
    assert await store.export_to_path(ref.artifact_id, target) == ref
    assert target.read_bytes() == data
    assert (target.stat().st_nlink, target.stat().st_mode & 0o200) == (1, 0o200)
    with target.open("r+b") as file:
        file.write(b"mine now")
    assert await read_all(store, ref.artifact_id) == data
    assert names_in(target.parent) == {"file.bin"}


async def test_export_over_a_file(store: ArtifactStore, tmp_path: Path) -> None:
    """A file at the target is replaced, or kept and the export refused, as asked."""
    ref = (await store.create_from_chunks(ArtifactWrite(), pieces(b"new"))).ref
    target = tmp_path / "file"
    target.write_bytes(b"old")
    error = await refused(store.export_to_path(ref.artifact_id, target, overwrite=False))
    assert isinstance(error, AlreadyExistsError)
    assert (error.reason, error.resource) == ("DESTINATION_EXISTS", Resource("file", str(target)))
    assert target.read_bytes() == b"old"
    await store.export_to_path(ref.artifact_id, str(target))
    assert target.read_bytes() == b"new"
    target.unlink()
    await store.export_to_path(ref.artifact_id, target, overwrite=False)
    assert target.read_bytes() == b"new"
    assert names_in(tmp_path) <= {"file", "store"}


async def test_art_13_export_of_what_is_expected(store: ArtifactStore, tmp_path: Path) -> None:
    """Another artifact than the one that is meant is told by its size, then by its digest; the target is untouched."""
    ref = (await store.create_from_chunks(ArtifactWrite(), pieces(b"new"))).ref
    target = tmp_path / "file"
    target.write_bytes(b"old")
    for data, reason, expected, actual in (
        (b"newer", "SIZE_MISMATCH", "5", "3"),
        (b"old", "DIGEST_MISMATCH", str(Digest.of(b"old")), str(ref.digest)),
    ):
        error = await refused(store.export_to_path(ref.artifact_id, target, expected_digest=Digest.of(data)))
        assert (type(error), error.reason) == (InvalidArgumentError, reason)
        assert error.metadata == {"expected": expected, "actual": actual}
        assert target.read_bytes() == b"old"
    assert await store.export_to_path(ref.artifact_id, target, expected_digest=ref.digest) == ref
    assert target.read_bytes() == b"new"
    assert names_in(tmp_path) <= {"file", "store"}


async def test_export_to_what_cannot_be_a_file(store: ArtifactStore, tmp_path: Path) -> None:
    """Folders are not replaced, and unknown artifacts leave no file."""
    ref = (await store.create_from_chunks(ArtifactWrite(), pieces(b"x"))).ref
    (tmp_path / "folder").mkdir()
    error = await refused(store.export_to_path(ref.artifact_id, tmp_path / "folder"))
    assert error.reason == "DESTINATION_EXISTS"
    error = await refused(store.export_to_path(new_id(), tmp_path / "nothing"))
    assert error.reason == "ARTIFACT_NOT_FOUND"
    assert names_in(tmp_path) <= {"folder", "store"}


async def test_export_never_replaces_what_is_no_file(store: ArtifactStore, tmp_path: Path) -> None:
    """Overwriting is for files: a pipe (a device, a socket) stays what it is, and nothing is left beside it."""
    ref = (await store.create_from_chunks(ArtifactWrite(), pieces(b"x"))).ref
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    error = await refused(store.export_to_path(ref.artifact_id, pipe))
    assert (type(error), error.reason) == (PermissionDeniedError, "DESTINATION_UNWRITABLE")
    assert "only a file is replaced" in error.message
    assert pipe.is_fifo()
    assert names_in(tmp_path) <= {"pipe", "store"}


@pytest.mark.parametrize(("name", "cause"), [("file/below", "ENOTDIR"), ("x" * 256, "ENAMETOOLONG")])
@pytest.mark.parametrize("overwrite", [True, False])
async def test_export_to_where_nothing_can_be_written(
    store: ArtifactStore, tmp_path: Path, name: str, cause: str, *, overwrite: bool
) -> None:
    """A target that cannot be written is refused with its path and the cause, and nothing is left beside it."""
    ref = (await store.create_from_chunks(ArtifactWrite(), pieces(b"x"))).ref
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "file").write_text("no folder")
    error = await refused(store.export_to_path(ref.artifact_id, folder / name, overwrite=overwrite))
    assert (type(error), error.reason) == (PermissionDeniedError, "DESTINATION_UNWRITABLE")
    assert error.metadata == {"path": str(folder / name), "cause": cause}
    assert [path.name for path in folder.iterdir()] == ["file"]


async def test_exports_race_for_one_name(store: ArtifactStore, tmp_path: Path) -> None:
    """Of several exports that may not overwrite, one wins and the others are told."""
    refs = [(await store.create_from_chunks(ArtifactWrite(), pieces(bytes([n]) * 1000))).ref for n in range(8)]
    target = tmp_path / "one"
    results = await asyncio.gather(
        *(store.export_to_path(ref.artifact_id, target, overwrite=False) for ref in refs), return_exceptions=True
    )
    won = [ref for ref in refs if ref in results]
    assert len(won) == 1
    assert {result.reason for result in results if isinstance(result, AlreadyExistsError)} == {"DESTINATION_EXISTS"}
    assert Digest.of(target.read_bytes()) == won[0].digest


@pytest.mark.parametrize(
    ("offset", "length"),
    [
        (0, None),
        (0, 1),
        (1, None),
        (5, 7),
        (MIB - 1, 2),
        (MIB, MIB),
        (1, 2 * MIB + 1),
        (3 * MIB, 5),
        (3 * MIB + 5, None),
    ],
)
async def test_ranges(store: ArtifactStore, offset: int, length: int | None) -> None:
    """A range is just the bytes that were asked for, wherever it begins and ends; the very end is an empty read."""
    data = bytes(number % 251 for number in range(256)) * (12 * 1024) + b"12345"
    ref = (await store.create_from_chunks(ArtifactWrite(), pieces(data))).ref
    expected = data[offset:] if length is None else data[offset : offset + length]
    async with store.open_reader(ref.artifact_id, offset=offset, length=length) as reader:
        assert (reader.ref, reader.byte_range) == (ref, ByteRange(offset, len(expected)))
        assert b"".join([piece async for piece in reader]) == expected


@pytest.mark.parametrize(("offset", "length"), [(5, None), (4, 1), (0, 5), (2, 2**40), (2**62, None)])
async def test_ranges_past_the_end(store: ArtifactStore, offset: int, length: int | None) -> None:
    """Whoever asks for bytes that are not there is told how many there are."""
    ref = (await store.create_from_chunks(ArtifactWrite(), pieces(b"four"))).ref
    error = await refused(read_all(store, ref.artifact_id, offset=offset, length=length))
    assert (type(error), error.reason) == (OutOfRangeError, "RANGE_NOT_SATISFIABLE")
    assert error.metadata == {"size_bytes": "4", "read_offset": str(offset)}


@pytest.mark.parametrize(
    ("offset", "length", "field"), [(-1, None, "read_offset"), (0, -1, "read_limit"), (0, 0, "read_limit")]
)
async def test_ranges_that_are_none(store: ArtifactStore, offset: int, length: int | None, field: str) -> None:
    """A negative range is refused by name, and so is one of no bytes."""
    ref = (await store.create_from_chunks(ArtifactWrite(), pieces(b"four"))).ref
    error = await refused(read_all(store, ref.artifact_id, offset=offset, length=length))
    assert (type(error), error.reason, error.field) == (InvalidArgumentError, "MALFORMED_REQUEST", field)


async def test_range_survives_deletion(store: ArtifactStore) -> None:
    """A range that has begun is read to its end though the artifact is deleted under it."""
    data = os.urandom(2 * MIB)
    ref = (await store.create_from_chunks(ArtifactWrite(), pieces(data))).ref
    async with store.open_reader(ref.artifact_id, offset=MIB) as reader:
        assert await store.delete(ref.artifact_id)
        assert b"".join([piece async for piece in reader]) == data[MIB:]
