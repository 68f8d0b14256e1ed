"""Bytes that are no longer what they were are never handed out as if they were, and are healed when they come again."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest

from paglets.artifacts.local import LocalArtifactStore
from paglets.artifacts.store import ArtifactStore, ArtifactWrite, WriteOutcome
from paglets.client.artifacts import RemoteArtifactStore
from paglets.client.channel import open_channel
from paglets.errors import DataLossError
from tests.artifacts.serve import serving
from tests.artifacts.support import assert_consistent, names_in, opened, pieces, put, read_all, refused

DATA = bytes(range(256)) * 10_000


def flip(path: Path) -> None:
    """One bit is wrong, late in the file."""
    with path.open("r+b") as file:
        file.seek(len(DATA) - 10)
        file.write(bytes([DATA[-10] ^ 1]))


def cut(path: Path) -> None:
    """The end is missing."""
    with path.open("r+b") as file:
        file.truncate(len(DATA) // 2)


def lengthen(path: Path) -> None:
    """There is too much."""
    with path.open("ab") as file:
        file.write(b"x")


DAMAGES = pytest.mark.parametrize("damage", [flip, cut, lengthen, Path.unlink])


async def _all_refuse(store: ArtifactStore, artifact_id: str, folder: Path) -> None:
    target = folder / "target"
    target.write_bytes(b"untouched")
    for call in (read_all(store, artifact_id), store.export_to_path(artifact_id, target)):
        error = await refused(call)
        assert isinstance(error, DataLossError)
        assert (error.reason, error.metadata) == ("STORED_BLOB_CORRUPT", {"artifact_id": artifact_id})
    assert target.read_bytes() == b"untouched"
    assert names_in(folder) == {"target"}
    assert (await store.ref(artifact_id)).corrupt


@DAMAGES
async def test_damage_is_told(local: LocalArtifactStore, tmp_path: Path, damage: Callable[[Path], None]) -> None:
    """Reading and exporting damaged bytes ends with DATA_LOSS, the first time and after."""
    artifact_id = await put(local, DATA)
    damage(await local.blob_path(artifact_id))
    folder = tmp_path / "out"
    folder.mkdir()
    await _all_refuse(local, artifact_id, folder)
    await _all_refuse(local, artifact_id, folder)
    assert (await local.ref(artifact_id)).size_bytes == len(DATA)


@DAMAGES
async def test_damage_is_told_over_the_wire(
    local: LocalArtifactStore, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    """A host never ends the stream of a damaged artifact well."""
    artifact_id = await put(local, DATA)
    damage(await local.blob_path(artifact_id))
    folder = tmp_path / "out"
    folder.mkdir()
    async with serving(local) as port, open_channel(f"127.0.0.1:{port}") as channel:
        await _all_refuse(RemoteArtifactStore(channel), artifact_id, folder)


async def test_lists_tell_of_damage(local: LocalArtifactStore) -> None:
    """A list says which artifacts are corrupt, and when the bytes of each were last found right."""
    ids = [await put(local, bytes([number]) * len(DATA), artifact_id=f"a{number}") for number in range(2)]
    cut(await local.blob_path(ids[1]))
    await refused(read_all(local, ids[1]))
    async with serving(local) as port, open_channel(f"127.0.0.1:{port}") as channel:
        for store in (local, RemoteArtifactStore(channel)):
            refs = (await store.list()).refs
            assert [(ref.artifact_id, ref.corrupt) for ref in refs] == [(ids[0], False), (ids[1], True)]
            assert [ref.verified_at for ref in refs] == [(await store.ref(each)).verified_at for each in ids]
            assert None not in [ref.verified_at for ref in refs]


@DAMAGES
@pytest.mark.parametrize("known", [False, True])
async def test_the_same_bytes_heal(root: Path, damage: Callable[[Path], None], *, known: bool) -> None:
    """Bytes that come again replace the damaged ones for all artifacts that had them, whether a reader told or not."""
    async with opened(root) as store:
        first = await put(store, DATA)
        second = await put(store, DATA)
        damage(await store.blob_path(first))
        if known:
            await refused(read_all(store, second))
        result = await store.create_from_chunks(ArtifactWrite(), pieces(DATA))
        assert result.outcome is WriteOutcome.COMMITTED
        for artifact_id in (first, second, result.ref.artifact_id):
            assert await read_all(store, artifact_id) == DATA
        await store.sweep()
    assert_consistent(root)


async def test_unreadable_bytes_are_stored_anew(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that the disk no longer reads is no reason to drop the same bytes that have just come."""
    async with opened(root) as store:
        first = await put(store, DATA)
        path, real = await store.blob_path(first), Path.open

        def failing(file: Path, mode: str = "r", buffering: int = -1) -> IO[Any]:
            if file == path:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return real(file, mode, buffering)

        monkeypatch.setattr(Path, "open", failing)
        result = await store.create_from_chunks(ArtifactWrite(), pieces(DATA))
        assert result.outcome is WriteOutcome.COMMITTED
        for artifact_id in (first, result.ref.artifact_id):
            assert await read_all(store, artifact_id) == DATA
        await store.sweep()
    assert_consistent(root)


async def test_damaged_artifacts_can_be_deleted(root: Path) -> None:
    """What cannot be read can be deleted, and its room is free again."""
    async with opened(root) as store:
        for damage in (flip, Path.unlink):
            artifact_id = await put(store, DATA)
            damage(await store.blob_path(artifact_id))
            await refused(read_all(store, artifact_id))
            assert await store.delete(artifact_id)
        assert (await store.usage()).host.used == 0
    assert_consistent(root)
