"""Reads that go on where they broke: over a bad way, over a restart of the host, and never with other bytes."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from paglet.v1 import artifact_pb2, artifact_pb2_grpc
from paglets.artifacts.local import LocalArtifactStore
from paglets.client.artifacts import RemoteArtifactStore
from paglets.client.backoff import Backoff
from paglets.client.channel import open_channel
from paglets.client.retry import RetryPolicy
from paglets.digest import Digest
from paglets.errors import ExhaustedError, NotFoundError, UnavailableError
from tests.artifacts.proxy import Cuts, Proxy, proxied
from tests.artifacts.serve import serving
from tests.artifacts.support import PATIENCE_S, names_in, opened, put, read_all, refused

MIB = 1024 * 1024
DATA = os.urandom(5 * MIB + 3)


@asynccontextmanager
async def over(proxy: Proxy, *, patience_s: float = 30.0) -> AsyncGenerator[RemoteArtifactStore]:
    """The store behind a proxy."""
    async with open_channel(f"127.0.0.1:{proxy.port}") as channel:
        yield RemoteArtifactStore(channel, patience_s=patience_s)


async def test_download_over_a_bad_way(local: LocalArtifactStore, tmp_path: Path) -> None:
    """A download whose connection breaks again and again ends well, and takes few bytes twice.

    Of each that breaks, these are at most the half of a message that came, and the one before if nobody had taken it.
    """
    artifact_id = await put(local, DATA)
    done: list[int] = []
    cuts = Cuts(MIB // 2, 4 * MIB + MIB // 2)
    async with serving(local) as port, proxied(port, cuts) as proxy, over(proxy) as store:
        ref = await store.export_to_path(artifact_id, tmp_path / "out" / "file", progress=done.append)
    assert (tmp_path / "out" / "file").read_bytes() == DATA
    assert names_in(tmp_path / "out") == {"file"}
    assert ref.digest == Digest.of(DATA)
    assert done == sorted(set(done))
    assert done[-1] == len(DATA)
    assert cuts.left == []
    assert cuts.passed < len(DATA) + MIB // 2 + (2 * MIB + MIB // 2) + MIB // 2  # the last is for what is no data


@pytest.mark.parametrize(("offset", "length"), [(0, None), (1, None), (7, 4 * MIB)])
async def test_reader_over_a_bad_way(local: LocalArtifactStore, offset: int, length: int | None) -> None:
    """A reader of the whole or of a range gets just its bytes, whatever breaks between them."""
    artifact_id = await put(local, DATA)
    cuts = Cuts(5000, MIB + MIB // 2, MIB + MIB // 2)
    async with serving(local) as port, proxied(port, cuts) as proxy, over(proxy) as store:
        end = len(DATA) if length is None else offset + length
        assert await read_all(store, artifact_id, offset=offset, length=length) == DATA[offset:end]
    assert cuts.left == []


async def _broken(local: LocalArtifactStore, meanwhile: Callable[[], Awaitable[object]]) -> bytes:
    """What comes of a read whose way breaks, so that it has to ask again after something happened."""
    await put(local, DATA, artifact_id="a")
    async with (
        serving(local) as port,
        proxied(port, Cuts(3 * MIB)) as proxy,
        over(proxy) as store,
        store.open_reader("a") as reader,
    ):
        pieces = aiter(reader)
        got = await anext(pieces)
        await meanwhile()
        return got + b"".join([piece async for piece in pieces])


@pytest.mark.parametrize("other", [bytes(len(DATA)), b"smaller"])
async def test_another_artifact_is_never_spliced_in(local: LocalArtifactStore, other: bytes) -> None:
    """A read that finds other bytes under the same id when it asks for the rest says so."""

    async def replace() -> None:
        await local.delete("a")
        await put(local, other, artifact_id="a")

    error = await refused(_broken(local, replace))
    assert (type(error), error.reason) == (NotFoundError, "ARTIFACT_NOT_FOUND")
    assert "was replaced while it was read" in error.message


async def test_deleted_meanwhile(local: LocalArtifactStore) -> None:
    """A read that breaks after its artifact was deleted cannot go on."""
    error = await refused(_broken(local, lambda: local.delete("a")))
    assert (type(error), error.reason) == (NotFoundError, "ARTIFACT_NOT_FOUND")


async def test_the_same_bytes_are_as_good(local: LocalArtifactStore) -> None:
    """What has the same digest is the same, whoever wrote it when."""

    async def write_again() -> None:
        await local.delete("a")
        await put(local, DATA, artifact_id="a")

    assert await _broken(local, write_again) == DATA


async def test_gives_up_without_progress(local: LocalArtifactStore, tmp_path: Path) -> None:
    """When the host stays away for as long as the caller has patience the read fails, and leaves no file."""
    artifact_id = await put(local, DATA)
    folder = tmp_path / "out"
    folder.mkdir()
    async with (
        serving(local) as port,
        proxied(port, Cuts(MIB + MIB // 2)) as proxy,
        over(proxy, patience_s=0.3) as store,
    ):

        def leave(_done: int) -> None:
            proxy.target = 1  # where nobody listens
            proxy.cut()

        error = await refused(store.export_to_path(artifact_id, folder / "file", progress=leave))
    assert (type(error), error.reason) == (UnavailableError, "TRANSPORT")
    assert names_in(folder) == set()


async def test_waits_for_its_turn(local: LocalArtifactStore) -> None:
    """Too many readers is no failure: the read begins when another has ended."""
    artifact_id = await put(local, DATA)
    async with serving(local, max_open_reads=1) as port, open_channel(f"127.0.0.1:{port}") as channel:
        stub: artifact_pb2_grpc.ArtifactServiceAsyncStub = artifact_pb2_grpc.ArtifactServiceStub(channel)
        other = stub.ReadArtifact(artifact_pb2.ReadArtifactRequest(artifact_id=artifact_id))
        await other.read()
        error = await refused(read_all(RemoteArtifactStore(channel, patience_s=0.1), artifact_id))
        assert (type(error), error.reason) == (ExhaustedError, "TOO_MANY_READS")
        reading = asyncio.create_task(read_all(RemoteArtifactStore(channel), artifact_id))
        other.cancel()
        assert await reading == DATA


async def test_budget() -> None:
    """Failures without progress end it; progress renews the budget, however often it is needed."""
    policy = RetryPolicy(timeout_s=0.1, first_pause_s=0.02, last_pause_s=0.04)
    failure = UnavailableError("TRANSPORT", "gone")
    loop = asyncio.get_running_loop()
    backoff, began = Backoff(policy), loop.time()
    while loop.time() < began + 0.3:
        await backoff.pause(failure)
        backoff.progressed()

    async def without_progress() -> None:
        while True:
            await backoff.pause(failure)

    began = loop.time()
    assert await refused(without_progress()) is failure
    assert loop.time() < began + PATIENCE_S
    hurried = UnavailableError("SHUTTING_DOWN", "come tomorrow", retry_after_s=86400.0)
    assert await refused(Backoff(policy).pause(hurried)) is hurried


async def _start(root: Path) -> tuple[Process, int]:
    """A host process with the store in `root`, and its port."""
    command = (sys.executable, "-m", "tests.artifacts.serve", str(root))
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    return process, int(await process.stdout.readline())


@pytest.mark.slow
@pytest.mark.parametrize("end", [Process.kill, Process.terminate])
async def test_download_over_a_restart(root: Path, end: Callable[[Process], None]) -> None:
    """A download goes on from where it was when its host was killed, or stopped, and started again."""
    data = os.urandom(48 * MIB)
    async with opened(root) as local:
        await put(local, data, artifact_id="a")
    process, port = await _start(root)
    got = bytearray()
    async with proxied(port) as proxy, over(proxy) as store, store.open_reader("a") as reader:
        async for piece in reader:
            if not got:
                end(process)
                await process.wait()
                process, proxy.target = await _start(root)
            got += piece
    assert bytes(got) == data
    process.terminate()
    await process.wait()
