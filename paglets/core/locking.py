"""Methods that have the state to themselves, whoever calls them: a turn's code, a body, a worker thread."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, overload

__all__ = ["state_locked"]

P = ParamSpec("P")
T = TypeVar("T")


class _HasTurns(Protocol):
    def turn(self) -> AbstractAsyncContextManager[Any]: ...

    def locked_state(self) -> AbstractContextManager[Any]: ...


OwnerT = TypeVar("OwnerT", bound=_HasTurns)


@overload
def state_locked(
    method: Callable[Concatenate[OwnerT, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[OwnerT, P], Coroutine[Any, Any, T]]: ...


@overload
def state_locked(method: Callable[Concatenate[OwnerT, P], T]) -> Callable[Concatenate[OwnerT, P], T]: ...


def state_locked(method: Callable[..., Any]) -> Callable[..., Any]:
    """Makes a method of a paglet a short turn: `self.state` in it is the state to read and change.

    Called in a turn it is part of that; in the background, of an `async def` on the event loop, of a `def` in a worker
    thread, it waits for a turn of its own, durable when it returns and rolled back when it raises. A `def` that is
    called on the event loop outside of a turn raises WAIT_IN_TURN.
    """
    if inspect.iscoroutinefunction(method):

        @functools.wraps(method)
        async def in_turn(self: _HasTurns, *arguments: object, **named: object) -> object:
            async with self.turn():
                return await method(self, *arguments, **named)

        return in_turn

    @functools.wraps(method)
    def locked(self: _HasTurns, *arguments: object, **named: object) -> object:
        with self.locked_state():
            return method(self, *arguments, **named)

    return locked
