"""What programs run on."""

from __future__ import annotations

import asyncio
import sys

import pytest

from paglets.loop import run


async def loop_name() -> str:
    """Which package's loop this is."""
    return type(asyncio.get_running_loop()).__module__.split(".")[0]


def test_uvloop_where_it_is_installed() -> None:
    """The fast loop is taken wherever it is."""
    assert run(loop_name()) == "uvloop"


def test_without_uvloop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else is needed to run."""
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert run(loop_name()) == "asyncio"
