"""Paglets that advertise services are found by them, wherever they are and whoever asks."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

import grpc
import pytest
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool

from paglet.examples.counter.v1 import counter_pb2
from paglet.v1 import mesh_pb2, mesh_pb2_grpc
from paglets.client.client import Client
from paglets.core.services import Advertisement
from paglets.discovery import ServiceNotice, ServiceQuery, ServiceScope
from paglets.errors import InvalidArgumentError, NotFoundError, OperationNotFoundError
from paglets.operations import ServiceContract
from paglets.testing import HostProcess, eventually
from paglets.wire.status import from_rpc_error
from tests.discovery.conftest import KEEPERS, WANTED, Mesh, add, found, site, until_found, value
from tests.discovery.keepers import COUNTER, Counting
from tests.host.midway import Midway

LOCAL = ServiceQuery(service=COUNTER.full_name, scope=ServiceScope.LOCAL)
V1, V2 = "paglet.examples.counter.v1", "paglet.examples.counter.v2"


def other_version(package: str, *methods: str) -> ServiceDescriptor:
    """CounterService as another version of its proto has it."""
    file = FileDescriptorProto()
    counter_pb2.DESCRIPTOR.CopyToProto(file)
    file.package = package
    (service,) = file.service
    del service.method[:]
    for name in methods:
        service.method.add(name=name, input_type=f".{package}.GetRequest", output_type=f".{package}.GetResponse")
    pool = DescriptorPool()
    pool.Add(file)
    return pool.FindServiceByName(f"{package}.CounterService")


async def told(notices: AsyncGenerator[ServiceNotice, None]) -> tuple[str, str, str]:
    """The next notice: why, of which paglet, on which host."""
    async with asyncio.timeout(20):
        notice = await anext(notices)
    return notice.change.value, notice.record.paglet_id, notice.record.host


async def test_svc_5_class_advertises_its_paglets(mesh: Mesh) -> None:
    """A class that says what its paglets answer needs nothing else for them to be found on every host."""
    await mesh.beta.client.create(f"{KEEPERS}.Keeper", paglet_id="keeper")
    for client in (mesh.alpha.client, mesh.beta.client):
        (record,) = (await until_found(client, "keeper")).values()
        assert (record.operations, record.tags, record.host, record.online) == (("Add", "Get"), ("kept",), "beta", True)
        assert record.version == "v1"
        await add(await client.services.require(COUNTER), 1)
    assert await value(mesh.alpha.client.proxy("keeper")) == 2


async def test_svc_5_record_follows_the_paglet_and_ends_with_it(mesh: Mesh) -> None:
    """Moving ends no record and needs no new one; disposal does, on every host."""
    await mesh.alpha.client.create(f"{KEEPERS}.Keeper", paglet_id="keeper")
    await until_found(mesh.beta.client, "keeper")
    async with aclosing(mesh.beta.client.services.watch(WANTED)) as notices:
        assert await told(notices) == ("present", "keeper", "alpha")
        await mesh.alpha.client.dispatch("keeper", "beta")
        assert await told(notices) == ("changed", "keeper", "beta")
        await mesh.alpha.client.dispose("keeper")
        assert await told(notices) == ("gone", "keeper", "beta")
    await until_found(mesh.alpha.client)


async def test_svc_5_paglet_advertises_and_withdraws_itself(mesh: Mesh) -> None:
    """What a turn advertises or withdraws is done with its commit, in order; a turn that fails does neither."""
    teller = await mesh.alpha.client.create(f"{KEEPERS}.Teller", paglet_id="teller")
    assert (await until_found(mesh.beta.client, "teller"))["teller"].tags == ("told",)
    for amount in (1, -1, 2, -1, 3):
        await add(teller, amount)
    with pytest.raises(InvalidArgumentError):
        await add(teller, 13)

    async def told_3() -> bool:
        return [record.tags for record in (await found(mesh.beta.client)).values()] == [("told-3",)]

    await eventually(told_3)
    await add(teller, -1)
    await until_found(mesh.beta.client)


async def test_svc_5_class_has_its_say_wherever_its_paglet_comes(mesh: Mesh) -> None:
    """What a paglet says itself of a service that its class names lasts until a host takes it up, if not said again."""
    for class_name, lasting in (("Teller", ("told",)), ("Insistent", ("kept",))):
        teller = await mesh.alpha.client.create(f"{KEEPERS}.{class_name}", paglet_id="teller")
        await _tagged(mesh.beta.client, "told")
        await mesh.alpha.client.dispatch("teller", "beta")
        await _tagged(mesh.alpha.client, *lasting)
        await add(teller, 1)
        await mesh.alpha.client.dispatch("teller", "alpha")
        await _tagged(mesh.beta.client, "told" if class_name == "Insistent" else "told-1")
        await mesh.alpha.client.dispose("teller")
        await until_found(mesh.alpha.client)
        await until_found(mesh.beta.client)


async def _tagged(client: Client, *tags: str) -> None:
    """Waits until a host tells of one service, with these tags."""

    async def look() -> bool:
        return [record.tags for record in (await found(client)).values()] == [tags]

    await eventually(look, what=f"the tags {tags}")


async def test_svc_5_client_advertises_for_a_paglet(mesh: Mesh) -> None:
    """Anybody may say what a paglet answers: with a time to live, tags, and all operations that its type has."""
    client = mesh.alpha.client
    await mesh.beta.client.create(f"{KEEPERS}.Counting", paglet_id="plain")
    record = await client.services.advertise("plain", other_version(V1, "Get"), tags=("fast",), ttl_s=60)
    assert (record.operations, record.tags, record.advertiser) == (("Add", "Get"), ("fast",), "alpha")
    assert record.expires_at is not None
    assert list(await found(client)) == ["plain"]
    await until_found(mesh.beta.client, "plain")
    for _ in range(2):
        await client.services.withdraw("plain", COUNTER)
    assert await found(client) == {}
    await until_found(mesh.beta.client)


async def test_svc_5_expired_record_is_not_found(mesh: Mesh) -> None:
    """A record is gone when its time is over, on every host, and a watch tells of it."""
    await mesh.alpha.client.create(f"{KEEPERS}.Counting", paglet_id="plain")
    await mesh.alpha.client.create(f"{KEEPERS}.Keeper", paglet_id="keeper")
    await until_found(mesh.beta.client, "keeper")
    async with aclosing(mesh.beta.client.services.watch(WANTED)) as notices:
        assert await told(notices) == ("present", "keeper", "alpha")
        await mesh.alpha.client.services.advertise("plain", COUNTER, ttl_s=0.3)
        assert await told(notices) == ("advertised", "plain", "alpha")
        assert await told(notices) == ("gone", "plain", "alpha")
        await mesh.alpha.client.dispose("keeper")
    await until_found(mesh.alpha.client)


async def test_svc_5_what_nobody_answers_is_not_advertised(mesh: Mesh) -> None:
    """A service that the paglet's type does not have is refused, and so is a paglet that is not there."""
    services = mesh.alpha.client.services
    await mesh.alpha.client.create(f"{KEEPERS}.Counting", paglet_id="plain")
    with pytest.raises(OperationNotFoundError):
        await services.advertise("plain", other_version(V2, "Get"))
    with pytest.raises(OperationNotFoundError) as caught:
        await services.advertise("plain", other_version(V1, "Get", "Multiply"))
    assert caught.value.metadata["operation"] == f"{V1}.CounterService/Multiply"
    with pytest.raises(NotFoundError) as missing:
        await services.advertise("nobody", COUNTER)
    assert missing.value.reason == "PAGLET_NOT_FOUND"
    with pytest.raises(InvalidArgumentError):
        await services.advertise("plain", COUNTER, ttl_s=0)
    assert await found(mesh.alpha.client) == {}


async def test_svc_2_older_client_finds_the_newer_service(mesh: Mesh) -> None:
    """What fits has the name, which has the major version in it, and all operations that the client knows."""
    await mesh.alpha.client.create(f"{KEEPERS}.Keeper", paglet_id="keeper")
    await until_found(mesh.alpha.client, "keeper")
    services = mesh.alpha.client.services
    newer = other_version(V1, "Get", "Multiply")
    assert (await services.require(other_version(V1, "Get"))).paglet_id == "keeper"
    assert (await services.require(ServiceContract(newer), operation="Get")).paglet_id == "keeper"
    assert await services.lookup(newer) is None
    assert await services.lookup(other_version(V2, "Get")) is None


async def test_svc_6_local_service_is_found_on_its_host_alone(mesh: Mesh) -> None:
    """A LOCAL record is told by the host where it was advertised; a class advertises again where its paglet goes."""
    await mesh.alpha.client.create(f"{KEEPERS}.LocalKeeper", paglet_id="local")
    await until_found(mesh.alpha.client, "local")
    assert await found(mesh.beta.client) == {}
    await mesh.alpha.client.dispatch("local", "beta")
    await until_found(mesh.beta.client, "local")
    await until_found(mesh.alpha.client)


async def test_svc_6_local_look_up_finds_what_is_on_the_host(mesh: Mesh) -> None:
    """Who looks LOCAL finds no service of another host, however far that is advertised."""
    await mesh.alpha.client.create(f"{KEEPERS}.Keeper", paglet_id="keeper")
    await until_found(mesh.beta.client, "keeper")
    assert list(await found(mesh.alpha.client, LOCAL)) == ["keeper"]
    assert await found(mesh.beta.client, LOCAL) == {}


async def test_svc_7_require_says_what_is_missing(mesh: Mesh) -> None:
    """Nothing found is None to who looks up, and an error that names all that was wanted to who requires."""
    services = mesh.alpha.client.services
    assert await services.lookup(COUNTER) is None
    with pytest.raises(NotFoundError) as caught:
        await services.require(COUNTER, operation="Add", tags=("fast",), scope=ServiceScope.LOCAL)
    assert caught.value.reason == "SERVICE_NOT_FOUND"
    wanted = {"service": f"{V1}.CounterService", "version": "v1", "operations": "Add", "scope": "local"}
    assert caught.value.metadata == wanted
    assert all(word in caught.value.message for word in ("CounterService", "v1", "Add", "local", "fast"))
    with pytest.raises(InvalidArgumentError, match="no operation 'Sub', it has Add, Get"):
        await services.require(COUNTER, operation="Sub")


async def test_svc_7_paglet_requires_a_service(mesh: Mesh) -> None:
    """A paglet finds others as clients do, and is told as they are when there is none."""
    seeker = await mesh.beta.client.create(f"{KEEPERS}.Seeker", paglet_id="seeker")
    with pytest.raises(NotFoundError) as caught:
        await value(seeker)
    assert caught.value.reason == "SERVICE_NOT_FOUND"
    await mesh.alpha.client.create(f"{KEEPERS}.Keeper", paglet_id="keeper")
    await until_found(mesh.beta.client, "keeper")
    assert await value(seeker) == len("keeper")


def test_svc_5_class_advertises_what_it_answers_alone() -> None:
    """A class that advertises what it does not answer is refused when it is defined."""
    other = Advertisement(other_version(V2, "Get"))
    with pytest.raises(TypeError, match=re.escape(f"Wrong.Advertises names {V2}.CounterService")):
        type("Wrong", (Counting,), {"Advertises": (other,)})


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        pytest.param(mesh_pb2.LookupServiceRequest(limit=-1), "limit", id="limit"),
        pytest.param(mesh_pb2.LookupServiceRequest.FromString(b"\x20\x07"), "scope", id="scope"),
    ],
)
async def test_malformed_look_up(mesh: Mesh, wanted: mesh_pb2.LookupServiceRequest, field: str) -> None:
    """A limit or scope that is none is refused by name."""
    stub: mesh_pb2_grpc.MeshServiceAsyncStub = mesh_pb2_grpc.MeshServiceStub(mesh.alpha.client.channel)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.LookupService(wanted)
    failure = from_rpc_error(caught.value)
    assert (failure.reason, failure.field) == ("MALFORMED_REQUEST", field)


@pytest.mark.slow
async def test_svc_6_look_up_outlives_the_directory(tmp_path: Path) -> None:
    """Services are found from memory while the directory's host is killed, and are as they were when it is back."""
    alpha = HostProcess(name="alpha", data=tmp_path / "alpha", allow=(KEEPERS,))
    await alpha.start()
    try:
        async with AsyncExitStack() as stack:
            beta = await site(stack, tmp_path, "beta", join=alpha.address)
            await beta.client.create(f"{KEEPERS}.Keeper", paglet_id="keeper")
            await beta.client.create(f"{KEEPERS}.Counting", paglet_id="plain")
            await beta.client.services.advertise("plain", COUNTER)
            await until_found(beta.client, "keeper", "plain")
            await alpha.kill()
            assert (await beta.client.services.require(COUNTER, tags=("kept",))).paglet_id == "keeper"
            await alpha.start()
            async with Client(alpha.address) as client:
                await until_found(client, "keeper", "plain")
            await beta.client.services.withdraw("plain", COUNTER)
            await until_found(beta.client, "keeper")
    finally:
        await alpha.kill()


@pytest.mark.slow
async def test_svc_6_service_of_a_lost_host_is_not_chosen(tmp_path: Path) -> None:
    """A service whose host is away is told of last, and nobody is sent there."""
    async with AsyncExitStack() as stack:
        alpha = await site(stack, tmp_path, "alpha")
        beta = HostProcess(name="beta", data=tmp_path / "beta", allow=(KEEPERS,), join=alpha.address)
        await beta.start()
        async with Client(beta.address) as client:
            await client.create(f"{KEEPERS}.Keeper", paglet_id="a-keeper")
        await until_found(alpha.client, "a-keeper")
        async with aclosing(alpha.client.services.watch(WANTED)) as notices:
            assert (await told(notices))[0] == "present"
            await beta.kill()
            assert await told(notices) == ("changed", "a-keeper", "beta")
        assert not (await found(alpha.client))["a-keeper"].online
        with pytest.raises(NotFoundError, match="away: beta"):
            await alpha.client.services.require(COUNTER)
        await alpha.client.create(f"{KEEPERS}.Counting", paglet_id="plain")
        plain = alpha.host.residents.get("plain")
        assert plain is not None
        for services in (alpha.client.services, plain.paglet.services):
            assert await services.lookup(COUNTER) is None
        await alpha.client.create(f"{KEEPERS}.Keeper", paglet_id="keeper")
        await until_found(alpha.client, "keeper", "a-keeper")
        assert (await alpha.client.services.require(COUNTER)).paglet_id == "keeper"


async def test_svc_5_answer_that_comes_late_brings_nothing_back(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ended while the answer to its advertisement was on its way is found on no host."""
    await mesh.beta.client.create(f"{KEEPERS}.Counting", paglet_id="plain")
    written = Midway(monkeypatch, mesh.beta.host.parts.directory, "advertise", after=True).hold()
    advertising = asyncio.ensure_future(mesh.beta.client.services.advertise("plain", COUNTER))
    await until_found(mesh.beta.client, "plain")
    await written.called()
    await mesh.beta.client.dispose("plain")
    await until_found(mesh.beta.client)
    written.release()
    await advertising
    assert await found(mesh.beta.client) == {}
