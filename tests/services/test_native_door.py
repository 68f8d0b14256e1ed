"""A user's own proto: the stub that protoc makes of it calls the paglet with one metadata key and nothing of ours."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2
from grpc_reflection.v1alpha import reflection_pb2

from paglets.client.client import Client
from paglets.testing import HostProcess
from tests.host.support import refused
from tests.protoc import generate

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
SERVICE = "acme.tally.v1.TallyService"
REFLECTIONS = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")


@dataclass(frozen=True)
class Acme:
    """What the user has: a folder with his generated code and his paglet, and the stub's modules."""

    folder: Path
    messages: ModuleType
    stubs: ModuleType


@pytest.fixture(scope="module")
def acme(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Acme]:
    """The user's code, made by protoc from his proto."""
    folder = tmp_path_factory.mktemp("acme")
    generate(HERE / "tally.proto", folder, "acme.tally.v1")
    (folder / "acme_tally.py").write_text((HERE / "foreign_paglet.py.txt").read_text())
    sys.path.insert(0, str(folder))
    try:
        yield Acme(folder, import_module("acme.tally.v1.tally_pb2"), import_module("acme.tally.v1.tally_pb2_grpc"))
    finally:
        sys.path.remove(str(folder))


@dataclass(frozen=True)
class Tally:
    """A tally in a mesh of two host processes, and plain channels to both."""

    paglet_id: str
    addresses: Mapping[str, str]
    channels: Mapping[str, grpc.aio.Channel]
    acme: Acme

    def stub(self, host: str) -> Any:  # noqa: ANN401 - made while the test runs
        """The generated stub, to the host named."""
        return self.acme.stubs.TallyServiceStub(self.channels[host])

    async def move(self, target: str) -> None:
        """Moves the tally."""
        async with Client(self.addresses["alpha"]) as client:
            await client.dispatch(self.paglet_id, target)


@pytest.fixture
async def tally(acme: Acme, tmp_path: Path) -> AsyncIterator[Tally]:
    """A tally on alpha."""
    async with AsyncExitStack() as stack:
        alpha = HostProcess(name="alpha", data=tmp_path / "a", allow=["acme_tally"], python_path=[acme.folder])
        await alpha.start()
        stack.push_async_callback(alpha.kill)
        beta = HostProcess(
            name="beta", data=tmp_path / "b", allow=["acme_tally"], python_path=[acme.folder], join=alpha.address
        )
        await beta.start()
        stack.push_async_callback(beta.kill)
        channels = {host.name: grpc.aio.insecure_channel(host.address) for host in (alpha, beta)}
        for channel in channels.values():
            stack.push_async_callback(channel.close)
        async with Client(alpha.address) as client:
            paglet_id = (await client.create("acme_tally.Tally")).paglet_id
        yield Tally(paglet_id, {"alpha": alpha.address, "beta": beta.address}, channels, acme)


async def test_generated_stub_needs_one_key(tally: Tally) -> None:
    """The stub calls the paglet on whichever host, before and after a move, and reads the same bytes."""
    metadata = [("paglet-id", tally.paglet_id)]
    count = 0
    for owner in ("alpha", "beta", "alpha"):
        await tally.move(owner)
        for host in ("alpha", "beta"):
            count += 1
            reply = await tally.stub(host).Mark(
                tally.acme.messages.MarkRequest(name="x"), metadata=metadata, timeout=20
            )
            assert reply.count == count
            shown = await tally.stub(host).Show(tally.acme.messages.ShowRequest(), metadata=metadata, timeout=20)
            assert (dict(shown.counts), shown.host) == ({"x": count}, owner)
    nameless = await refused(tally.stub("alpha").Show(tally.acme.messages.ShowRequest(), timeout=20))
    assert nameless.what == (grpc.StatusCode.UNIMPLEMENTED, "OPERATION_NOT_FOUND")
    assert "paglet-id" in nameless.message


@pytest.mark.parametrize("reflection", REFLECTIONS)
async def test_reflection_describes_the_users_service(tally: Tally, reflection: str) -> None:
    """Both versions of reflection list it and give its file, at the owner and through the other host."""
    for host in ("alpha", "beta"):
        listed = await _reflect(tally, host, reflection, reflection_pb2.ServerReflectionRequest(list_services=""))
        names = {service.name for service in listed.list_services_response.service}
        assert {SERVICE, "paglet.v1.LifecycleService", "grpc.health.v1.Health", *REFLECTIONS} <= names
        wanted = reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICE)
        found = await _reflect(tally, host, reflection, wanted)
        (data,) = found.file_descriptor_response.file_descriptor_proto
        described = descriptor_pb2.FileDescriptorProto.FromString(data)
        assert [method.name for method in described.service[0].method] == ["Mark", "Show"]


@pytest.mark.parametrize("reflection", REFLECTIONS)
async def test_reflection_describes_all_that_it_lists(tally: Tally, reflection: str) -> None:
    """Each service that is listed, and each of its rpcs, is found by its name: tools list first and then describe."""
    listed = await _reflect(tally, "alpha", reflection, reflection_pb2.ServerReflectionRequest(list_services=""))
    for service in listed.list_services_response.service:
        for name in (service.name, *await _rpcs(tally, reflection, service.name)):
            asked = reflection_pb2.ServerReflectionRequest(file_containing_symbol=name)
            answer = await _reflect(tally, "alpha", reflection, asked)
            assert answer.WhichOneof("message_response") == "file_descriptor_response", name
    unknown = reflection_pb2.ServerReflectionRequest(file_containing_symbol="paglet.v1.ArtifactService.Nope")
    answer = await _reflect(tally, "alpha", reflection, unknown)
    assert answer.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]


async def _rpcs(tally: Tally, reflection: str, service: str) -> list[str]:
    """The full names of a service's rpcs; there are some."""
    asked = reflection_pb2.ServerReflectionRequest(file_containing_symbol=service)
    answer = await _reflect(tally, "alpha", reflection, asked)
    files = map(descriptor_pb2.FileDescriptorProto.FromString, answer.file_descriptor_response.file_descriptor_proto)
    found = [
        f"{service}.{method.name}"
        for file in files
        for described in file.service
        if f"{file.package}.{described.name}" == service
        for method in described.method
    ]
    assert found, service
    return found


async def test_buf_curl_calls_the_paglet(tally: Tally) -> None:
    """A tool that knows nothing but reflection calls the paglet through either host."""
    for count, host in enumerate(("alpha", "beta"), 1):
        process = await asyncio.create_subprocess_exec(
            Path(sys.prefix, "bin", "buf"),
            *("curl", "--protocol", "grpc", "--http2-prior-knowledge", "--data", '{"name": "x"}'),
            *("--header", f"paglet-id: {tally.paglet_id}"),
            *("--reflect-header", f"paglet-id: {tally.paglet_id}"),
            f"http://{tally.addresses[host]}/{SERVICE}/Mark",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(process.communicate(), 40)
        assert process.returncode == 0, err.decode()
        assert json.loads(out) == {"count": str(count)}


async def _reflect(
    tally: Tally, host: str, service: str, request: reflection_pb2.ServerReflectionRequest
) -> reflection_pb2.ServerReflectionResponse:
    rpc = tally.channels[host].stream_stream(
        f"/{service}/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    answers = [answer async for answer in rpc(iter([request]), metadata=[("paglet-id", tally.paglet_id)], timeout=20)]
    assert len(answers) == 1
    return answers[0]
