"""What a host keeps of a paglet that has left, rests or has ended: nothing in memory."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import pytest

from paglets.client.client import Client
from paglets.testing import RunningHost, local_host
from tests.host.streamer import STREAMER_MODULE, STREAMER_TYPE
from tests.host.support import eventually

ID = "p"


async def _forgotten(host: RunningHost) -> weakref.ref[object]:
    """The paglet that the host has now, held by nobody here."""
    resident = await host.host.resident(ID)
    assert resident is not None
    return weakref.ref(resident.paglet)


async def _eventually_dead(paglet: weakref.ref[object]) -> None:
    async def is_dead() -> bool:
        gc.collect()
        return paglet() is None

    await eventually(is_dead)


@pytest.mark.parametrize("how", ["dispatch", "deactivate", "dispose"])
async def test_paglet_that_is_gone_takes_no_memory(tmp_path: Path, how: str) -> None:
    """Its object, and so its state, is let go of, whichever way it went."""
    async with (
        local_host("alpha", allow=[STREAMER_MODULE], data=tmp_path / "alpha") as alpha,
        local_host("beta", allow=[STREAMER_MODULE], data=tmp_path / "beta", join=alpha.address),
        Client(alpha.address) as client,
    ):
        await client.create(STREAMER_TYPE, paglet_id=ID)
        paglet = await _forgotten(alpha)
        await getattr(client, how)(ID, *(["beta"] if how == "dispatch" else []))
        await _eventually_dead(paglet)
