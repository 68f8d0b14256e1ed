"""What machines are like, and which hosts suit: as psutil says, and no filter is ignored."""

from __future__ import annotations

import math
import os
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import psutil
import pytest
from google.protobuf.duration_pb2 import Duration

from paglet.v1.mesh_info_pb2 import GetLandscapeRequest, HostSnapshot, RankHostsRequest
from paglet.v1.mesh_info_pb2_grpc import MeshInfoServiceStub
from paglet.v1.server_info_pb2 import (
    GetLoadRequest,
    GetSummaryRequest,
    Gpu,
    ListDisksRequest,
    ListProcessesRequest,
    Load,
)
from paglet.v1.server_info_pb2_grpc import ServerInfoServiceStub
from paglets.client.client import Client
from paglets.client.proxy import PagletProxy
from paglets.errors import InvalidArgumentError
from paglets.system.mesh_info import MeshInfo, rank, server_info_id
from paglets.system.server_info import ServerInfo
from paglets.testing import local_host

MODULES = ["paglets.system.server_info", "paglets.system.mesh_info"]


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    """A host with a `ServerInfo`; a second one, gamma, is there and has none."""
    async with AsyncExitStack() as stack:
        alpha = await stack.enter_async_context(local_host("alpha", allow=MODULES, data=tmp_path / "a"))
        await stack.enter_async_context(local_host("gamma", join=alpha.address, data=tmp_path / "g"))
        client = await stack.enter_async_context(Client(alpha.address))
        await client.create(ServerInfo, paglet_id=server_info_id("alpha"))
        yield client


@pytest.fixture
def server_info(client: Client) -> PagletProxy:
    """The service of alpha."""
    return client.proxy(server_info_id("alpha"))


async def test_si_1_load(server_info: PagletProxy) -> None:
    """Numbers of this machine."""
    load = (await server_info.stub(ServerInfoServiceStub).GetLoad(GetLoadRequest())).load
    assert (load.cores, load.memory_bytes) == (psutil.cpu_count(), psutil.virtual_memory().total)
    assert 0 < load.available_memory_bytes < load.memory_bytes
    assert 0 <= load.cpu_percent <= 100
    assert load.free_disk_bytes > 0
    assert load.time.seconds > 1_700_000_000


async def test_si_1_load_of_an_interval(server_info: PagletProxy) -> None:
    """The cores are watched for as long as is asked for, within bounds."""
    stub = server_info.stub(ServerInfoServiceStub)
    for seconds in (0, 0.5):
        interval = Duration()
        interval.FromNanoseconds(int(seconds * 1e9))
        begun = time.monotonic()
        assert 0 <= (await stub.GetLoad(GetLoadRequest(interval=interval))).load.cpu_percent <= 100
        assert time.monotonic() - begun >= seconds
    for seconds in (-1, 11):
        with pytest.raises(InvalidArgumentError) as caught:
            await stub.GetLoad(GetLoadRequest(interval=Duration(seconds=seconds)))
        assert (caught.value.reason, caught.value.field) == ("MALFORMED_REQUEST", "interval")


@pytest.mark.parametrize(
    ("script", "gpus", "error"),
    [
        ("", [], "nvidia-smi is not installed"),
        (
            "echo 'A100, SXM4, 37, 40536, 1024'; echo 'T4, [N/A], 15360, [N/A]'",
            [],
            "nvidia-smi could not be understood",
        ),
        (
            "echo 'A100-SXM4, 37, 40536, 1024'; echo 'T4, [N/A], 15360, [N/A]'",
            [
                Gpu(name="A100-SXM4", percent=37, memory_bytes=40536 << 20, used_memory_bytes=1024 << 20),
                Gpu(name="T4", memory_bytes=15360 << 20),
            ],
            "",
        ),
        ("echo no driver >&2; exit 9", [], "nvidia-smi failed: no driver"),
        ("exec tail -f /dev/null", [], "nvidia-smi did not answer within 2 s"),
    ],
    ids=["absent", "odd", "two", "no-driver", "hanging"],
)
async def test_si_1_gpus(
    server_info: PagletProxy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    script: str,
    gpus: list[Gpu],
    error: str,
) -> None:
    """They are told if they are asked for, as far as the driver's program tells; the load is told in any case."""
    program = tmp_path / "programs" / "nvidia-smi"
    program.parent.mkdir()
    if script:
        program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":" if script else None)
    reply = await server_info.stub(ServerInfoServiceStub).GetLoad(GetLoadRequest(with_gpus=True))
    assert (list(reply.gpus), reply.gpu_error[: len(error) or None]) == (gpus, error)
    assert reply.load.cores > 0
    unasked = await server_info.stub(ServerInfoServiceStub).GetLoad(GetLoadRequest())
    assert (list(unasked.gpus), unasked.gpu_error) == ([], "")


async def test_si_1_summary(server_info: PagletProxy) -> None:
    """What the machine is, and which host is on it."""
    summary = await server_info.stub(ServerInfoServiceStub).GetSummary(GetSummaryRequest())
    assert (summary.host, summary.machine) == ("alpha", os.uname().nodename)
    assert summary.system.startswith("Linux")
    assert summary.version
    assert summary.boot_time.seconds == int(psutil.boot_time())
    assert summary.load.cores == psutil.cpu_count()


async def test_si_1_disks(server_info: PagletProxy) -> None:
    """Volumes by path; a path that is none has an error, and the others have not."""
    stub = server_info.stub(ServerInfoServiceStub)
    root, nowhere = (await stub.ListDisks(ListDisksRequest(paths=["/", "/nowhere"]))).disks
    assert (root.path, root.size_bytes, root.error) == ("/", psutil.disk_usage("/").total, "")
    assert (nowhere.path, nowhere.size_bytes) == ("/nowhere", 0)
    assert "No such file" in nowhere.error
    assert all(disk.error == "" for disk in (await stub.ListDisks(ListDisksRequest())).disks)


async def test_si_1_processes(server_info: PagletProxy) -> None:
    """The largest first, as many as are wanted, by a text in any case, and with arguments only if that is asked for."""
    stub = server_info.stub(ServerInfoServiceStub)
    found = await stub.ListProcesses(ListProcessesRequest(text=psutil.Process().name().upper(), limit=1000))
    (own,) = [process for process in found.processes if process.pid == os.getpid()]
    assert (own.name, list(own.arguments)) == (psutil.Process().name(), [])
    sizes = [process.memory_bytes for process in found.processes]
    assert sizes == sorted(sizes, reverse=True)
    default = await stub.ListProcesses(ListProcessesRequest())
    assert len(default.processes) == 25 or not default.truncated
    for limit in (1, -3):
        assert len((await stub.ListProcesses(ListProcessesRequest(limit=limit))).processes) == 1
    everything = await stub.ListProcesses(ListProcessesRequest(limit=1, with_arguments=True))
    assert (len(everything.processes), everything.truncated) == (1, True)
    assert len(everything.processes[0].arguments) > 0
    assert not (await stub.ListProcesses(ListProcessesRequest(text="no such text anywhere"))).processes
    by_line = await stub.ListProcesses(ListProcessesRequest(text=" ".join(psutil.Process().cmdline()), limit=1000))
    assert os.getpid() in {process.pid for process in by_line.processes}


async def test_mi_1_landscape(client: Client) -> None:
    """One of each host; young ones are remembered, and a host that does not tell has an error."""
    stub = (await client.create(MeshInfo)).stub(MeshInfoServiceStub)
    first, gamma = (await stub.GetLandscape(GetLandscapeRequest())).hosts
    assert (first.host, first.error, gamma.host, gamma.HasField("load")) == ("alpha", "", "gamma", False)
    assert gamma.error
    again = (await stub.GetLandscape(GetLandscapeRequest())).hosts[0]
    assert again == first
    anew = (await stub.GetLandscape(GetLandscapeRequest(max_age=Duration()))).hosts[0]
    assert anew.load.time.ToNanoseconds() > first.load.time.ToNanoseconds()
    ranked = await stub.RankHosts(RankHostsRequest())
    assert [found.snapshot.host for found in ranked.hosts] == ["alpha"]
    assert [found.host for found in ranked.rejected] == ["gamma"]
    none = await stub.RankHosts(RankHostsRequest(tags=["gpu"]))
    assert (list(none.hosts), none.rejected[0].reason) == ([], "it lacks the tags gpu")


@pytest.mark.parametrize(
    "request_",
    [
        RankHostsRequest(limit=-1),
        RankHostsRequest(max_load_per_core=math.nan),
        RankHostsRequest(max_cpu_percent=-1.0),
        RankHostsRequest(min_free_disk_bytes=-1),
    ],
    ids=lambda request_: str(request_).strip(),
)
async def test_mi_1_bound_that_is_none_is_refused(client: Client, request_: RankHostsRequest) -> None:
    """Nothing is taken for a filter that filters nothing, or for a number of hosts from the end."""
    stub = (await client.create(MeshInfo)).stub(MeshInfoServiceStub)
    with pytest.raises(InvalidArgumentError) as caught:
        await stub.RankHosts(request_)
    assert caught.value.reason == "MALFORMED_REQUEST"


async def test_mi_1_any_age_may_be_asked_for(client: Client) -> None:
    """An age that no clock comes to is an age."""
    stub = (await client.create(MeshInfo)).stub(MeshInfoServiceStub)
    first = (await stub.GetLandscape(GetLandscapeRequest())).hosts[0]
    assert (await stub.GetLandscape(GetLandscapeRequest(max_age=Duration(seconds=2**62)))).hosts[0] == first
    assert (await stub.GetLandscape(GetLandscapeRequest(max_age=Duration(seconds=-(2**62))))).hosts[0] != first


def _snapshot(host: str, load_1m: float, cpu: float, available: int, free: int = 10) -> HostSnapshot:
    load = Load(
        load_1m=load_1m,
        cores=2,
        cpu_percent=cpu,
        memory_bytes=100,
        available_memory_bytes=available,
        free_disk_bytes=free,
    )
    return HostSnapshot(host=host, load=load)


SNAPSHOTS = (
    _snapshot("busy", 4.0, 90.0, 10, 99),
    _snapshot("idle", 0.2, 5.0, 80, 1),
    _snapshot("middle", 1.0, 40.0, 50),
)


def test_mi_1_no_more_hosts_than_are_wanted() -> None:
    """The least busy of those that suit; a host that would do is not rejected for that."""
    tags = {snapshot.host: frozenset[str]() for snapshot in SNAPSHOTS}
    ranked, rejected = rank(SNAPSHOTS, tags, RankHostsRequest(limit=1, max_cpu_percent=50.0))
    assert ([found.snapshot.host for found in ranked], [found.host for found in rejected]) == (["idle"], ["busy"])


@pytest.mark.parametrize(
    ("request_", "suit"),
    [
        (RankHostsRequest(), ["idle", "middle", "busy"]),
        (RankHostsRequest(min_available_memory_bytes=50), ["idle", "middle"]),
        (RankHostsRequest(min_free_disk_bytes=10), ["middle", "busy"]),
        (RankHostsRequest(max_load_per_core=0.5), ["idle", "middle"]),
        (RankHostsRequest(max_cpu_percent=39.0), ["idle"]),
        (RankHostsRequest(tags=["GPU"]), ["busy"]),
        (RankHostsRequest(tags=["gpu"], max_cpu_percent=50.0), []),
    ],
    ids=lambda found: str(found).replace("\n", " ") if isinstance(found, RankHostsRequest) else "",
)
def test_mi_1_filters_are_honoured(request_: RankHostsRequest, suit: list[str]) -> None:
    """A host that does not meet one of them is told with why, and is never a second choice."""
    tags = {"busy": frozenset({"gpu"}), "idle": frozenset[str](), "middle": frozenset[str]()}
    ranked, rejected = rank(SNAPSHOTS, tags, request_)
    assert [found.snapshot.host for found in ranked] == suit
    assert sorted(found.host for found in rejected) == sorted({"busy", "idle", "middle"} - set(suit))
    assert all(found.reason for found in rejected)
    scores = [found.score for found in ranked]
    assert scores == sorted(scores)
