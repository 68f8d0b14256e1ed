"""Many writers race for a quota over the wire: it holds at every moment, and the refused have sent nothing."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Generator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import pytest

from paglets.artifacts.store import ArtifactWrite
from paglets.client.artifacts import RemoteArtifactStore
from paglets.client.channel import open_channel
from paglets.errors import ExhaustedError
from tests.artifacts.relay import Relay
from tests.artifacts.serve import serving
from tests.artifacts.support import assert_consistent, bytes_on_disk, opened, refused, settings

WRITERS, FIT = 16, 5
SIZE = 4 * 1024 * 1024
ROOM = FIT * SIZE
LOOK_S = 0.005
HEADERS_BYTES = 16 * 1024
"""More than connection, header and refusal take, and less than any data."""


class Sampled:
    """The most bytes that were on the disk, looked at by a thread all the time."""

    def __init__(self) -> None:
        self.most = 0
        self.times = 0

    @contextmanager
    def looking(self, root: Path) -> Generator[None]:
        """Looks while the block runs."""
        ended = threading.Event()

        def look() -> None:
            while not ended.wait(LOOK_S):
                self.most = max(self.most, bytes_on_disk(root))
                self.times += 1

        thread = threading.Thread(target=look)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


@pytest.mark.slow
async def test_five_of_sixteen(root: Path, tmp_path: Path) -> None:
    """Five succeed, eleven are told what is used, reserved, allowed and wanted before they have sent a byte."""
    sampled, relays = Sampled(), list[Relay]()
    async with (
        opened(root, bounds=settings(quota_bytes=ROOM)) as store,
        serving(store) as port,
        AsyncExitStack() as stack,
    ):

        async def write(number: int) -> None:
            source = tmp_path / str(number)
            source.write_bytes(os.urandom(SIZE))
            relays.append(relay := await stack.enter_async_context(Relay(port)))
            channel = await stack.enter_async_context(open_channel(relay.address))
            try:
                await RemoteArtifactStore(channel).create_from_path(ArtifactWrite(), source)
            except ExhaustedError:
                assert relay.sent < HEADERS_BYTES
                raise

        with sampled.looking(root):
            results = await asyncio.gather(*(write(number) for number in range(WRITERS)), return_exceptions=True)
        errors = [result for result in results if isinstance(result, ExhaustedError)]
        assert (results.count(None), len(errors)) == (FIT, WRITERS - FIT)
        for error in errors:
            assert error.reason == "QUOTA_EXCEEDED"
            told = {key: int(error.metadata[f"{key}_bytes"]) for key in ("limit", "used", "reserved", "requested")}
            assert (told["limit"], told["requested"], told["used"] + told["reserved"]) == (ROOM, SIZE, ROOM)
    assert sampled.times > 10
    assert 0 < sampled.most <= ROOM
    assert_consistent(root)


async def test_partials_count(root: Path, tmp_path: Path) -> None:
    """What lies as a partial takes room from the others, and its own writer has it still."""
    async with opened(root, bounds=settings(quota_bytes=SIZE)) as store:
        data, source = os.urandom(SIZE), tmp_path / "source"
        source.write_bytes(data)
        write = ArtifactWrite(upload_id="u", name="n", size_bytes=SIZE)
        async with await store.open_upload(write) as upload:
            await upload.write(0, data[: SIZE // 2])
        async with serving(store) as port, open_channel(f"127.0.0.1:{port}") as channel:
            remote = RemoteArtifactStore(channel)
            error = await refused(remote.create_from_path(ArtifactWrite(), source))
            assert (error.reason, error.metadata["reserved_bytes"]) == ("QUOTA_EXCEEDED", str(SIZE))
            await remote.create_from_path(ArtifactWrite(upload_id="u", name="n"), source)
        assert (await store.usage()).host.used == SIZE
    assert_consistent(root)
