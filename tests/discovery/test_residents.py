"""Resident services are found before they run, started by their first call, once, and rest when nobody uses them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue

from paglet.examples.counter.v1 import counter_pb2, counter_pb2_grpc
from paglets.client.client import Client
from paglets.client.rebuild import RebuildPeer
from paglets.config import HostSettings, ResidentLifecycle, ResidentServiceSpec
from paglets.core.events import ActivationEvent, CreationEvent
from paglets.discovery import ServiceScope
from paglets.errors import InvalidArgumentError, NotFoundError, PreconditionError, UnavailableError
from paglets.host.births import BIRTH_POINTS
from paglets.testing import HostProcess, eventually, local_host
from paglets.values import DeactivationPolicy, PagletState
from paglets.wire.metadata import REQUIRE_ACTIVE_KEY
from tests.discovery.conftest import KEEPERS, Mesh, Site, add, found, site, until_found, value
from tests.discovery.keepers import COUNTER, Counting, Seeker, Slow
from tests.host.streamer import SERVICE, STREAMER_TYPE

ID = "service.paglet.examples.counter.v1.counter-service"
LAZY = ResidentServiceSpec(type=f"{KEEPERS}.Counting")
BRIEF = replace(LAZY, idle_timeout_s=0.3)
EAGER = replace(LAZY, lifecycle=ResidentLifecycle.EAGER)

Starting = Callable[..., Awaitable[Site]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Starting]:
    """Starts hosts that declare resident services."""
    async with AsyncExitStack() as stack:

        async def starting(name: str, *residents: ResidentServiceSpec, join: str = "") -> Site:
            settings = HostSettings(name=name, data=tmp_path / name, residents=residents, drain_s=1.0)
            return await site(stack, tmp_path, name, join=join, settings=settings)

        yield starting


async def paglets(client: Client) -> dict[str, PagletState]:
    """The paglets that there are."""
    return {info.paglet_id: info.state async for info in client.list()}


async def until_state(client: Client, state: PagletState, paglet_id: str = ID) -> None:
    """Waits until a paglet is in a state."""

    async def look() -> bool:
        return (await paglets(client)).get(paglet_id) is state

    await eventually(look, 15.0, f"{paglet_id} being {state}")


async def test_svc_8_lazy_service_is_found_before_it_runs(start: Starting) -> None:
    """It is told with its operations and its host, without being there, and the first call starts it, from anywhere."""
    alpha = await start("alpha")
    beta = await start("beta", LAZY, join=alpha.address)
    record = (await until_found(alpha.client, ID))[ID]
    assert (record.host, record.operations, record.resident, record.online) == ("beta", ("Add", "Get"), True, True)
    assert await paglets(alpha.client) == {}
    assert await add(await alpha.client.services.require(COUNTER), 5) == 5
    assert await paglets(alpha.client) == {ID: PagletState.ACTIVE}
    assert (await alpha.client.get(ID)).host == "beta"
    assert await value(await beta.client.services.require(COUNTER)) == 5


async def test_svc_8_concurrent_first_calls_start_exactly_one(start: Starting) -> None:
    """Two hosts declare it, and both are called at once: there is one, and it has answered all."""
    alpha = await start("alpha", LAZY)
    beta = await start("beta", LAZY, join=alpha.address)
    gamma = await start("gamma", join=alpha.address)
    await until_found(gamma.client, ID)
    clients = [alpha.client, beta.client, gamma.client] * 8
    replies = await asyncio.gather(*(add(client.proxy(ID), 1) for client in clients))
    assert sorted(replies) == list(range(1, 25))
    assert list(await paglets(alpha.client)) == [ID]
    for client in clients[:3]:
        assert list(await until_found(client, ID)) == [ID]


async def test_svc_8_idle_service_rests_and_is_brought_back(start: Starting) -> None:
    """It is laid down when nobody has used it for its time, stays found, and goes on as it was with the next call."""
    alpha = await start("alpha", BRIEF)
    proxy = await alpha.client.services.require(COUNTER)
    await add(proxy, 5)
    for total in (6, 7):
        await until_state(alpha.client, PagletState.INACTIVE)
        assert (await found(alpha.client))[ID].online
        assert await add(await alpha.client.services.require(COUNTER), 1) == total


@pytest.mark.slow
async def test_svc_8_service_in_use_does_not_rest(start: Starting) -> None:
    """A call that takes longer than the idle time is no idleness; the time begins when it has ended."""
    alpha = await start("alpha", replace(BRIEF, type=f"{KEEPERS}.Slow"))
    Slow.released = asyncio.Event()
    reading = asyncio.create_task(value(alpha.client.proxy(ID)))
    await until_state(alpha.client, PagletState.ACTIVE)
    resident = alpha.host.residents.get(ID)
    assert resident is not None
    await eventually(lambda: _in_use(alpha))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.0):
            await until_state(alpha.client, PagletState.INACTIVE)
    assert not reading.done()
    Slow.released.set()
    assert await reading == 0
    await until_state(alpha.client, PagletState.INACTIVE)


async def _in_use(host: Site) -> bool:
    resident = host.host.residents.get(ID)
    return resident is not None and resident.usage.number == 1


async def test_svc_8_eager_service_runs_from_the_start_on(tmp_path: Path) -> None:
    """It is created at the first start of its host, and is there again after the next one, as it was."""
    settings = HostSettings(name="alpha", data=tmp_path / "alpha", residents=(EAGER,), drain_s=1.0)
    async with AsyncExitStack() as stack:
        alpha = await site(stack, tmp_path, "alpha", settings=settings)
        await until_state(alpha.client, PagletState.ACTIVE)
        await add(alpha.client.proxy(ID), 3)
        await alpha.client.deactivate(ID)
    async with AsyncExitStack() as stack:
        alpha = await site(stack, tmp_path, "alpha", settings=settings)
        await until_state(alpha.client, PagletState.ACTIVE)
        assert await value(alpha.client.proxy(ID)) == 3


async def test_svc_8_eager_service_waits_for_no_other(start: Starting, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that cannot begin yet is tried until it can, and keeps no other from running."""
    away = [True]

    async def on_creation(found: Counting, _event: CreationEvent) -> None:
        if away and found.paglet_id == ID:
            raise UnavailableError("HOST_UNREACHABLE", "what it needs is away")

    monkeypatch.setattr(Counting, "on_creation", on_creation)
    alpha = await start("alpha", EAGER, replace(EAGER, paglet_id="other"))
    await until_state(alpha.client, PagletState.ACTIVE, "other")
    assert ID not in await paglets(alpha.client)
    away.clear()
    await until_state(alpha.client, PagletState.ACTIVE)


@pytest.mark.parametrize("resident", [LAZY, EAGER])
async def test_life_13_services_are_there_for_what_a_start_brings_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resident: ResidentServiceSpec
) -> None:
    """A paglet that the start brings back finds the services of its host in its first turn, and calls them."""
    called: dict[str, int] = {}

    async def on_activation(found: Seeker, event: ActivationEvent) -> None:
        counter = found.stub(await found.services.require(COUNTER), counter_pb2_grpc.CounterServiceStub)
        called[event.reason] = (await counter.Add(counter_pb2.AddRequest(amount=1))).value

    monkeypatch.setattr(Seeker, "on_activation", on_activation)
    async with AsyncExitStack() as stack:
        alpha = await site(stack, tmp_path, "alpha")
        for paglet_id in ("awake", "resting"):
            await alpha.client.create(f"{KEEPERS}.Seeker", paglet_id=paglet_id)
        await alpha.client.deactivate("resting", DeactivationPolicy(activate_on_startup=True))
    async with AsyncExitStack() as stack:
        settings = HostSettings(name="alpha", data=tmp_path, residents=(resident,), drain_s=1.0)
        await site(stack, tmp_path, "alpha", settings=settings)
        await eventually(lambda: _has(called, 2), what="both first turns")
    assert called.keys() == {"restart", "startup"}
    assert sorted(called.values()) == [1, 2]


async def _has(found: Collection[object], number: int) -> bool:
    return len(found) == number


async def test_svc_8_what_is_declared_no_more_is_found_no_more(tmp_path: Path) -> None:
    """The settings of a host's last start count; the paglet and its state stay."""
    async with AsyncExitStack() as stack:
        settings = HostSettings(name="alpha", data=tmp_path / "alpha", residents=(LAZY,), drain_s=1.0)
        alpha = await site(stack, tmp_path, "alpha", settings=settings)
        await add(alpha.client.proxy(ID), 3)
    async with AsyncExitStack() as stack:
        alpha = await site(stack, tmp_path, "alpha")
        assert await found(alpha.client) == {}
        assert await value(alpha.client.proxy(ID)) == 3


async def test_svc_8_paglet_of_another_class_is_left_alone(
    start: Starting, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A service whose id is another class's is not declared, and the log says why; nothing of the paglet is dropped."""
    async with AsyncExitStack() as stack:
        alpha = await site(stack, tmp_path, "alpha")
        await alpha.client.create(f"{KEEPERS}.Seeker", paglet_id=ID)
        await add(alpha.client.proxy(ID), 3)
        await alpha.client.deactivate(ID)
    alpha = await start("alpha", LAZY)
    assert f"{ID} on host alpha is a {KEEPERS}.Seeker" in caplog.text
    assert await found(alpha.client) == {}
    assert await add(alpha.client.proxy(ID), 1) == 4


async def test_svc_8_not_a_singleton_is_one_a_host(start: Starting) -> None:
    """Each host has its own, whose id ends with the host's name, and who looks finds the one that is near."""
    spec = replace(LAZY, singleton=False, scope=ServiceScope.MESH)
    alpha = await start("alpha", spec)
    beta = await start("beta", spec, join=alpha.address)
    for one in (alpha, beta):
        await until_found(one.client, f"{ID}.alpha", f"{ID}.beta")
        assert await add(await one.client.services.require(COUNTER), 1) == 1
    assert set(await paglets(alpha.client)) == {f"{ID}.alpha", f"{ID}.beta"}


async def test_svc_8_disposal_ends_the_paglet_and_not_the_service(start: Starting) -> None:
    """The declaration stays, and the next call starts another one, which knows nothing of the first."""
    alpha = await start("alpha", replace(LAZY, state_json='{"value": 10}'))
    assert await add(alpha.client.proxy(ID), 1) == 11
    await alpha.client.dispose(ID)
    assert list(await found(alpha.client)) == [ID]
    assert await add(alpha.client.proxy(ID), 2) == 12


async def test_svc_8_post_starts_it(start: Starting) -> None:
    """A post is a first call too, at whichever host it is left."""
    alpha = await start("alpha", LAZY)
    beta = await start("beta", join=alpha.address)
    await until_found(beta.client, ID)
    request = counter_pb2.AddRequest(amount=7)
    await beta.client.post(ID, f"{COUNTER.full_name}/Add", request)

    async def is_run() -> bool:
        return await value(alpha.client.proxy(ID)) == 7

    await eventually(is_run)


async def test_svc_8_call_that_wants_it_awake_starts_nothing(start: Starting) -> None:
    """`paglet-require-active` is refused by a service that was not started, as by one that rests."""
    alpha = await start("alpha", LAZY)
    stub: counter_pb2_grpc.CounterServiceAsyncStub = alpha.client.proxy(ID).stub(counter_pb2_grpc.CounterServiceStub)
    with pytest.raises(PreconditionError) as caught:
        await stub.Get(counter_pb2.GetRequest(), metadata=((REQUIRE_ACTIVE_KEY, "true"),))
    assert caught.value.reason == "PAGLET_INACTIVE"
    assert await paglets(alpha.client) == {}


async def test_svc_8_service_that_cannot_begin_says_so(start: Starting, caplog: pytest.LogCaptureFixture) -> None:
    """A first turn that fails is the caller's error, an eager one the log's; the host serves all the same."""
    spec = ResidentServiceSpec(type=f"{KEEPERS}.Unwilling")
    alpha = await start("alpha", spec, replace(spec, paglet_id="eager", lifecycle=ResidentLifecycle.EAGER))
    with pytest.raises(InvalidArgumentError, match="not here"):
        await value(alpha.client.proxy(ID))

    async def is_logged() -> bool:
        return "resident service eager was not started" in caplog.text

    await eventually(is_logged)
    assert await paglets(alpha.client) == {}


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        pytest.param(replace(LAZY, type=f"{KEEPERS}.Nobody"), "TYPE_NOT_ALLOWED", id="type"),
        pytest.param(replace(LAZY, type="no.such.Thing"), "MALFORMED_REQUEST", id="module"),
        pytest.param(replace(LAZY, paglet_id="Not An Id"), "INVALID_ID", id="paglet-id"),
        pytest.param(replace(LAZY, idle_timeout_s=0.0), "MALFORMED_REQUEST", id="idle-time"),
    ],
)
async def test_what_can_be_no_resident_service_keeps_the_host_from_starting(
    start: Starting, spec: ResidentServiceSpec, reason: str
) -> None:
    """An operator is told at once of what could never be started."""
    with pytest.raises((InvalidArgumentError, PreconditionError, NotFoundError)) as caught:
        await start("alpha", spec)
    assert caught.value.reason == reason


async def test_two_resident_services_of_one_id_are_refused(start: Starting) -> None:
    """The second would be the first one's paglet."""
    with pytest.raises(InvalidArgumentError, match="two resident services have the id"):
        await start("alpha", LAZY, replace(LAZY, type=f"{KEEPERS}.Keeper"))


async def test_unknown_paglet_is_unknown(mesh: Mesh) -> None:
    """Nobody starts what nobody declares."""
    with pytest.raises(NotFoundError) as caught:
        await value(mesh.beta.client.proxy("nobody"))
    assert caught.value.reason == "PAGLET_NOT_FOUND"


@pytest.mark.slow
async def test_svc_8_killed_host_has_its_services_again(tmp_path: Path) -> None:
    """A host that is killed and started again serves what was kept; nobody starts another one meanwhile."""
    async with AsyncExitStack() as stack:
        alpha = await site(stack, tmp_path, "alpha")
        beta = HostProcess(
            name="beta",
            data=tmp_path / "beta",
            join=alpha.address,
            arguments=("--resident", f"{KEEPERS}.Counting"),
        )
        await beta.start()
        await until_found(alpha.client, ID)
        assert await add(await alpha.client.services.require(COUNTER), 4) == 4
        await beta.kill()
        adding = asyncio.create_task(add(alpha.client.proxy(ID), 1))
        await beta.start()
        assert await adding == 5
        await until_found(alpha.client, ID)
        assert await value(await alpha.client.services.require(COUNTER)) == 5
        await beta.stop()


@pytest.mark.slow
async def test_svc_8_killed_directory_knows_what_was_declared(tmp_path: Path) -> None:
    """Declarations are as durable as rows: when the directory is back, a first call starts the service."""
    alpha = HostProcess(name="alpha", data=tmp_path / "alpha", allow=(KEEPERS,))
    await alpha.start()
    try:
        async with AsyncExitStack() as stack:
            settings = HostSettings(name="beta", data=tmp_path / "beta", residents=(LAZY,), drain_s=1.0)
            await site(stack, tmp_path, "beta", join=alpha.address, settings=settings)
            await alpha.kill()
            await alpha.start()
            async with Client(alpha.address) as client:
                await until_found(client, ID)
                assert await add(await client.services.require(COUNTER), 2) == 2
    finally:
        await alpha.kill()


@pytest.mark.slow
async def test_svc_8_open_stream_is_use(tmp_path: Path) -> None:
    """A service that streams to somebody does not rest, however little it has to say; it does when that has ended."""
    spec = ResidentServiceSpec(type=STREAMER_TYPE, paglet_id="streamer", idle_timeout_s=0.3)
    settings = HostSettings(name="alpha", data=tmp_path, residents=(spec,), listen="127.0.0.1:0", drain_s=1.0)
    async with local_host(settings=settings) as running, Client(running.address) as client:
        follow: grpc.aio.UnaryStreamMultiCallable[StringValue, StringValue] = client.channel.unary_stream(
            f"/{SERVICE}/Follow", StringValue.SerializeToString, StringValue.FromString
        )
        stream = follow(StringValue(value="0"), metadata=(("paglet-id", "streamer"),))
        reading = asyncio.ensure_future(stream.read())  # it starts the service, and has nothing to tell
        await until_state(client, PagletState.ACTIVE, "streamer")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.0):
                await until_state(client, PagletState.INACTIVE, "streamer")
        assert not reading.done()
        stream.cancel()
        await asyncio.wait([reading])
        await until_state(client, PagletState.INACTIVE, "streamer")


@pytest.mark.slow
async def test_svc_5_lost_directory_is_told_of_services_again(tmp_path: Path) -> None:
    """Declarations come with a host's next lease, what classes advertise when their paglets' rows are rebuilt."""
    alpha = HostProcess(name="alpha", data=tmp_path / "alpha", allow=(KEEPERS,))
    await alpha.start()
    try:
        async with AsyncExitStack() as stack:
            settings = HostSettings(name="beta", data=tmp_path / "beta", residents=(LAZY,), lease_s=0.9, drain_s=1.0)
            beta = await site(stack, tmp_path, "beta", join=alpha.address, settings=settings)
            await beta.client.create(f"{KEEPERS}.Keeper", paglet_id="keeper")
            await until_found(beta.client, ID, "keeper")
            await alpha.kill()
            for file in (tmp_path / "alpha").glob("directory.db*"):
                file.unlink()
            await alpha.start()
            async with Client(alpha.address) as client:
                await until_found(client, ID)
                assert await add(await client.services.require(COUNTER), 1) == 1
                await RebuildPeer(client.channel).rebuild(dry_run=False, timeout_s=20)
                await until_found(client, ID, "keeper")
    finally:
        await alpha.kill()


@pytest.mark.slow
async def test_svc_8_service_that_the_directory_has_lost_is_not_started_anew(tmp_path: Path) -> None:
    """What its host keeps of it is not put at stake: calls wait until the directory is rebuilt, and find it there."""
    alpha = HostProcess(name="alpha", data=tmp_path / "alpha", allow=(KEEPERS,))
    await alpha.start()
    settings = HostSettings(name="beta", data=tmp_path / "beta", residents=(LAZY,), drain_s=1.0)
    try:
        async with AsyncExitStack() as stack:
            beta = await site(stack, tmp_path, "beta", join=alpha.address, settings=settings)
            await add(beta.client.proxy(ID), 5)
        await alpha.kill()
        for file in (tmp_path / "alpha").glob("directory.db*"):
            file.unlink()
        await alpha.start()
        async with AsyncExitStack() as stack:
            beta = await site(stack, tmp_path, "beta", join=alpha.address, settings=settings)
            adding = asyncio.create_task(add(beta.client.proxy(ID), 1))
            with pytest.raises(UnavailableError, match="which the directory has lost: rebuild it"):
                await beta.host.residency.started(ID)
            await RebuildPeer(beta.client.channel).rebuild(dry_run=False, timeout_s=20)
            assert await adding == 6
    finally:
        await alpha.kill()


@pytest.mark.slow
async def test_svc_8_state_is_kept_of_one_that_was_lost_and_started_elsewhere(tmp_path: Path) -> None:
    """Another host cannot know of it, and starts a second one; that never ends the first, and the rebuild tells."""
    alpha = HostProcess(name="alpha", data=tmp_path / "alpha", allow=(KEEPERS,))
    await alpha.start()
    beta_settings = HostSettings(name="beta", data=tmp_path / "beta", residents=(LAZY,), drain_s=1.0)
    gamma_settings = replace(beta_settings, name="gamma", data=tmp_path / "gamma")
    try:
        async with AsyncExitStack() as stack:
            beta = await site(stack, tmp_path, "beta", join=alpha.address, settings=beta_settings)
            await add(beta.client.proxy(ID), 5)
        await alpha.kill()
        for file in (tmp_path / "alpha").glob("directory.db*"):
            file.unlink()
        await alpha.start()
        async with AsyncExitStack() as stack:
            gamma = await site(stack, tmp_path, "gamma", join=alpha.address, settings=gamma_settings)
            assert await add(gamma.client.proxy(ID), 1) == 1
            beta = await site(stack, tmp_path, "beta", join=alpha.address, settings=beta_settings)
            assert await value(beta.client.proxy(ID)) == 1
            kept = await beta.host.parts.journal.paglet(ID)
            assert kept is not None
            told = await RebuildPeer(beta.client.channel).rebuild(dry_run=False, timeout_s=20)
            assert [(one.paglet_id, list(one.hosts)) for one in told.paglets] == [(ID, ["beta"])]
            assert await beta.host.parts.journal.paglet(ID) is not None
    finally:
        await alpha.kill()


@pytest.mark.slow
@pytest.mark.parametrize("point", BIRTH_POINTS)
async def test_svc_8_host_that_is_killed_as_it_starts_a_service(tmp_path: Path, point: str) -> None:
    """Whatever a first call was cut in, when its host is back there is one service, and the call has run once."""
    async with AsyncExitStack() as stack:
        alpha = await site(stack, tmp_path, "alpha")
        beta = HostProcess(
            name="beta", data=tmp_path / "beta", join=alpha.address, arguments=("--resident", f"{KEEPERS}.Counting")
        )
        await beta.start({"PAGLETS_FAULT": point})
        await until_found(alpha.client, ID)
        adding = asyncio.create_task(add(alpha.client.proxy(ID), 1))
        await beta.ended()
        await beta.start()
        try:
            assert await adding == 1
            assert await value(alpha.client.proxy(ID)) == 1
            assert list(await paglets(alpha.client)) == [ID]
        finally:
            await beta.kill()
