"""What a store says a digest is, is BLAKE3-256: by the official vectors, and by a second implementation."""

from __future__ import annotations

from pathlib import Path

import pytest

from paglets.artifacts.store import ArtifactStore, ArtifactWrite
from paglets.digest import Digest
from tests.artifacts.support import pieces, read_all
from tests.slow_blake3 import slow_blake3
from tests.test_digest import VECTORS, vector_input

KIB, MIB = 1024, 1024 * 1024
PIECE_BYTES = 100_001

# Around the sizes at which something changes: small pieces, chunks of a read, chunks of an upload.
EDGES = [edge + step for edge in (64 * KIB, 256 * KIB, MIB, 2 * MIB) for step in (-1, 0, 1)]


async def goes_through(store: ArtifactStore, data: bytes, expected: str, folder: Path) -> None:
    """Stores the bytes as they come and as a file; what is told of them, and what comes back, has the digest."""
    source, target = folder / "source", folder / "target"
    source.write_bytes(data)
    told = Digest(bytes.fromhex(expected), len(data))
    as_file = await store.create_from_path(ArtifactWrite(expected_digest=told), source)
    await store.delete(as_file.ref.artifact_id)
    parts = pieces(*(data[start : start + PIECE_BYTES] for start in range(0, len(data), PIECE_BYTES)))
    as_pieces = await store.create_from_chunks(ArtifactWrite(), parts)
    artifact_id = as_pieces.ref.artifact_id
    assert [as_file.ref.digest, as_pieces.ref.digest, (await store.ref(artifact_id)).digest] == [told] * 3
    assert await read_all(store, artifact_id) == data
    await store.export_to_path(artifact_id, target)
    assert target.read_bytes() == data
    await store.delete(artifact_id)


@pytest.mark.slow
async def test_official_vectors(store: ArtifactStore, tmp_path: Path) -> None:
    """Each official vector holds through upload, stat and download."""
    for size, expected in VECTORS:
        await goes_through(store, vector_input(size), expected, tmp_path)


def test_the_second_implementation() -> None:
    """It holds the official vectors too, so that it may judge."""
    assert [slow_blake3(vector_input(size)) for size, _ in VECTORS] == [expected for _, expected in VECTORS]


@pytest.mark.slow
@pytest.mark.parametrize("size", EDGES)
async def test_edges(store: ArtifactStore, tmp_path: Path, size: int) -> None:
    """At the lengths where pieces and messages end, a second implementation finds the same."""
    data = vector_input(size)
    await goes_through(store, data, slow_blake3(data), tmp_path)
