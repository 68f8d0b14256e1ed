"""A long stream, whose first bytes cannot be had again, ends as the whole or not at all."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from paglets.artifacts.store import ArtifactWrite, WriteOutcome
from paglets.client.artifacts import RemoteArtifactStore
from paglets.client.channel import open_channel
from paglets.digest import Digest
from paglets.errors import CallerError
from tests.artifacts.proxy import Way, proxied
from tests.artifacts.serve import serving
from tests.artifacts.support import assert_consistent, opened, read_all, refused

MIB = 1024 * 1024
DATA = os.urandom(40 * MIB)  # our client holds 16 MiB of a stream
WRITE = ArtifactWrite(upload_id="u", artifact_id="a")


async def once(at: int, event: Callable[[], Awaitable[object]]) -> AsyncIterator[bytes]:
    """The bytes; something happens before those at an offset."""
    for offset in range(0, len(DATA), MIB):
        if offset == at:
            await event()
        yield DATA[offset : offset + MIB]


@pytest.mark.parametrize("write", [WRITE, ArtifactWrite()])
@pytest.mark.parametrize("at", [20 * MIB, 33 * MIB, 39 * MIB])
async def test_the_rest_is_never_the_whole(root: Path, write: ArtifactWrite, at: int) -> None:
    """When the host no longer has what it had, the upload fails; the rest of the stream makes no artifact."""
    async with opened(root) as local:

        async def cancel() -> None:
            for info in (await local.uploads()).uploads:
                await local.cancel_upload(info.upload_id)

        async with serving(local) as port, proxied(port) as proxy, open_channel(f"127.0.0.1:{proxy.port}") as channel:

            async def lose() -> None:
                proxy.cut()
                await cancel()

            error = await refused(RemoteArtifactStore(channel).create_from_chunks(write, once(at, lose)))
        assert error.reason in {"TRANSPORT", "UPLOAD_CANCELLED"}
        assert isinstance(error, CallerError) or error.reason == "UPLOAD_CANCELLED"
        assert (await local.list()).refs == ()
        await cancel()
    assert_consistent(root)


class LostAnswer:
    """Cuts the way instead of passing on what the host says once the artifact is there."""

    def __init__(self, root: Path) -> None:
        self.cut = False
        self._blobs = root / "blobs"

    def __call__(self, way: Way, data: bytes) -> bytes:
        """Looks whether it is there."""
        if way == "down" and not self.cut and any(self._blobs.glob("*/*")):
            self.cut = True
            raise ConnectionError
        return data


@pytest.mark.slow
@pytest.mark.parametrize("write", [WRITE, ArtifactWrite()])
async def test_a_lost_answer_to_a_long_stream(root: Path, write: ArtifactWrite) -> None:
    """The artifact was made when the way broke: whoever sent the stream is told that it is there."""
    lost = LostAnswer(root)

    async def nothing() -> None:
        """Nothing happens."""

    async with (
        opened(root) as local,
        serving(local) as port,
        proxied(port, lost) as proxy,
        open_channel(f"127.0.0.1:{proxy.port}") as channel,
    ):
        result = await RemoteArtifactStore(channel).create_from_chunks(write, once(0, nothing))
        assert lost.cut
        assert (result.outcome, result.ref.digest) == (WriteOutcome.ALREADY_COMMITTED, Digest.of(DATA))
        assert await read_all(local, result.ref.artifact_id) == DATA
    assert_consistent(root)
