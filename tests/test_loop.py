"""What programs run on, and how a signal ends them, wherever in the loop it comes."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Generator

import pytest

from paglets.loop import interrupt, run


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


@pytest.fixture
def told() -> Generator[list[bool]]:
    """What `interrupt` said at each SIGTERM."""
    said = list[bool]()
    before = signal.signal(signal.SIGTERM, lambda _number, _frame: said.append(interrupt()))
    yield said
    signal.signal(signal.SIGTERM, before)


def test_interrupted_program_ends_what_it_began(told: list[bool]) -> None:
    """A signal in the middle of a callback tears nothing: who waits for that callback is woken, and ends well."""
    ended = False

    async def program() -> None:
        nonlocal ended
        loop = asyncio.get_running_loop()
        worked = loop.create_future()

        def work() -> None:
            signal.raise_signal(signal.SIGTERM)
            worked.set_result(None)

        loop.call_soon(work)
        try:
            await loop.create_future()
        finally:
            await worked
            ended = True

    with pytest.raises(KeyboardInterrupt):
        run(program())
    assert ended
    assert told == [True]


def test_program_that_does_not_end_can_be_told_so_once(told: list[bool]) -> None:
    """Asking again is refused, so that the caller can end it at once; what has ended cannot be asked."""

    async def program() -> str:
        loop = asyncio.get_running_loop()
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        try:
            await loop.create_future()
        except asyncio.CancelledError:
            return "went on"
        return "was not asked"

    assert run(program()) == "went on"
    signal.raise_signal(signal.SIGTERM)
    assert told == [True, False, False]


def test_program_that_is_cancelled_by_itself_was_not_interrupted() -> None:
    """Only a signal is told as one."""

    async def program() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        run(program())
