"""How a host starts: its folder, its name, its port, and whom it lets listen."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from grpc_health.v1 import health_pb2

from paglet.v1 import artifact_pb2, artifact_pb2_grpc
from paglets.client.calls import errors_of_calls
from paglets.client.channel import open_channel
from paglets.client.client import Client
from paglets.config import HostSettings
from paglets.errors import (
    AlreadyExistsError,
    InvalidArgumentError,
    PagletError,
    PermissionDeniedError,
    UnavailableError,
)
from paglets.server import running_host
from paglets.testing import local_host
from tests.ports import taken_port


async def _refusal(settings: HostSettings) -> PagletError:
    with pytest.raises(PagletError) as caught:
        async with running_host(settings):
            pass
    return caught.value


async def test_mesh_8_host_keeps_its_port(tmp_path: Path) -> None:
    """A host that may choose its port takes the one it had, so that addresses survive a restart."""
    async with local_host(data=tmp_path) as first:
        address = first.address
    async with local_host(data=tmp_path) as again:
        assert again.address == address
    with taken_port(address):
        async with local_host(data=tmp_path) as elsewhere:
            assert elsewhere.address != address
            moved = elsewhere.address
    async with local_host(data=tmp_path) as there:
        assert there.address == moved


async def test_port_that_is_taken_is_refused(tmp_path: Path) -> None:
    """Two hosts never share a port."""
    async with local_host() as first:
        error = await _refusal(HostSettings(name="beta", data=tmp_path, listen=first.address))
        assert first.address in error.message
        async with Client(first.address) as client:
            assert (await client.host()).name == "alpha"


async def test_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    """Another folder cannot take the name of a host that lives; its own folder can again."""
    async with local_host() as alpha:
        async with local_host("beta", join=alpha.address, data=tmp_path / "one"):
            with pytest.raises(AlreadyExistsError) as caught:
                async with local_host("beta", join=alpha.address, data=tmp_path / "two"):
                    pass
            assert caught.value.reason == "HOST_NAME_TAKEN"
        async with local_host("beta", join=alpha.address, data=tmp_path / "one") as again:
            assert again.host.name == "beta"


async def test_folder_has_one_host_at_a_time(tmp_path: Path) -> None:
    """Two processes never use one folder; nor does a host of another name, or of another mesh."""
    mine = HostSettings(name="alpha", data=tmp_path, listen="127.0.0.1:0")
    async with local_host(data=tmp_path) as alpha:
        assert (await _refusal(mine)).reason == "DATA_FOLDER_LOCKED"
        address = alpha.address
    settings: Mapping[str, HostSettings] = {
        "name": HostSettings(name="beta", data=tmp_path, listen="127.0.0.1:0"),
        "mesh": HostSettings(name="alpha", data=tmp_path, listen="127.0.0.1:0", join=address),
    }
    for key, wanted in settings.items():
        error = await _refusal(wanted)
        assert error.reason == "DATA_FOLDER_LOCKED"
        assert key in error.metadata
    async with local_host(data=tmp_path) as again:
        assert again.address == address


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "example.org:0", ":0"])
async def test_listening_beyond_this_machine_is_refused(tmp_path: Path, listen: str) -> None:
    """Without transport security a host is for its own machine; the error names the flag that says otherwise."""
    error = await _refusal(HostSettings(name="alpha", data=tmp_path, listen=listen))
    assert isinstance(error, PermissionDeniedError)
    assert "--insecure" in error.message


async def test_insecure_listening_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With the flag the host listens, and says what that means."""
    settings = HostSettings(name="alpha", data=tmp_path, listen="0.0.0.0:0", insecure=True)
    async with running_host(settings) as running, Client(f"127.0.0.1:{running.address.rpartition(':')[2]}") as client:
        assert (await client.host()).name == "alpha"
    assert "without encryption" in caplog.text


@pytest.mark.parametrize("listen", ["127.0.0.1", "127.0.0.1:x", "127.0.0.1:99999", "", "unix", "unix:"])
async def test_addresses_that_are_none_are_refused(tmp_path: Path, listen: str) -> None:
    """What is no address is refused before anything is opened."""
    error = await _refusal(HostSettings(name="alpha", data=tmp_path / "new", listen=listen))
    assert isinstance(error, InvalidArgumentError)
    assert not (tmp_path / "new").exists()


async def test_unix_socket(tmp_path: Path) -> None:
    """A host may listen on a socket of the file system."""
    settings = HostSettings(name="alpha", data=tmp_path / "data", listen=f"unix:{tmp_path}/paglets.sock")
    async with running_host(settings) as running, Client(running.address) as client:
        assert (await client.host()).address == running.address
    for path in ("/nowhere/at/all.sock", str(tmp_path), f"{tmp_path}/{'x' * 200}"):
        error = await _refusal(HostSettings(name="alpha", data=tmp_path / "data", listen=f"unix:{path}"))
        assert error.reason == "TRANSPORT"


async def test_unix_socket_of_another_host_is_left_alone(tmp_path: Path) -> None:
    """A socket that somebody accepts on is taken, as a port is; one that a killed host left behind is taken over."""
    listen = f"unix:{tmp_path}/paglets.sock"
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(f"{tmp_path}/paglets.sock")
    async with running_host(HostSettings(name="alpha", data=tmp_path / "a", listen=listen)):
        error = await _refusal(HostSettings(name="beta", data=tmp_path / "b", listen=listen))
        assert error.reason == "TRANSPORT"
        assert listen in error.message
        async with Client(listen) as client:
            assert (await client.host()).name == "alpha"


@pytest.mark.parametrize("name", ["", "Alpha", "a/b", "..", "x" * 129])
async def test_names_that_are_none_are_refused(tmp_path: Path, name: str) -> None:
    """A host's name is an id."""
    assert (await _refusal(HostSettings(name=name, data=tmp_path, listen="127.0.0.1:0"))).reason == "INVALID_ID"


@pytest.mark.parametrize("module", ["no.such.module", "json", "paglets.errors"])
async def test_modules_without_paglets_are_refused(tmp_path: Path, module: str) -> None:
    """A module that cannot be imported, or defines no type, is a mistake that is told at the start."""
    error = await _refusal(HostSettings(name="alpha", data=tmp_path, listen="127.0.0.1:0", allow=(module,)))
    assert (error.reason, error.field) == ("MALFORMED_REQUEST", "allow")
    assert module in error.message


async def test_watch_of_artifacts_ends_with_its_host() -> None:
    """Whoever watches the artifacts of a host is told that it ends, before the calls that are still at work."""
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(local_host())
        async with open_channel(running.address) as channel:
            stub: artifact_pb2_grpc.ArtifactServiceAsyncStub = artifact_pb2_grpc.ArtifactServiceStub(channel)
            watch = aiter(stub.WatchArtifacts(artifact_pb2.WatchArtifactsRequest()))
            await anext(watch)
            closing = asyncio.create_task(stack.aclose())
            with pytest.raises(UnavailableError) as caught, errors_of_calls():
                await anext(watch)
            await closing
    assert caught.value.reason == "SHUTTING_DOWN"


async def test_health_can_be_watched() -> None:
    """Whoever watches the health of a host is told at once that it serves, and again when it no longer does."""
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(local_host())
        async with open_channel(running.address) as channel:
            method = channel.unary_stream(
                "/grpc.health.v1.Health/Watch",
                request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
                response_deserializer=health_pb2.HealthCheckResponse.FromString,
            )
            watch = method(health_pb2.HealthCheckRequest())
            seen = [await watch.read()]
            closing = asyncio.create_task(stack.aclose())
            seen.append(await watch.read())
            watch.cancel()
            await closing
    serving, ending = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
    assert seen == [health_pb2.HealthCheckResponse(status=status) for status in (serving, ending)]
