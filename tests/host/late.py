"""Writes to the directory whose answers never came, and that land at the worst time."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from paglets.directory.contract import JourneyRecord, PagletRow, RowWrite
from paglets.directory.sqlite import SqliteDirectory

__all__ = ["land_after_the_list"]


def land_after_the_list(
    monkeypatch: pytest.MonkeyPatch, *writes: RowWrite, journeys: Sequence[JourneyRecord] = ()
) -> None:
    """Writes of the life before come when a restart has just read its rows."""
    late, real = list(writes), SqliteDirectory.list

    async def read(
        directory: SqliteDirectory,
        *,
        after: str = "",
        limit: int = 1000,
        owner: str = "",
        type_name: str = "",
        awake: bool = False,
    ) -> Sequence[PagletRow]:
        rows = await real(directory, after=after, limit=limit, owner=owner, type_name=type_name, awake=awake)
        while late:
            await directory.apply([late.pop()], journeys=journeys)
        return rows

    monkeypatch.setattr(SqliteDirectory, "list", read)
