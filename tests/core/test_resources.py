"""What a paglet registers to be closed: by name, in reverse, each at most once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from paglets.core.resources import Resources
from paglets.core.timers import Timer
from paglets.errors import InvalidArgumentError, PreconditionError, as_paglet_error
from tests.core.test_paglet import Plain
from tests.fake_home import FakeHome


async def _call(close: Callable[[], object]) -> None:
    try:
        close()
    except ValueError as error:
        raise as_paglet_error(error, "a test") from error


class _File:
    def __init__(self, name: str, closed: list[str]) -> None:
        self.name = name
        self.closed = closed

    def close(self) -> None:
        self.closed.append(self.name)

    def fail(self) -> None:
        raise ValueError(self.name)


async def test_core_18_what_was_closed_is_registered_no_more() -> None:
    """Everything is closed once, the last first; a name given again stands for the new thing."""
    closed: list[str] = []
    resources = Resources("p")
    for name in "aba":
        resources.track_closeable(name, _File(name, closed))
    assert resources.status() == {"b": False, "a": False}
    await resources.clean_up(_call)
    await resources.clean_up(_call)
    assert closed == ["a", "b"]
    assert resources.status() == {}


async def test_core_18_all_are_tried_and_those_that_fail_are_named() -> None:
    """A failure keeps nothing else open; what failed stays, unless its failure does not matter."""
    closed: list[str] = []
    resources = Resources("p")
    resources.track_closeable("a", _File("a", closed))
    resources.track_closeable("b", _File("b", closed), method="fail")
    resources.track_closeable("c", _File("c", closed), method="fail", suppress=True)
    resources.track_closeable("d", _File("d", closed), method="fail")
    with pytest.raises(PreconditionError) as failed:
        await resources.clean_up(_call)
    assert failed.value.metadata["resource"] == "d, b"
    assert closed == ["a"]
    assert resources.status() == {"b": False, "d": False}
    assert resources.remove("b")
    assert not resources.remove("b")


def test_core_18_what_cannot_be_closed_is_refused() -> None:
    """An object without the method is refused when it is registered, not when it is too late."""
    with pytest.raises(AttributeError):
        Resources("p").track_closeable("a", object())


@pytest.mark.parametrize(
    ("pause_s", "again"), [(-1.0, False), (float("nan"), False), (float("inf"), True), (0.0, True)]
)
async def test_pause_of_a_timer(pause_s: float, *, again: bool) -> None:
    """A timer waits a finite time, and a repeated one some."""
    home = FakeHome(Plain)
    with pytest.raises(InvalidArgumentError, match="a timer waits"):
        Timer(home, asyncio.Event().set, pause_s, again=again)  # pyright: ignore[reportArgumentType] - never called
