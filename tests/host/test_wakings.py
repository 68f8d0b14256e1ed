"""What its time or a start brings back keeps nothing else waiting, and is tried again when it could not come."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from paglets.core.events import ActivationEvent
from paglets.host import dormant
from paglets.host.gate import moved
from paglets.values import DeactivationPolicy, PagletState
from tests.host.conftest import Site, site
from tests.host.midway import do
from tests.host.probe import Probe
from tests.host.stage import STAGE
from tests.host.support import PROBE_TYPE, eventually

STARTUP = DeactivationPolicy(activate_on_startup=True, activate_on_message=False)


async def lay_down(at: Site, paglet_id: str, policy: DeactivationPolicy) -> None:
    """A probe that rests."""
    await at.client.create(PROBE_TYPE, paglet_id=paglet_id)
    await at.client.deactivate(paglet_id, policy)


async def comes_back(at: Site, paglet_id: str) -> None:
    """Waits until a paglet is awake."""

    async def look() -> bool:
        return (await at.client.get(paglet_id)).state is PagletState.ACTIVE

    await eventually(look, what=f"{paglet_id} awake")


async def test_life_10_who_takes_long_keeps_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start, or a time, brings the others back while the first turn of one does not end."""

    async def on_activation(found: Probe, _event: ActivationEvent) -> None:
        await STAGE.at(found.paglet_id)

    monkeypatch.setattr(Probe, "on_activation", on_activation)
    monkeypatch.setattr(dormant, "_AT_ONCE", 1)
    monkeypatch.setattr(dormant, "_PLACE_S", 0.05)
    async with AsyncExitStack() as first:
        alpha = await site(first, tmp_path, "alpha")
        for paglet_id in ("a-slow", "b-quick"):
            await lay_down(alpha, paglet_id, STARTUP)
    STAGE.hold("a-slow", "c-slow")
    async with AsyncExitStack() as second:
        alpha = await site(second, tmp_path, "alpha")
        await STAGE.reached("a-slow")
        await comes_back(alpha, "b-quick")
        await lay_down(alpha, "c-slow", DeactivationPolicy(activate_at=time.time() - 2))
        await lay_down(alpha, "d-quick", DeactivationPolicy(activate_at=time.time() - 1))
        await STAGE.reached("c-slow")
        await comes_back(alpha, "d-quick")
        for paglet_id in ("a-slow", "c-slow"):
            assert (await alpha.client.get(paglet_id)).state is PagletState.INACTIVE
            STAGE.release(paglet_id)
            await comes_back(alpha, paglet_id)


async def test_life_10_tried_again_whatever_was_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when its first turn was told that another paglet had moved: it is this one that is to come back."""
    told: list[str] = []

    async def on_activation(_probe: Probe, event: ActivationEvent) -> None:
        told.append(event.reason)
        if len(told) < 3:
            raise moved("other")

    monkeypatch.setattr(Probe, "on_activation", on_activation)
    monkeypatch.setattr(dormant, "_TRY_AGAIN_S", 0.05)
    async with AsyncExitStack() as first:
        await lay_down(await site(first, tmp_path, "alpha"), "probe", STARTUP)
    async with AsyncExitStack() as second:
        await comes_back(await site(second, tmp_path, "alpha"), "probe")
    assert told == ["startup"] * 3


async def test_life_10_change_is_tried_at_once(alpha: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A time that was tried in vain is not waited for when it is said anew."""
    tries: list[str] = []

    async def on_activation(_probe: Probe, event: ActivationEvent) -> None:
        tries.append(event.reason)
        if len(tries) == 1:
            raise ValueError("not yet")

    monkeypatch.setattr(Probe, "on_activation", on_activation)
    await lay_down(alpha, "probe", DeactivationPolicy(activate_at=time.time() - 2))
    await eventually(lambda: do(bool(tries)), what="the first try")
    await alpha.client.deactivate("probe", DeactivationPolicy(activate_at=time.time() - 1))
    await comes_back(alpha, "probe")
    assert tries == ["time", "time"]


async def test_life_10_clock_that_is_set_back(alpha: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A time that has come stays so when it was tried in vain before: it is tried again after the same while."""
    tries: list[str] = []

    class Earlier:
        """The time of day, an hour ago."""

        @staticmethod
        def time() -> float:
            return time.time() - 3600

    async def on_activation(_probe: Probe, event: ActivationEvent) -> None:
        tries.append(event.reason)
        if len(tries) == 1:
            raise ValueError("not yet")

    monkeypatch.setattr(Probe, "on_activation", on_activation)
    monkeypatch.setattr(dormant, "_TRY_AGAIN_S", 0.05)
    await lay_down(alpha, "probe", DeactivationPolicy(activate_at=time.time() - 7200))
    await eventually(lambda: do(bool(tries)), what="the first try")
    monkeypatch.setattr(dormant, "time", Earlier)
    await comes_back(alpha, "probe")
    assert tries == ["time", "time"]
