"""The class that authors derive from: its state class, its view of the state, and what it asks of its host."""

from __future__ import annotations

import types
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import pytest

from paglets.core.events import CreationEvent
from paglets.core.paglet import Paglet
from paglets.errors import InvalidArgumentError, NotFoundError, PreconditionError
from paglets.values import FileMode, PagletProxyRef
from tests.fake_home import FakeHome

StateT = TypeVar("StateT")
KeyT = TypeVar("KeyT")


@dataclass
class First:
    """A state."""

    value: int = 0


@dataclass
class Second(First):
    """Another one."""

    more: str = ""


class Plain(Paglet[First]):
    """A paglet with nothing but a state."""

    def bump(self) -> None:
        """Counts."""
        self.state.value += 1


def test_core_1_state_class_is_the_type_argument() -> None:
    """The state class is what the class was given, or what it says by `State`."""
    assert Plain.State is First
    assert type("Named", (Plain,), {"State": Second}).codec.state_class is Second


def test_state_class_is_inherited() -> None:
    """A class that says nothing has the state class of the nearest base that does."""
    named = type("Named", (Plain,), {"State": Second})
    derived = type("Derived", (named,), {})
    assert derived.State is Second
    assert derived.codec.state_class is Second


def test_core_1_state_that_cannot_be_read_back_is_refused() -> None:
    """A state class that is no dataclass, or has a field of no certain type, is refused when the paglet is defined."""
    with pytest.raises(TypeError, match="int must be a dataclass"):
        type("Odd", (Paglet,), {"State": int})


class Undecorated:
    """What would be a state, but for a decorator."""

    value: int = 0


class Keyed(Paglet[StateT], Generic[StateT, KeyT]):
    """A generic class of somebody's own."""


def test_core_1_state_that_is_no_dataclass_is_refused() -> None:
    """Where the class is defined, by its name, also through generic classes; what else they are given is theirs."""
    state: Any = Undecorated
    with pytest.raises(TypeError, match="Odd has Undecorated as its state, which is no dataclass"):
        types.new_class("Odd", (Paglet[state],))
    with pytest.raises(TypeError, match="Odd has Undecorated as its state"):
        types.new_class("Odd", (Keyed[state, str],))
    with pytest.raises(TypeError, match="Odd has ForwardRef"):
        types.new_class("Odd", (Paglet["First"],))
    fine: type[Paglet[First]] = types.new_class("Fine", (Keyed[First, str],))
    assert fine.State is First


def test_check_that_nobody_would_await_is_refused() -> None:
    """An `async def check_arrival` would refuse nothing, so there can be none."""

    async def check(_cls: type[Plain], *_: object) -> None:
        """Waits for something."""

    with pytest.raises(TypeError, match="check_arrival is a coroutine function"):
        type("Odd", (Plain,), {"check_arrival": classmethod(check)})


@pytest.mark.parametrize("name", ["Services", "Patterns", "Advertises"])
def test_one_without_a_comma_is_refused(name: str) -> None:
    """What is to be a tuple is told to be one: parentheses alone make none."""
    with pytest.raises(TypeError, match=rf"Odd\.{name} has to be a tuple; one alone is written `{name} = \(it,\)`"):
        type("Odd", (Plain,), {name: object()})


def test_type_name() -> None:
    """The type's name in the mesh is its module and class."""
    assert Plain.type_name() == "tests.core.test_paglet.Plain"


@dataclass
class Linked:
    """A state that names other paglets."""

    peer: PagletProxyRef | None = None
    others: list[PagletProxyRef] = field(default_factory=list[PagletProxyRef])


def test_core_16_reference_is_kept_in_a_state() -> None:
    """A reference is a value like others: kept, told as JSON, and equal to the one that was made of the id."""
    codec = type("Knows", (Paglet,), {"State": Linked}).codec
    state = Linked(PagletProxyRef("a"), [PagletProxyRef("b"), PagletProxyRef("c")])
    assert codec.load(codec.encode(state), 1) == state
    assert codec.from_json(codec.to_json(state)) == state
    assert codec.load(codec.encode(Linked()), 1) == Linked()


async def test_state_outside_a_turn_is_read_only() -> None:
    """Outside a turn one reads the durable state; a turn sees its own and commits it."""
    home = FakeHome(Plain)
    plain = home.paglet
    async with plain.turn() as state:
        state.value = 5
        assert plain.state.value == 5
        assert home.cell.view.value == 0
    assert plain.state.value == 5
    plain.state.value = 99
    assert home.cell.view.value == 5
    async with plain.turn() as state:
        assert state.value == 5
    with pytest.raises(AttributeError, match="no setter"):
        plain.state = First()  # pyright: ignore[reportAttributeAccessIssue] - the mistake that is tested


async def test_failed_turn_leaves_nothing() -> None:
    """A turn that raises changes nothing and lets out nothing that it asked for."""
    home = FakeHome(Plain)

    async def fails() -> None:
        home.paglet.state.value = 9
        home.paglet.dispatch("beta")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await home.hook(fails)
    assert (home.paglet.state.value, home.departures) == (0, [])


async def test_locked_state_in_a_worker_thread() -> None:
    """Blocking code takes its turn by `locked_state`; within a turn that is the turn's own state."""
    home = FakeHome(Plain)
    plain = home.paglet

    def blocking() -> None:
        with plain.locked_state() as state:
            state.value += 1
            plain.state.value += 1

    await home.hook(blocking)
    assert plain.state.value == 2
    with pytest.raises(PreconditionError, match="event loop") as refused, plain.locked_state():
        pass
    assert refused.value.reason == "WAIT_IN_TURN"


async def test_dispatch_is_a_request() -> None:
    """`dispatch` gives the paglet's own reference at once; a malformed name is refused at once; the turn goes first."""
    home = FakeHome(Plain)
    async with home.turn():
        assert home.paglet.dispatch("beta") == PagletProxyRef("p-1")
        assert home.departures == []
        with pytest.raises(InvalidArgumentError) as refused:
            home.paglet.dispatch("no host")
        home.paglet.dispose()
    assert (refused.value.reason, refused.value.field) == ("INVALID_ID", "target")
    assert (home.departures, home.disposals) == (["beta"], 1)


async def test_registered_files(tmp_path: Path) -> None:
    """A file is registered under its own name or a given one, found by it, and forgotten on demand."""
    (tmp_path / "a.txt").write_bytes(b"abc")
    home = FakeHome(Plain, root=tmp_path)
    plain = home.paglet
    await plain.register_file("a.txt")
    ref = await plain.register_file("a.txt", " mine ", FileMode.MOVE)
    assert [file.name for file in plain.registered_files()] == ["a.txt", "mine"]
    assert plain.file_path("mine") == plain.file_path(ref) == tmp_path / "a.txt"
    await plain.unregister_file("mine")
    await plain.unregister_file("mine")
    with pytest.raises(NotFoundError, match="no registered file 'mine'") as missing:
        plain.file_path("mine")
    assert missing.value.reason == "FILE_NOT_FOUND"


async def test_hooks_do_nothing_by_default() -> None:
    """A paglet needs no hook."""
    home = FakeHome(Plain)
    before = home.cell.latest
    await home.hook(home.paglet.on_creation, CreationEvent("alpha"))
    await home.paglet.run()
    Plain.check_arrival(First(), _nowhere())
    assert home.cell.latest == before


def _nowhere() -> _Nowhere:
    return _Nowhere()


class _Nowhere:
    host = "beta"
    files = ()

    def resolve_destination(self, destination: str, source_name: str) -> Path:
        raise AssertionError(f"nobody asked for {destination} {source_name}")
