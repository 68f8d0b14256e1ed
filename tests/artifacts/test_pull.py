"""Pulls: a host fetches an artifact from another one, whoever leaves or dies meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from paglet.v1 import artifact_pb2_grpc
from paglets.artifacts.store import ArtifactWrite, PullProgress, PullRequest, WriteOutcome
from paglets.client.artifacts import RemoteArtifactStore
from paglets.client.channel import open_channel
from paglets.client.client import Client
from paglets.config import HostSettings
from paglets.digest import Digest
from paglets.errors import NotFoundError, PermissionDeniedError, PreconditionError, UnavailableError
from paglets.host.pull import PULL_POINTS
from paglets.server import RunningHost
from paglets.testing import HostProcess, eventually, local_host
from paglets.values import OwnerPolicy
from tests.artifacts.relay import Relay
from tests.artifacts.support import pieces, read_all, refused
from tests.artifacts.test_wire import chunk, header

MIB = 1024**2
DATA = bytes(range(256)) * 4096
PLAIN = PullRequest(pull_id="p", source_host="alpha", source_artifact_id="a")


@dataclass(frozen=True)
class Pair:
    """Two hosts of one mesh in this process, and a client of each."""

    source: RunningHost
    target: RunningHost
    there: RemoteArtifactStore
    here: RemoteArtifactStore

    async def request(self, **fields: object) -> PullRequest:
        """A pull of artifact `a` with a ticket."""
        ticket = await self.there.create_read_ticket("a", "beta")
        fields = {"read_ticket": ticket, **fields}
        return replace(
            PullRequest(pull_id="p", source_host="alpha", source_artifact_id="a", read_ticket=ticket), **fields
        )


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    """Alpha has artifact `a`, beta fetches."""
    settings = HostSettings(name="beta", data=tmp_path / "beta", listen="127.0.0.1:0", drain_s=2.0, pull_patience_s=0.5)
    async with (
        local_host("alpha") as source,
        local_host(settings=settings, join=source.address) as target,
        open_channel(source.address) as to_source,
        open_channel(target.address) as to_target,
    ):
        there, here = RemoteArtifactStore(to_source), RemoteArtifactStore(to_target)
        write = ArtifactWrite(
            artifact_id="a",
            name="report",
            owner="somebody",
            owner_policy=OwnerPolicy.DELETE_WITH_OWNER,
            content_type="text/plain",
            content_encoding="zstd",
            labels={"kind": "report"},
            ttl_s=3600.0,
        )
        await there.create_from_chunks(write, pieces(DATA))
        yield Pair(source, target, there, here)


async def test_moves_the_bytes(pair: Pair) -> None:
    """A pulled artifact has the bytes of the source, and is known as it is there."""
    told: list[PullProgress] = []
    result = await pair.here.pull(await pair.request(), progress=told.append)
    assert result.outcome is WriteOutcome.COMMITTED
    assert await read_all(pair.here, result.ref.artifact_id) == DATA
    before = await pair.there.ref("a")
    assert result.ref.expires_at is not None
    assert before.expires_at is not None
    assert abs(result.ref.expires_at - before.expires_at) < 60.0
    same = replace(before, host="beta", artifact_id=result.ref.artifact_id, created_at=result.ref.created_at)
    assert result.ref == replace(same, expires_at=result.ref.expires_at)
    assert told[-1] == PullProgress(bytes_done=len(DATA), bytes_total=len(DATA), result=result)


async def test_is_placed_as_asked(pair: Pair) -> None:
    """What the request says of the artifact goes before what the source says."""
    request = await pair.request(
        artifact_id="b", name="", owner="", owner_policy=OwnerPolicy.KEEP, content_type="", content_encoding="",
        labels={"a": "b"}, ttl_s=7200.0,
    )  # fmt: skip
    ref = (await pair.here.pull(request)).ref
    assert (ref.artifact_id, ref.name, ref.owner, ref.owner_policy) == ("b", "", "", OwnerPolicy.KEEP)
    assert (ref.content_type, ref.content_encoding, ref.labels) == ("", "", {"a": "b"})
    assert ref.expires_at is not None
    assert 7100.0 < ref.expires_at - ref.created_at < 7300.0


async def test_from_outside_the_mesh(pair: Pair) -> None:
    """A source may be a host that only its address is known of."""
    request = await pair.request(source_host="", source_address=pair.source.address)
    assert (await pair.here.pull(request)).ref.digest == Digest.of(DATA)


async def test_repeated(pair: Pair) -> None:
    """The same pull asked for twice at once, and again later with a fresh ticket, is made once."""
    first, second = await asyncio.gather(pair.here.pull(await pair.request()), pair.here.pull(await pair.request()))
    await pair.there.delete("a")
    third = await pair.here.pull(PLAIN)
    assert first == second == third
    assert len((await pair.here.list()).refs) == 1


async def test_other_request_under_the_same_id(pair: Pair) -> None:
    """A pull id belongs to one request."""
    await pair.here.pull(await pair.request())
    error = await refused(pair.here.pull(await pair.request(name="other")))
    assert isinstance(error, PreconditionError)
    assert (error.reason, error.metadata) == ("REQUEST_ID_REUSED", {"pull_id": "p"})


async def test_upload_of_another_under_the_same_id(pair: Pair) -> None:
    """A pull that finds somebody's upload under its id ends, and leaves that upload alone."""
    async with open_channel(pair.target.address) as channel:
        stub: artifact_pb2_grpc.ArtifactServiceAsyncStub = artifact_pb2_grpc.ArtifactServiceStub(channel)
        await stub.WriteArtifact(iter([header(upload_id="p", name="mine"), chunk(0, b"mine")]))
    error = await refused(pair.here.pull(await pair.request()))
    assert error.reason == "REQUEST_ID_REUSED"
    assert (await pair.here.upload("p")).prefix == Digest.of(b"mine")


async def test_known_bytes_are_not_fetched(pair: Pair) -> None:
    """Where the target has the bytes in an artifact of the same owner, none come from the source."""
    await pair.here.create_from_chunks(ArtifactWrite(artifact_id="mine", owner="somebody"), pieces(DATA))
    async with Relay(int(pair.source.address.rpartition(":")[2])) as relay:
        request = await pair.request(source_host="", source_address=relay.address)
        assert (await pair.here.pull(request)).outcome is WriteOutcome.DEDUPLICATED
        assert relay.received < 64 * 1024


async def test_failure_is_kept(pair: Pair) -> None:
    """A pull that has failed for certain has its error for whoever asks again, and leaves no partial."""
    await pair.there.delete("a")
    for _ in range(2):
        error = await refused(pair.here.pull(PLAIN))
        assert isinstance(error, NotFoundError)
        assert error.reason == "ARTIFACT_NOT_FOUND"
        await pair.there.create_from_chunks(ArtifactWrite(artifact_id="a", upload_id="again"), pieces(DATA))
    assert not (await pair.here.uploads()).uploads


async def test_ticket_of_another_host(pair: Pair) -> None:
    """A ticket that is not the target's ends the pull."""
    ticket = await pair.there.create_read_ticket("a", "gamma")
    error = await refused(pair.here.pull(await pair.request(read_ticket=ticket)))
    assert isinstance(error, PermissionDeniedError)
    assert (error.reason, error.metadata) == ("TICKET_INVALID", {"cause": "audience"})


async def test_source_that_cannot_be_reached(pair: Pair) -> None:
    """A source that does not answer is tried again, which is told, until nothing has moved for too long."""
    told: list[PullProgress] = []
    request = await pair.request(source_host="", source_address="127.0.0.1:1")
    error = await refused(pair.here.pull(request, progress=told.append))
    assert isinstance(error, UnavailableError)
    assert (error.reason, error.metadata) == ("HOST_UNREACHABLE", {"host": "127.0.0.1:1"})
    assert not told[0].problem
    unknown = await refused(pair.here.pull(await pair.request(pull_id="q", source_host="nowhere")))
    assert unknown.reason == "HOST_NOT_FOUND"


@pytest.mark.parametrize(
    ("fields", "reason", "field"),
    [
        ({"pull_id": "No"}, "INVALID_ID", "pull_id"),
        ({"source_artifact_id": ""}, "INVALID_ID", "source_artifact_id"),
        ({"artifact_id": "../x"}, "INVALID_ID", "artifact_id"),
        ({"owner": "No"}, "INVALID_ID", "owner"),
        ({"source_host": "No"}, "INVALID_ID", "source_host"),
        ({"source_host": ""}, "MALFORMED_REQUEST", "source_host"),
        ({"source_host": "beta"}, "MALFORMED_REQUEST", "source_host"),
        ({"source_address": "unix:/tmp/x"}, "MALFORMED_REQUEST", "source_address"),
        ({"source_address": "127.0.0.1:0"}, "MALFORMED_REQUEST", "source_address"),
        ({"source_address": "127.0.0.1:65536"}, "MALFORMED_REQUEST", "source_address"),
        ({"read_ticket": bytes(1025)}, "MALFORMED_REQUEST", "read_ticket"),
    ],
)
async def test_bad_requests(pair: Pair, fields: dict[str, object], reason: str, field: str) -> None:
    """What is wrong with a request is told, and no pull is begun."""
    error = await refused(pair.here.pull(await pair.request(**fields)))
    assert (error.reason, error.field) == (reason, field)
    assert await pair.target.host.parts.journal.running_pulls() == []


@dataclass(frozen=True)
class Processes:
    """Two hosts that can be killed; the way from target to source is through a relay."""

    source: HostProcess
    target: HostProcess
    relay: Relay
    digest: Digest

    @property
    def request(self) -> PullRequest:
        """A pull through the relay."""
        return PullRequest(pull_id="p", source_address=self.relay.address, source_artifact_id="a", artifact_id="b")

    async def half_way(self) -> None:
        """Begins the pull as a caller who leaves when a part of it has come."""
        begun = asyncio.Event()

        def told(progress: PullProgress) -> None:
            if progress.bytes_done > 32 * MIB:
                begun.set()

        async with Client(self.target.address) as client:
            pulling = asyncio.create_task(client.artifacts.pull(self.request, progress=told))
            await asyncio.wait([pulling, asyncio.create_task(begun.wait())], return_when=asyncio.FIRST_COMPLETED)
            assert not pulling.done()
            pulling.cancel()
            await asyncio.wait([pulling])

    async def arrived(self) -> None:
        """Waits for the artifact without asking for the pull."""

        async def look() -> bool:
            try:
                return (await client.artifacts.ref("b")).digest == self.digest
            except NotFoundError:
                return False

        async with Client(self.target.address) as client:
            await eventually(look, 30.0, "the artifact")


@pytest.fixture
async def processes(tmp_path: Path) -> AsyncIterator[Processes]:
    """Alpha has artifact `a` of 64 MiB; the relay passes 32 MiB a second."""
    source = HostProcess(name="alpha", data=tmp_path / "alpha")
    await source.start()
    target = HostProcess(name="beta", data=tmp_path / "beta", join=source.address)
    await target.start()
    data = b"".join(number.to_bytes(8, "big") * 8192 for number in range(1024))
    async with Client(source.address) as client:
        await client.artifacts.create_from_chunks(ArtifactWrite(artifact_id="a"), pieces(data))
    async with Relay(int(source.address.rpartition(":")[2]), bytes_per_s=32 * MIB) as relay:
        yield Processes(source, target, relay, Digest.of(data))
    for host in (target, source):
        await host.kill()


@pytest.mark.slow
async def test_callers_traffic(processes: Processes) -> None:
    """The caller of a pull of 64 MiB sends and receives less than 64 KiB."""
    async with (
        Relay(int(processes.target.address.rpartition(":")[2])) as own,
        Client(own.address) as client,
    ):
        result = await client.artifacts.pull(processes.request)
        assert result.ref.digest == processes.digest
        assert own.sent + own.received < 64 * 1024


@pytest.mark.slow
async def test_caller_leaves(processes: Processes) -> None:
    """A pull goes on without its caller."""
    await processes.half_way()
    await processes.arrived()


@pytest.mark.slow
async def test_target_killed(processes: Processes) -> None:
    """A killed target takes the pull up when it is started again, from where it was."""
    await processes.half_way()
    await processes.target.kill()
    await processes.target.start()
    await processes.arrived()
    assert processes.relay.received < processes.digest.size_bytes + 24 * MIB


@pytest.mark.slow
async def test_source_killed(processes: Processes) -> None:
    """A pull waits for a killed source, and goes on from where it was."""
    await processes.half_way()
    await processes.source.kill()
    await processes.source.start()
    await processes.arrived()
    assert processes.relay.received < processes.digest.size_bytes + 24 * MIB


@pytest.mark.slow
@pytest.mark.parametrize("data", [b"other", b""])
async def test_source_replaced(processes: Processes, data: bytes) -> None:
    """A pull that goes on never splices two sources: it ends when the source has other bytes, and leaves nothing."""
    await processes.half_way()
    await processes.target.kill()
    async with Client(processes.source.address) as client:
        await client.artifacts.delete("a")
        await client.artifacts.create_from_chunks(ArtifactWrite(artifact_id="a"), pieces(data))
    await processes.target.start()
    async with Client(processes.target.address) as client:
        assert (await refused(client.artifacts.pull(processes.request))).reason == "ARTIFACT_NOT_FOUND"
        assert not (await client.artifacts.uploads()).uploads
        usage = (await client.artifacts.usage()).host
        assert (usage.used, usage.reserved) == (0, 0)


@pytest.mark.slow
@pytest.mark.parametrize("point", PULL_POINTS)
async def test_target_killed_at(processes: Processes, point: str) -> None:
    """Wherever the target is killed, there is one artifact in the end, and its caller has it."""
    await processes.target.stop()
    await processes.target.start({"PAGLETS_FAULT": point})
    async with Client(processes.target.address) as client:
        pulling = asyncio.create_task(client.artifacts.pull(processes.request))
        assert await processes.target.ended() == -9
        await processes.target.start()
        assert (await pulling).ref.digest == processes.digest
        assert len((await client.artifacts.list()).refs) == 1
