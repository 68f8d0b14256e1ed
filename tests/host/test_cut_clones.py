"""Clones whose end a restart cut while the journey that made them was not forgotten yet."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from paglets import faults
from paglets.directory.contract import JourneyRecord, PagletRow, RowWrite
from paglets.directory.sqlite import SqliteDirectory
from paglets.errors import UnavailableError
from tests.host.conftest import Site, site
from tests.host.support import PROBE_TYPE, eventually


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    """Whatever a test starts ends with it."""
    async with AsyncExitStack() as opened:
        yield opened


async def test_clone_that_was_disposed_of_before_its_journey_was_forgotten(
    stack: AsyncExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tombstone stands, and the host dies before it has dropped the paglet: the next life drops both."""
    away = _without_forgetting(monkeypatch)
    alpha = await site(stack, tmp_path, "alpha")
    await alpha.client.create(PROBE_TYPE, paglet_id="probe")
    clone = (await alpha.client.clone("probe")).paglet_id
    left = tmp_path / "left"

    def passed(name: str) -> None:
        if name == "dispose.directory.after":
            shutil.copytree(tmp_path / "alpha", left / "alpha")

    faults.arm(passed)
    await alpha.client.dispose(clone)
    faults.arm(None)
    away.clear()
    again = await site(stack, left, "alpha")
    await eventually(lambda: _has_forgotten(again), what="the end of the clone's journey")
    assert await again.host.parts.journal.paglet_ids() == ["probe"]


def _without_forgetting(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """While the list is not empty, the directory is away whenever it is to forget a journey."""
    away, real = ["away"], SqliteDirectory.apply

    async def apply(
        directory: SqliteDirectory,
        writes: Sequence[RowWrite],
        *,
        journeys: Sequence[JourneyRecord] = (),
        forget: Sequence[str] = (),
        above: int = 0,
    ) -> Sequence[PagletRow]:
        if forget and away:
            raise UnavailableError("TRANSPORT", "the directory is away")
        return await real(directory, writes, journeys=journeys, forget=forget, above=above)

    monkeypatch.setattr(SqliteDirectory, "apply", apply)
    return away


async def _has_forgotten(at: Site) -> bool:
    return not await at.host.parts.journal.departures()
