"""Stores for the tests: on disk, and the same over TCP in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import pytest

from paglets.artifacts.local import LocalArtifactStore
from paglets.artifacts.store import ArtifactStore
from paglets.client.artifacts import RemoteArtifactStore
from paglets.client.channel import open_channel
from tests.artifacts.support import INLINE_BYTES, Clock, opened, settings

MAX_ARTIFACT_BYTES = 6 * 1024 * 1024
QUOTA_BYTES = 24 * 1024 * 1024


@pytest.fixture
def clock() -> Clock:
    """The store's clock."""
    return Clock()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The store's folder."""
    return tmp_path / "store"


@pytest.fixture
async def local(root: Path, clock: Clock) -> AsyncIterator[LocalArtifactStore]:
    """A new store on disk that keeps each blob in a file."""
    bounds = settings(max_artifact_bytes=MAX_ARTIFACT_BYTES, quota_bytes=QUOTA_BYTES)
    store = await LocalArtifactStore.open(root, "alpha", bounds, clock=clock)
    yield store
    await store.close()


@pytest.fixture
async def inline(root: Path, clock: Clock) -> AsyncIterator[LocalArtifactStore]:
    """A new store on disk that keeps what is small in its catalogue, as every host's does."""
    bounds = settings(max_artifact_bytes=MAX_ARTIFACT_BYTES, quota_bytes=QUOTA_BYTES, inline_bytes=INLINE_BYTES)
    async with opened(root, clock, bounds) as store:
        yield store


@pytest.fixture(scope="session")
def host_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a host process with a store listens."""
    root = tmp_path_factory.mktemp("host")
    limits = (str(MAX_ARTIFACT_BYTES), str(QUOTA_BYTES))
    command = (sys.executable, "-m", "tests.artifacts.serve", str(root), *limits)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield f"127.0.0.1:{int(process.stdout.readline())}"
        process.terminate()


@pytest.fixture
async def channel(host_address: str) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to the host process."""
    async with open_channel(host_address) as channel:
        yield channel


@pytest.fixture
def remote(channel: grpc.aio.Channel) -> RemoteArtifactStore:
    """The store of the host process."""
    return RemoteArtifactStore(channel)


@pytest.fixture(params=["local", "inline", "remote"])
def store(request: pytest.FixtureRequest) -> ArtifactStore:
    """Each implementation of the contract. The remote one is shared: a test must not mind the artifacts of others."""
    found: ArtifactStore = request.getfixturevalue(request.param)
    return found
