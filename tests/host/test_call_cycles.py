"""Calls that would wait for each other fail at once and show their chain; nobody else's do."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue

from paglets.client.client import Client
from tests.host.conftest import Mesh, Site
from tests.host.posts import ran
from tests.host.probe import Probe
from tests.host.support import PROBE_TYPE, Refusal, ask, refused

_AT_ONCE_S = 3.0
CYCLE = (grpc.StatusCode.FAILED_PRECONDITION, "CALL_CYCLE")


async def cycle(at: Site, paglet_id: str, operation: str, text: str) -> Refusal:
    """How a circle of calls fails: long before any deadline."""
    async with asyncio.timeout(_AT_ONCE_S):
        refusal = await refused(ask(at.channel, paglet_id, operation, text))
    assert refusal.what == CYCLE
    return refusal


@pytest.fixture
async def pair(mesh: Mesh) -> Mesh:
    """Probes `a` on alpha and `b` on beta."""
    await mesh.alpha.client.create(PROBE_TYPE, paglet_id="a")
    await mesh.beta.client.create(PROBE_TYPE, paglet_id="b")
    return mesh


async def test_paglet_that_calls_itself(pair: Mesh) -> None:
    """A turn cannot wait for another turn of the same paglet; nothing was run, and the paglet goes on."""
    refusal = await cycle(pair.alpha, "a", "Relay", "a Append x")
    assert refusal.metadata == {"chain": "a > a", "host": "alpha"}
    assert (await ask(pair.alpha.channel, "a", "Append", "y")).text == "y"


async def test_circle_over_hosts(pair: Mesh) -> None:
    """The chain goes along with calls from host to host, through reads too."""
    refusal = await cycle(pair.beta, "a", "Relay", "b Relay a Append x")
    assert refusal.metadata == {"chain": "a > b > a", "host": "alpha"}
    refusal = await cycle(pair.alpha, "a", "Relay", "b RelayRead a Append x")
    assert refusal.metadata == {"chain": "a > a", "host": "alpha"}
    refusal = await cycle(pair.alpha, "a", "Relay", "b Relay a Read x")
    assert refusal.metadata["chain"] == "a > b > a"


@pytest.mark.parametrize("wish", ["dispatch", "clone", "deactivate", "dispose"])
async def test_paglet_that_waits_for_its_own_move(pair: Mesh, monkeypatch: pytest.MonkeyPatch, wish: str) -> None:
    """A turn that waits for what waits for the turn's end is told so at once, on whichever host it asks."""

    async def wait(probe: Probe, request: StringValue) -> StringValue:
        address = pair.beta.running.address if request.value == "beta" else probe.context.address
        async with Client(address, timeout_s=20) as client:
            match wish:
                case "dispatch":
                    await client.dispatch(probe.paglet_id, "beta")
                case "clone":
                    await client.clone(probe.paglet_id)
                case "deactivate":
                    await client.deactivate(probe.paglet_id)
                case _:
                    await client.dispose(probe.paglet_id)
        return StringValue()

    monkeypatch.setattr(Probe, "append", wait)
    for asked in ("alpha", "beta"):
        refusal = await cycle(pair.alpha, "a", "Append", asked)
        assert refusal.metadata == {"chain": "a > a", "host": asked}
    assert (await pair.beta.client.get("a")).host == "alpha"


async def test_what_is_no_circle_is_answered(pair: Mesh) -> None:
    """Calls there and back that no turn waits for, the same paglet twice, and posts back are all well."""
    assert (await ask(pair.alpha.channel, "a", "RelayRead", "b RelayRead a Append x")).text == "x"
    assert (await ask(pair.alpha.channel, "a", "RelayRead", "b Relay a Append y")).text == "x y"
    await ask(pair.alpha.channel, "a", "Relay", "b Append z")
    await ask(pair.alpha.channel, "a", "Relay", "b Post a Append back")
    await ran(pair.alpha, "a", "x y relayed relayed back")


async def test_long_chain_is_refused(pair: Mesh) -> None:
    """Seventeen turns that wait for each other are taken for a mistake; a malformed chain is refused."""
    chain = ",".join(f"p{number}" for number in range(17))
    refusal = await refused(ask(pair.alpha.channel, "a", "Append", "x", metadata=[("paglet-chain", chain)]))
    assert refusal.what == CYCLE
    assert (await ask(pair.alpha.channel, "a", "Append", "x", metadata=[("paglet-chain", chain[:-4])])).text == "x"
    for wrong in ("A", "p1,,p2", "../x"):
        refusal = await refused(ask(pair.alpha.channel, "a", "Append", "x", metadata=[("paglet-chain", wrong)]))
        assert (refusal.reason, refusal.fields) == ("INVALID_ID", ["paglet-chain"])
