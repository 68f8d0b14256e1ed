"""Hosts say what they are good for, moves ask for it, and more than a mesh takes is refused."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from google.protobuf.wrappers_pb2 import StringValue

from paglets.config import HostSettings
from paglets.errors import InvalidArgumentError, PreconditionError
from paglets.testing import local_host
from paglets.values import PagletState, TransferTicket
from paglets.version import __version__
from tests.host.conftest import Mesh, site
from tests.host.probe_service import PROBE
from tests.host.stage import STAGE
from tests.host.support import PROBE_MODULE, PROBE_TYPE, ask
from tests.host.worker import WORKER_TYPE


def settings(name: str, folder: Path, **more: object) -> HostSettings:
    """Those of the tests' hosts, with some more."""
    return replace(HostSettings(name=name, data=folder / name, drain_s=1.0, quiesce_s=10.0), **more)


async def test_mesh_7_tags_and_properties_are_told(tmp_path: Path) -> None:
    """What a host says of itself is known at every host, and goes with it when it says otherwise."""
    async with AsyncExitStack() as stack:
        alpha = await site(stack, tmp_path, "alpha")
        async with AsyncExitStack() as first:
            told = settings("beta", tmp_path, tags=("gpu", "fast"), properties={"rack": "7"})
            await site(first, tmp_path, "beta", join=alpha.running.address, settings=told)
            known = await alpha.client.host("beta")
            assert (known.tags, known.properties) == (("fast", "gpu"), {"rack": "7"})
        await site(stack, tmp_path, "beta", join=alpha.running.address)
        known = await alpha.client.host("beta")
        assert (known.tags, known.properties) == ((), {})


async def test_mesh_1_every_host_tells_of_all(mesh: Mesh) -> None:
    """The hosts, in the order of their names, each with its address and version, are the same at any of them."""
    for at in (mesh.alpha, mesh.beta):
        found = [(host.name, host.address, host.online, host.version) for host in await at.client.hosts()]
        names = {"alpha": mesh.alpha, "beta": mesh.beta}
        assert found == [(name, there.running.address, True, __version__) for name, there in names.items()]
        own = await at.client.host()
        assert (own.name, own.online) == (at.host.name, True)


async def test_tick_5_types_are_told(mesh: Mesh) -> None:
    """Which types a host has is known at every host, before anything moves to it."""
    mine = (await mesh.beta.client.host("beta")).types
    assert (await mesh.alpha.client.host("beta")).types == mine
    assert {PROBE_TYPE, WORKER_TYPE} < set(mine)


async def test_mesh_7_tags_are_told_in_one_form(tmp_path: Path) -> None:
    """Trimmed, in lower case, each once and sorted, wherever a tag is said or asked for; a property needs a key."""
    async with AsyncExitStack() as stack:
        alpha = await site(stack, tmp_path, "alpha")
        told = settings("beta", tmp_path, tags=("Zoo", " GPU ", "gpu"), properties={"": "x", "rack": "A7"})
        await site(stack, tmp_path, "beta", join=alpha.running.address, settings=told)
        known = await alpha.client.host("beta")
        assert (known.tags, known.properties) == (("gpu", "zoo"), {"rack": "A7"})
        await alpha.client.create(PROBE_TYPE, paglet_id="probe")
        ticket = TransferTicket(required_tags=("GPU", " zoo"))
        assert (await alpha.client.dispatch("probe", "beta", ticket=ticket)).host == "beta"


async def test_mesh_6_paglets_see_the_hosts(mesh: Mesh) -> None:
    """All that are there, in the order of their names; on request without its own, or with those that are away."""
    await mesh.probe()
    resident = mesh.alpha.host.residents.get("probe")
    assert resident is not None
    paglet, directory = resident.paglet, mesh.alpha.host.parts.directory

    async def told(*, online_only: bool = True, include_self: bool = True) -> list[str]:
        found = await paglet.available_hosts(online_only=online_only, include_self=include_self)
        return [host.name for host in found]

    assert (await told(), await told(include_self=False)) == (["alpha", "beta"], ["beta"])
    (beta,) = [host for host in await directory.hosts() if host.name == "beta"]
    await directory.lease_revoke("beta", beta.uid)
    assert (await told(), await told(online_only=False)) == (["alpha"], ["alpha", "beta"])
    found = await paglet.context.host_status("beta")
    assert found is not None
    assert (found.name, found.address, found.online) == ("beta", mesh.beta.running.address, False)
    assert await paglet.context.host_status("nobody") is None


async def test_mesh_8_host_that_comes_back_elsewhere(tmp_path: Path) -> None:
    """Its paglets are found at its new address, though another host of the mesh answers at the one it had."""
    async with AsyncExitStack() as stack:
        alpha = await site(stack, tmp_path, "alpha")
        async with AsyncExitStack() as first:
            former = (await site(first, tmp_path, "beta", join=alpha.running.address)).running.address
            for paglet_id in ("probe", "other"):
                await alpha.client.create(PROBE_TYPE, paglet_id=paglet_id)
            await alpha.client.dispatch("probe", "beta")
            await ask(alpha.channel, "probe", "Append", "a")
        there = settings("gamma", tmp_path, listen=former, join=alpha.running.address, allow=(PROBE_MODULE,))
        await stack.enter_async_context(local_host(settings=there))
        beta = await site(stack, tmp_path, "beta", join=alpha.running.address)
        assert (beta.running.address != former, alpha.host.parts.peers.known_address("beta")) == (True, former)
        await alpha.client.post("probe", f"{PROBE.full_name}/Append", StringValue(value="posted"))
        assert (await ask(alpha.channel, "probe", "Append", "b")).text == "a posted b"
        assert (await alpha.client.host("beta")).address == beta.running.address
        assert (await alpha.client.dispatch("other", "beta")).host == "beta"
        assert (await alpha.client.retract("probe")).host == "alpha"


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"tags": ("No Tag",)}, "INVALID_ID"),
        ({"tags": tuple(f"t-{number}" for number in range(65))}, "MALFORMED_REQUEST"),
        ({"properties": {"No Key": "x"}}, "INVALID_ID"),
        ({"properties": {"key": "x" * 257}}, "MALFORMED_REQUEST"),
        ({"properties": {"key": "no text \udcff"}}, "MALFORMED_REQUEST"),
        ({"properties": {f"key-{number}": "x" for number in range(65)}}, "MALFORMED_REQUEST"),
    ],
)
async def test_mesh_7_too_much_is_refused(tmp_path: Path, more: dict[str, object], reason: str) -> None:
    """A host that says what no mesh takes does not start, and is told which setting it is."""
    (field,) = more
    async with AsyncExitStack() as stack:
        with pytest.raises(InvalidArgumentError) as caught:
            await site(stack, tmp_path, "alpha", settings=settings("alpha", tmp_path, **more))
        assert (caught.value.reason, caught.value.field) == (reason, f"host.{field}")


async def test_tick_2_ticket_requires_tags(tmp_path: Path) -> None:
    """A target that lacks a tag is refused before any hook is run; one that has it is not."""
    async with AsyncExitStack() as stack:
        alpha = await site(stack, tmp_path, "alpha")
        told = settings("beta", tmp_path, tags=("gpu",))
        await site(stack, tmp_path, "beta", join=alpha.running.address, settings=told)
        await alpha.client.create(PROBE_TYPE, paglet_id="probe")
        STAGE.notes.clear()
        with pytest.raises(PreconditionError) as caught:
            await alpha.client.dispatch("probe", "beta", ticket=TransferTicket(required_tags=("gpu", "fast")))
        assert (caught.value.reason, caught.value.metadata["tag"]) == ("HOST_UNSUITABLE", "fast")
        assert STAGE.notes == []
        moved = await alpha.client.dispatch("probe", "beta", ticket=TransferTicket(required_tags=("gpu",)))
        assert (moved.host, moved.state) == ("beta", PagletState.ACTIVE)


async def test_tick_2_ticket_with_what_can_be_no_tag(mesh: Mesh) -> None:
    """A move or a clone that asks for a tag that no host can have is refused at the door, by the field's name."""
    await mesh.probe()
    ticket = TransferTicket(required_tags=("gpu", "No Tag"))
    for move in (mesh.alpha.client.dispatch, mesh.alpha.client.clone):
        with pytest.raises(InvalidArgumentError) as caught:
            await move("probe", "beta", ticket=ticket)
        assert (caught.value.reason, caught.value.field) == ("INVALID_ID", "ticket.required_tags")
