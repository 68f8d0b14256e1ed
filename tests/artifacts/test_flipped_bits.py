"""A bit that flips on the way is never taken for a success, whichever way the bytes go."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from paglets.artifacts.local import LocalArtifactStore
from paglets.artifacts.store import ArtifactWrite
from paglets.client.artifacts import RemoteArtifactStore
from paglets.client.channel import open_channel
from paglets.digest import Digest
from paglets.errors import DataLossError, InvalidArgumentError, PagletError
from tests.artifacts.proxy import Flip, Way, proxied
from tests.artifacts.serve import serving
from tests.artifacts.support import assert_consistent, is_empty, names_in, pieces, put, read_all, refused

DATA = b"\xa5" * 3_000_003
RUN = b"\xa5" * 64
OFFSETS = [0, 100_000, 1_100_000, 2_500_000]
ATTEMPTS = 60


@asynccontextmanager
async def over(local: LocalArtifactStore, flip: Flip) -> AsyncGenerator[RemoteArtifactStore]:
    """The store over a way that flips a bit; whoever waits for what is lost does not wait long."""
    async with (
        serving(local, stall_timeout_s=0.5) as port,
        proxied(port, flip) as proxy,
        open_channel(f"127.0.0.1:{proxy.port}") as channel,
    ):
        yield RemoteArtifactStore(channel, timeout_s=0.5, stall_timeout_s=0.5, patience_s=0.5)


@pytest.mark.parametrize("offset", OFFSETS)
async def test_payload_of_a_download(local: LocalArtifactStore, tmp_path: Path, offset: int) -> None:
    """Bytes that changed on their way down are DATA_LOSS; no file appears, and the store is not blamed for it."""
    artifact_id = await put(local, DATA)
    folder = tmp_path / "out"
    folder.mkdir()
    for number in range(2):
        flip = Flip("down", offset, RUN)
        async with over(local, flip) as store:
            calls = (read_all(store, artifact_id), store.export_to_path(artifact_id, folder / "file"))
            error = await refused(calls[number])
            calls[1 - number].close()
        assert (type(error), error.reason) == (DataLossError, "STORED_BLOB_CORRUPT")
        assert flip.done
    assert names_in(folder) == set()
    assert not (await local.ref(artifact_id)).corrupt


@pytest.mark.parametrize("offset", OFFSETS)
async def test_payload_of_an_upload(local: LocalArtifactStore, root: Path, offset: int) -> None:
    """Bytes that changed on their way up are refused by their digest, and not kept."""
    flip = Flip("up", offset, RUN)
    async with over(local, flip) as store:
        error = await refused(put(store, DATA))
    assert flip.done
    assert (type(error), error.reason) == (InvalidArgumentError, "DIGEST_MISMATCH")
    assert_consistent(root)
    assert is_empty(root)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("way", ["up", "down"])
async def test_anything_of_a_download(local: LocalArtifactStore, tmp_path: Path, seed: int, way: Way) -> None:
    """Wherever the bit is, in requests, headers, frames or data: a file that appears is right."""
    data = random.Random(seed).randbytes(200_000)
    await put(local, data, artifact_id="a")
    arrived = 0
    for number in range(ATTEMPTS):
        target = tmp_path / "out" / str(number)
        reach = 700 if way == "up" or number % 2 else len(data)
        async with over(local, Flip(way, random.Random(seed + number).randrange(reach))) as store:
            try:
                await store.export_to_path("a", target)
            except PagletError:
                assert not target.exists()
            else:
                arrived += 1
                assert target.read_bytes() == data
    assert names_in(tmp_path / "out") <= {str(number) for number in range(ATTEMPTS)}
    assert arrived < ATTEMPTS


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_anything_of_an_upload(local: LocalArtifactStore, seed: int) -> None:
    """Wherever the bit is: an upload that succeeds has stored the bytes that were sent."""
    for number in range(ATTEMPTS):
        data = random.Random(seed - number).randbytes(200_000)
        reach = 700 if number % 2 else len(data)
        async with over(local, Flip("up", random.Random(seed + number).randrange(reach))) as store:
            try:
                await store.create_from_chunks(ArtifactWrite(), pieces(data))
            except PagletError:
                continue
        refs = (await local.list(page_size=1000)).refs
        (artifact_id,) = (ref.artifact_id for ref in refs if ref.digest == Digest.of(data))
        assert await read_all(local, artifact_id) == data
