"""A rest of "probe" that is in its host's journal, and of which the directory hears nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import grpc
import pytest

from paglets.directory.contract import PagletRow, RowWrite
from paglets.errors import PagletError, UnavailableError
from paglets.testing import eventually
from tests.host.conftest import Site

__all__ = ["cut_rest", "silenced"]


def silenced(at: Site) -> None:
    """No write of the host reaches the directory any more, which says nothing."""

    async def no_answer(_writes: Sequence[RowWrite], **_more: object) -> Sequence[PagletRow]:
        raise UnavailableError("DIRECTORY_UNAVAILABLE", "no answer comes")

    pytest.MonkeyPatch().setattr(at.host.parts.directory, "apply", no_answer)


async def cut_rest(at: Site, ask: Callable[[], Awaitable[object]]) -> None:
    """Asks for a rest until the journal has it, and no longer; the host is to be ended then."""
    silenced(at)

    async def asked() -> None:
        with suppress(PagletError, grpc.aio.AioRpcError):
            await ask()

    asking = asyncio.ensure_future(asked())

    async def is_kept() -> bool:
        return await at.host.parts.journal.dormant.ids() == ["probe"]

    await eventually(is_kept, what="the rest in the journal")
    asking.cancel()
    await asyncio.wait([asking])
