"""gRPC's own interoperability cases against a paglet: directly, by way of strangers, and on the move."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType

import grpc
import pytest

from paglets.client.client import Client
from paglets.testing import HostProcess
from tests.interop.cases import CASES, Case, Server
from tests.protoc import generate

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
MODULE = "interop_paglet"
MOVES = 3


@dataclass(frozen=True)
class Code:
    """What protoc makes of the proto, and where."""

    folder: Path
    messages: ModuleType
    stubs: ModuleType


@dataclass(frozen=True)
class Mesh:
    """The server at alpha, which may go to beta; gamma has never heard of its class."""

    client: Client
    server: Callable[[str], Server]


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Code]:
    """Stubs and the paglet, on the path."""
    folder = tmp_path_factory.mktemp("interop")
    generate(HERE / "testing.proto", folder, "interop.v1")
    (folder / f"{MODULE}.py").write_text((HERE / f"{MODULE}.py.txt").read_text())
    sys.path.insert(0, str(folder))
    try:
        yield Code(folder, import_module("interop.v1.testing_pb2"), import_module("interop.v1.testing_pb2_grpc"))
    finally:
        sys.path.remove(str(folder))


@pytest.fixture(scope="module")
async def mesh(code: Code, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mesh]:
    """Three hosts, each a process of its own."""
    data = tmp_path_factory.mktemp("mesh")
    async with AsyncExitStack() as stack:
        channels: dict[str, grpc.aio.Channel] = {}
        address = ""
        for name, allow in (("alpha", [MODULE]), ("beta", [MODULE]), ("gamma", [])):
            host = HostProcess(name=name, data=data / name, allow=allow, python_path=[code.folder], join=address)
            await host.start()
            stack.push_async_callback(host.kill)
            address = address or host.address
            channels[name] = await stack.enter_async_context(grpc.aio.insecure_channel(host.address))
        client = await stack.enter_async_context(Client(address))
        paglet_id = (await client.create(f"{MODULE}.Interop", paglet_id="interop")).paglet_id

        def server(host: str) -> Server:
            return Server(channels[host], code.messages, code.stubs, [("paglet-id", paglet_id)])

        yield Mesh(client, server)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
@pytest.mark.parametrize("host", ["alpha", "gamma"], ids=["direct", "forwarded"])
async def test_case(case: Case, host: str, mesh: Mesh) -> None:
    """At its host, and through one that forwards bytes of services that it does not know."""
    if (await mesh.client.get("interop")).host != "alpha":
        await mesh.client.dispatch("interop", "alpha")
    await case(mesh.server(host))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
async def test_case_while_it_moves(case: Case, mesh: Mesh) -> None:
    """The paglet moves between the calls of one client, who asks the same host all the time."""
    for _ in range(MOVES):
        there = (await mesh.client.get("interop")).host
        await mesh.client.dispatch("interop", "beta" if there == "alpha" else "alpha")
        for host in ("alpha", "beta", "gamma"):
            await case(mesh.server(host))


def test_every_case_is_run() -> None:
    """The cases that are promised, by their names in the public description."""
    assert [case.__name__ for case in CASES] == [
        "empty_unary",
        "large_unary",
        "client_streaming",
        "server_streaming",
        "ping_pong",
        "empty_stream",
        "cancel_after_begin",
        "cancel_after_first_response",
        "timeout_on_sleeping_server",
        "custom_metadata",
        "status_code_and_message",
        "special_status_message",
        "unimplemented_method",
        "unimplemented_service",
    ]
