"""The examples that spread work over hosts: what they find is right, and no child is left."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from paglet.examples.mesh_search.v1.mesh_search_pb2 import SearchRequest, SearchResponse
from paglet.examples.mesh_search.v1.mesh_search_pb2_grpc import MeshSearchServiceStub
from paglet.examples.performance.v1.performance_pb2 import MeasureRequest
from paglet.examples.performance.v1.performance_pb2_grpc import PerformanceServiceStub
from paglet.examples.pi.v1.pi_pb2 import ComputeRequest
from paglet.examples.pi.v1.pi_pb2_grpc import PiServiceStub
from paglets.examples.mesh_search import MeshSearch
from paglets.examples.performance import Performance
from paglets.examples.pi import Pi, pi_text
from tests.examples.conftest import NAMES, Mesh


def _machin(digits: int) -> str:
    """Pi by another formula: 16 arctan(1/5) - 4 arctan(1/239)."""
    one = 10 ** (digits + 10)

    def arctan(inverse: int) -> int:
        power, total, number = one // inverse, 0, 1
        while power:
            total += power // number if number % 4 == 1 else -(power // number)
            power, number = power // inverse**2, number + 2
        return total

    return pi_text((16 * arctan(5) - 4 * arctan(239)) // 10**10, digits)


async def _only(mesh: Mesh, paglet_id: str) -> bool:
    return [found.paglet_id async for found in mesh.client.list()] == [paglet_id]


@pytest.mark.parametrize(("digits", "hosts"), [(1, ()), (50, ("beta",)), (5000, ()), (3000, ("alpha", "nowhere"))])
async def test_pi_is_right(mesh: Mesh, digits: int, hosts: tuple[str, ...]) -> None:
    """Whoever computes it; the part of a host that is not there is computed at home."""
    proxy = await mesh.client.create(Pi)
    done: list[str] = []
    text = ""
    async for response in proxy.stub(PiServiceStub).Compute(ComputeRequest(digits=digits, hosts=hosts)):
        if response.HasField("digits"):
            text += response.digits
        else:
            assert not text
            done.append(response.host_done)
    assert text == _machin(digits)
    assert len(text) == digits + 2
    assert set(done) <= set(hosts or NAMES) - {"nowhere"}
    assert await _only(mesh, proxy.paglet_id)


def test_machin_agrees_with_what_everybody_knows() -> None:
    """The reference of these tests."""
    assert _machin(20) == "3.14159265358979323846"


async def test_pi_has_a_bound(mesh: Mesh) -> None:
    """It is told."""
    call = (await mesh.client.create(Pi)).stub(PiServiceStub).Compute(ComputeRequest(digits=100_001))
    with pytest.raises(grpc.aio.AioRpcError, match="from 1 to 100000 digits") as caught:
        await call.read()
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_hosts_are_measured(mesh: Mesh) -> None:
    """Each once, with numbers; one that is not there has an error, and nothing is left on a disk."""
    proxy = await mesh.client.create(Performance)
    request = MeasureRequest(
        hosts=[*NAMES, "nowhere"], duration=Duration(nanos=20_000_000), disk_bytes=1 << 20, timeout=Duration(seconds=60)
    )
    found = [response async for response in proxy.stub(PerformanceServiceStub).Measure(request)]
    assert sorted(response.host for response in found) == sorted([*NAMES, "nowhere"])
    for response in found:
        measured = (response.hash_bytes_per_second, response.copy_bytes_per_second, response.disk_bytes_per_second)
        assert bool(response.error) is (response.host == "nowhere")
        assert all(rate > 0 for rate in (response.cores, *measured)) is not bool(response.error)
    assert await _only(mesh, proxy.paglet_id)


@pytest.mark.slow
async def test_search_tells_what_it_finds_as_it_comes(mesh: Mesh) -> None:
    """More than one message a host holds; and one search at a time."""
    for name, folder in mesh.files.items():
        for number in range(250):
            (folder / f"{number:03}.txt").write_text(f"line of {name}\n")
    proxy = await mesh.client.create(MeshSearch)
    search = proxy.stub(MeshSearchServiceStub).Search
    found: dict[str, list[str]] = {name: [] for name in NAMES}
    async for response in search(SearchRequest(text="of (alpha|beta)", name="*.txt")):
        assert not response.error
        found[response.host] += [each.path for each in response.found]
    assert {name: len(paths) for name, paths in found.items()} == {"alpha": 250, "beta": 250, "gamma": 0}
    assert found["beta"] == sorted(found["beta"])

    both = await asyncio.gather(*(_ended(search(SearchRequest(name="*.txt"))) for _ in range(2)))
    assert sorted(both, key=str) == [grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.OK]
    assert await _only(mesh, proxy.paglet_id)


async def test_search_goes_past_files_with_odd_names(mesh: Mesh) -> None:
    """A name that is no text is shown as far as it is one, and keeps no other file from being found."""
    for name in (b"a.txt", b"b\xff.txt", b"c.txt"):
        (mesh.files["alpha"] / os.fsdecode(name)).write_bytes(b"line\n")
    search = (await mesh.client.create(MeshSearch)).stub(MeshSearchServiceStub).Search
    for text in ("", "line"):
        told = [response async for response in search(SearchRequest(name="*.txt", text=text, hosts=["alpha"]))]
        assert [(response.error, Path(each.path).name) for response in told for each in response.found] == [
            ("", "a.txt"),
            ("", "b\ufffd.txt"),
            ("", "c.txt"),
        ]


@pytest.mark.parametrize(
    "request_", [SearchRequest(max_found=-1), SearchRequest(timeout=Duration(seconds=2**62))], ids=["number", "span"]
)
async def test_search_that_nobody_can_make_is_refused(mesh: Mesh, request_: SearchRequest) -> None:
    """So is what no number or span can be."""
    search = (await mesh.client.create(MeshSearch)).stub(MeshSearchServiceStub).Search
    assert await _ended(search(request_)) is grpc.StatusCode.INVALID_ARGUMENT


async def _ended(call: grpc.aio.UnaryStreamCall[SearchRequest, SearchResponse]) -> grpc.StatusCode:
    try:
        async for _ in call:
            pass
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK
