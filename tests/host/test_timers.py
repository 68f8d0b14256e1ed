"""Calls that come later: bodies of their own, bound to the paglet's stay."""

from __future__ import annotations

import asyncio

import pytest

from tests.host.conftest import Mesh, Site
from tests.host.midway import do
from tests.host.stage import STAGE
from tests.host.support import ask, eventually, refused
from tests.host.worker import WORKER_TYPE


@pytest.fixture
async def worker(mesh: Mesh) -> str:
    """A worker on alpha."""
    return (await mesh.alpha.client.create(WORKER_TYPE, paglet_id="worker")).paglet_id


async def _reads(site: Site, text: str) -> bool:
    return (await ask(site.channel, "worker", "Read")).text == text


async def test_later_is_once(mesh: Mesh, worker: str) -> None:
    """A call comes when its time has come, unless it was cancelled or its turn failed; then nothing is left of it."""
    await ask(mesh.alpha.channel, worker, "Ask", "later-never a")
    await refused(ask(mesh.alpha.channel, worker, "Ask", "later-fail b"))
    await ask(mesh.alpha.channel, worker, "Ask", "later c")
    await eventually(lambda: _reads(mesh.alpha, "c"))
    await eventually(lambda: do(not _bodies()))
    assert await _reads(mesh.alpha, "c")


async def test_every_goes_on_until_the_paglet_leaves(mesh: Mesh, worker: str) -> None:
    """A repeated call comes again and again, and ends with the stay."""
    await ask(mesh.alpha.channel, worker, "Ask", "every spot")
    await STAGE.reached("spot", 3)
    await mesh.alpha.client.dispatch(worker, "beta")
    assert not _bodies()


async def test_tick_is_a_body_of_its_own(mesh: Mesh, worker: str) -> None:
    """What a repeated call asks of the host is done when that call has ended."""
    await ask(mesh.alpha.channel, worker, "Ask", "every go beta")
    await eventually(lambda: _is_on_beta(mesh))


async def _is_on_beta(mesh: Mesh) -> bool:
    return (await mesh.alpha.client.get("worker")).host == "beta"


def _bodies() -> list[asyncio.Task[object]]:
    return [task for task in asyncio.all_tasks() if "_run_body" in repr(task)]
