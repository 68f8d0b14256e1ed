"""A directory of each kind: whoever asks for `directory` is run on all of them."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from paglets.client.channel import open_channel
from paglets.client.directory import RemoteDirectory
from paglets.directory.contract import Directory
from paglets.directory.sqlite import SqliteDirectory
from tests.directory.support import Clock, serving


@pytest.fixture
def clock() -> Clock:
    """The directory's clock."""
    return Clock()


@pytest.fixture
async def local(tmp_path: Path, clock: Clock) -> AsyncIterator[SqliteDirectory]:
    """A new directory in a file."""
    directory = await SqliteDirectory.open(tmp_path / "directory.db", clock)
    yield directory
    await directory.close()


@pytest.fixture
async def remote(local: SqliteDirectory) -> AsyncIterator[RemoteDirectory]:
    """The same directory over TCP."""
    async with serving(local) as port, open_channel(f"127.0.0.1:{port}") as channel:
        yield RemoteDirectory(channel)


@pytest.fixture(params=["local", "remote"])
def directory(request: pytest.FixtureRequest) -> Directory:
    """Each implementation of the contract."""
    found: Directory = request.getfixturevalue(request.param)
    return found
