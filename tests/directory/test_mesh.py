"""MeshService over a real server: any host tells which hosts there are."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import grpc
import pytest

from paglet.v1 import mesh_pb2, mesh_pb2_grpc
from paglets.client.channel import open_channel
from paglets.directory.contract import HostRegistration
from paglets.directory.sqlite import SqliteDirectory
from paglets.errors import InvalidArgumentError, NotFoundError, PagletError
from paglets.services.paging import page_size, page_start, page_token
from paglets.wire.mesh import host_from_message
from paglets.wire.status import from_rpc_error
from tests.directory.support import host, new, put, serving


@pytest.fixture
async def mesh(local: SqliteDirectory) -> AsyncIterator[mesh_pb2_grpc.MeshServiceAsyncStub]:
    """MeshService of the host `alpha`."""
    async with serving(local) as port, open_channel(f"127.0.0.1:{port}") as channel:
        stub: mesh_pb2_grpc.MeshServiceAsyncStub = mesh_pb2_grpc.MeshServiceStub(channel)
        yield stub


async def refusal(call: grpc.aio.UnaryUnaryCall[mesh_pb2.ListHostsRequest, mesh_pb2.ListHostsResponse]) -> PagletError:
    """The error that a call ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return from_rpc_error(caught.value)


async def names(mesh: mesh_pb2_grpc.MeshServiceAsyncStub, size: int) -> list[list[str]]:
    """The names on each page."""
    pages: list[list[str]] = []
    token = ""
    while not pages or token:
        page = await mesh.ListHosts(mesh_pb2.ListHostsRequest(page_size=size, page_token=token))
        pages.append([found.name for found in page.hosts])
        token = page.next_page_token
    return pages


async def test_mesh_1_host_is_described(mesh: mesh_pb2_grpc.MeshServiceAsyncStub, local: SqliteDirectory) -> None:
    """By name, or the one that is asked; as the directory knows it, but for the uid, which stays among hosts."""
    await local.lease_register(host("alpha"), 10)
    await local.lease_register(host("beta", "uid-2"), 10)
    await put(local, new("cart", "beta"))
    alpha, beta = (replace(found, uid="") for found in await local.hosts())
    assert beta.paglet_count == 1
    assert host_from_message((await mesh.GetHost(mesh_pb2.GetHostRequest())).host) == alpha
    assert host_from_message((await mesh.GetHost(mesh_pb2.GetHostRequest(name="beta"))).host) == beta


async def test_mesh_6_unknown_host_is_not_found(mesh: mesh_pb2_grpc.MeshServiceAsyncStub) -> None:
    """The name asked for is in the error."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await mesh.GetHost(mesh_pb2.GetHostRequest(name="gamma"))
    error = from_rpc_error(caught.value)
    assert isinstance(error, NotFoundError)
    assert error.reason == "HOST_NOT_FOUND"
    assert error.resource is not None
    assert (error.resource.kind, error.resource.name) == ("host", "gamma")


async def test_mesh_1_hosts_come_in_pages(mesh: mesh_pb2_grpc.MeshServiceAsyncStub, local: SqliteDirectory) -> None:
    """Pages put together are all hosts by name; the last has no token, also when it is full; 0 asks for 100."""
    assert await names(mesh, 10) == [[]]
    expected = [f"host-{number:03}" for number in range(120)]
    for name in reversed(expected):
        await local.lease_register(HostRegistration(name=name, uid=name, address="127.0.0.1:7600"), 10)
    assert await names(mesh, 50) == [expected[:50], expected[50:100], expected[100:]]
    assert await names(mesh, 60) == [expected[:60], expected[60:]]
    assert await names(mesh, 0) == [expected[:100], expected[100:]]
    assert await names(mesh, 2_000_000_000) == [expected]


async def test_page_that_cannot_be_is_refused(mesh: mesh_pb2_grpc.MeshServiceAsyncStub) -> None:
    """A negative size and a token that no page gave are the caller's mistakes, and named."""
    requests = [("page_size", mesh_pb2.ListHostsRequest(page_size=-1))]
    tokens = ("host-1", "\N{GREEK SMALL LETTER PI}", "_w", "MTph!")
    requests += [("page_token", mesh_pb2.ListHostsRequest(page_token=token)) for token in tokens]
    for field, request in requests:
        error = await refusal(mesh.ListHosts(request))
        assert isinstance(error, InvalidArgumentError)
        assert (error.reason, error.field) == ("MALFORMED_REQUEST", field)


def test_page_sizes() -> None:
    """0 is the default, and more than the cap is the cap."""
    assert [page_size(requested) for requested in (0, 1, 100, 1000, 1001)] == [100, 1, 100, 1000, 1000]


@pytest.mark.parametrize("key", ["", "a", "host-1", "\N{GREEK SMALL LETTER PI}" * 100])
def test_tokens_bring_their_key_back(key: str) -> None:
    """Whatever the key, and fit for a URL."""
    assert page_start(page_token(key)) == key
    assert page_token(key).replace("-", "").replace("_", "").isalnum()
