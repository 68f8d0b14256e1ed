"""The bounds of pulls: how many there are, how long they are remembered, what they may take, and how they are ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import pytest

from paglets.artifacts.store import ArtifactWrite, PullProgress, PullRequest
from paglets.client.artifacts import RemoteArtifactStore
from paglets.client.channel import open_channel
from paglets.config import HostSettings, StoreSettings
from paglets.digest import Digest
from paglets.errors import ConflictError, ExhaustedError
from paglets.host.pulls import AT_ONCE
from paglets.server import RunningHost
from paglets.testing import local_host
from tests.artifacts.relay import Relay
from tests.artifacts.support import armed, eventually, pieces, refused

MIB = 1024**2
DATA = bytes(range(256)) * 24576  # three messages
NOWHERE = PullRequest(pull_id="n", source_address="127.0.0.1:1", source_artifact_id="a")
Target: TypeAlias = tuple[RunningHost, RemoteArtifactStore]


@pytest.fixture
async def source() -> AsyncIterator[RunningHost]:
    """A host that has artifact `a`."""
    async with local_host("alpha") as host, open_channel(host.address) as channel:
        await RemoteArtifactStore(channel).create_from_chunks(ArtifactWrite(artifact_id="a"), pieces(DATA))
        yield host


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    """Ends what a test has begun."""
    async with AsyncExitStack() as stack:
        yield stack


async def fetching(stack: AsyncExitStack, data: Path, *, max_pulls: int = 64, **store: int) -> Target:
    """A host that fetches, and its store as a client sees it."""
    bounds = StoreSettings(**store)
    settings = HostSettings(
        name="beta", data=data, listen="127.0.0.1:0", drain_s=2.0, max_pulls=max_pulls, store=bounds
    )
    host = await stack.enter_async_context(local_host(settings=settings))
    return host, RemoteArtifactStore(await stack.enter_async_context(open_channel(host.address)))


def of(source: RunningHost | Relay, pull_id: str = "p") -> PullRequest:
    """A pull of the source's artifact."""
    return PullRequest(pull_id=pull_id, source_address=source.address, source_artifact_id="a")


async def begun(store: RemoteArtifactStore, request: PullRequest) -> asyncio.Task[object]:
    """A pull whose caller was told that it is kept."""
    told = asyncio.Event()
    pulling = asyncio.create_task(store.pull(request, progress=lambda _: told.set()))
    await told.wait()
    return pulling


async def left(store: RemoteArtifactStore) -> tuple[int, int, int]:
    """How many uploads there are, and what the host counts as used and reserved."""
    usage = (await store.usage()).host
    return len((await store.uploads()).uploads), usage.used, usage.reserved


async def test_too_many(stack: AsyncExitStack, source: RunningHost, tmp_path: Path) -> None:
    """No more pulls are unfinished than there may be; those that are can be joined, and the next one may come after."""
    _, store = await fetching(stack, tmp_path / "beta", max_pulls=1)
    first, again = await begun(store, NOWHERE), await begun(store, NOWHERE)
    error = await refused(store.pull(of(source)))
    assert isinstance(error, ExhaustedError)
    assert (error.reason, error.metadata, error.retry_after_s) == ("TOO_MANY_UPLOADS", {"limit": "1"}, 1.0)
    assert await store.cancel_upload("n")
    for pulling in (first, again):
        assert (await refused(pulling)).reason == "UPLOAD_CANCELLED"
    assert (await store.pull(of(source))).ref.digest == Digest.of(DATA)


async def test_few_at_once(stack: AsyncExitStack, source: RunningHost, tmp_path: Path) -> None:
    """However many pulls there are, few of them are at work; all end well, though they want the same."""
    _, store = await fetching(stack, tmp_path / "beta")
    relay = await stack.enter_async_context(Relay(int(source.address.rpartition(":")[2]), bytes_per_s=8 * MIB))
    pulls = [asyncio.create_task(store.pull(of(relay, f"p{number}"))) for number in range(AT_ONCE + 4)]
    most = 0
    while not all(pull.done() for pull in pulls):
        most = max(most, sum(upload.writing for upload in (await store.uploads()).uploads))
    assert 1 <= most <= AT_ONCE
    assert {(await pull).ref.digest for pull in pulls} == {Digest.of(DATA)}
    assert await left(store) == (0, len(DATA), 0)


async def test_remembered_for_a_day(stack: AsyncExitStack, source: RunningHost, tmp_path: Path) -> None:
    """The outcome of a pull is told for a day; then its id is as good as new, also for another pull."""
    host, store = await fetching(stack, tmp_path / "beta")
    journal = host.host.parts.journal
    await store.pull(of(source))
    ended = await journal.pull("p")
    assert ended is not None
    other = replace(of(source), source_artifact_id="other")
    await journal.save_pull(replace(ended, ended_at=time.time() - 24 * 3600.0 + 60.0))
    assert (await refused(store.pull(other))).reason == "REQUEST_ID_REUSED"
    await journal.save_pull(replace(ended, ended_at=time.time() - 24 * 3600.0))
    assert (await refused(store.pull(other))).reason == "ARTIFACT_NOT_FOUND"


async def test_no_room(stack: AsyncExitStack, source: RunningHost, tmp_path: Path) -> None:
    """A pull of more than the quota has left ends with that, for good, before a byte has come."""
    _, store = await fetching(stack, tmp_path / "beta", quota_bytes=MIB)
    relay = await stack.enter_async_context(Relay(int(source.address.rpartition(":")[2])))
    for _ in range(2):
        error = await refused(store.pull(of(relay)))
        assert (error.reason, error.metadata["requested_bytes"]) == ("QUOTA_EXCEEDED", str(len(DATA)))
    assert relay.received < 64 * 1024
    assert await left(store) == (0, 0, 0)


async def test_full_disk(stack: AsyncExitStack, source: RunningHost, tmp_path: Path) -> None:
    """A full disk is waited for, which is told; whoever will not cancels the upload of the pull's id."""
    _, store = await fetching(stack, tmp_path / "beta", min_free_bytes=1 << 60)
    full = asyncio.Event()

    def told(progress: PullProgress) -> None:
        if "of the disk free" in progress.problem:
            full.set()

    pulling = asyncio.create_task(store.pull(of(source), progress=told))
    await full.wait()
    assert await store.cancel_upload("p")
    for outcome in (pulling, store.pull(of(source))):
        error = await refused(outcome)
        assert isinstance(error, ConflictError)
        assert (error.reason, error.retry_after_s) == ("UPLOAD_CANCELLED", None)
    assert not await store.cancel_upload("p")
    assert await left(store) == (0, 0, 0)


async def test_cancelled_on_its_way(stack: AsyncExitStack, source: RunningHost, tmp_path: Path) -> None:
    """A pull whose bytes are coming is cancelled with what has come; its upload is seen under its id before that."""
    _, store = await fetching(stack, tmp_path / "beta")
    relay = await stack.enter_async_context(Relay(int(source.address.rpartition(":")[2]), bytes_per_s=4 * MIB))
    pulling = await begun(store, of(relay))

    async def coming() -> bool:
        return any(upload.upload_id == "p" and upload.committed_size for upload in (await store.uploads()).uploads)

    await eventually(coming)
    assert await store.cancel_upload("p")
    assert (await refused(pulling)).reason == "UPLOAD_CANCELLED"
    assert await left(store) == (0, 0, 0)


async def test_cancelled_too_late(stack: AsyncExitStack, source: RunningHost, tmp_path: Path) -> None:
    """A pull that has its artifact keeps it."""
    _, store = await fetching(stack, tmp_path / "beta")
    made = await store.pull(of(source))
    assert not await store.cancel_upload("p")
    assert await store.pull(of(source)) == made


async def test_cancelled_by_many(stack: AsyncExitStack, source: RunningHost, tmp_path: Path) -> None:
    """Whoever cancels a pull that others cancel at the same time is told the same, or that it is over."""
    _, store = await fetching(stack, tmp_path / "beta")
    relay = await stack.enter_async_context(Relay(int(source.address.rpartition(":")[2]), bytes_per_s=4 * MIB))
    pulling = await begun(store, of(relay))
    assert any(await asyncio.gather(*(store.cancel_upload("p") for _ in range(8))))
    assert (await refused(pulling)).reason == "UPLOAD_CANCELLED"


async def test_cancelled_while_it_ends(stack: AsyncExitStack, source: RunningHost, tmp_path: Path) -> None:
    """A pull that has its artifact, and is just being noted to have it, keeps it."""
    host, store = await fetching(stack, tmp_path / "beta")
    cancelling = list[asyncio.Task[bool]]()

    def cancel(name: str) -> None:
        if name == "pull.end.before":
            cancelling.append(asyncio.create_task(host.host.pulls.cancel("p")))

    with armed(cancel):
        made = await store.pull(of(source))
    assert await asyncio.gather(*cancelling) == [False]
    assert made.ref.digest == Digest.of(DATA)
