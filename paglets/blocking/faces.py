"""How methods of a face are made of the coroutine functions, generators and contexts that they wait for."""

from __future__ import annotations

import atexit
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from functools import partial, wraps
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, Self, TypeVar, cast, overload

from paglets.blocking.loop import Loop

__all__ = ["Face", "OpenFace", "entering", "iterating", "waiting"]

P = ParamSpec("P")
T = TypeVar("T")
FaceT = TypeVar("FaceT")
InnerT = TypeVar("InnerT")


class _Closing(Protocol):
    async def close(self) -> None: ...


ClosingT = TypeVar("ClosingT", bound=_Closing)


class Face(Generic[InnerT]):
    """What waits for the methods of `inner` on `loop`."""

    def __init__(self, inner: InnerT, loop: Loop) -> None:
        self.inner = inner
        self.loop = loop


class OpenFace(Face[ClosingT]):
    """A face with a lease of its own, to be closed: as a context, by `close`, or else when the program ends."""

    def __init__(self, make: Callable[[], Awaitable[ClosingT]]) -> None:
        loop = Loop()
        try:
            super().__init__(loop.wait(make), loop)
        except BaseException:
            loop.give_back()
            raise
        atexit.register(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def close(self) -> None:
        """Gives up what has not ended, CANCELLED, and closes what is open. Safe to repeat."""
        atexit.unregister(self.close)
        if self.loop.is_running:
            try:
                self.loop.wait(self.inner.close)
            finally:
                self.loop.give_back()


@overload
def waiting(method: Callable[Concatenate[Any, P], Awaitable[T]]) -> Callable[Concatenate[Face[Any], P], T]: ...
@overload
def waiting(
    method: Callable[Concatenate[Any, P], Awaitable[T]], into: Callable[[T, Loop], FaceT]
) -> Callable[Concatenate[Face[Any], P], FaceT]: ...
def waiting(
    method: Callable[Concatenate[Any, P], Awaitable[Any]], into: Callable[[Any, Loop], Any] | None = None
) -> Callable[Concatenate[Face[Any], P], Any]:
    """The method that waits for this one's result, and makes a face of it with `into`."""

    @wraps(method)
    def wait(face: Face[Any], *arguments: P.args, **named: P.kwargs) -> object:
        result = face.loop.wait(partial(_bound(method, face), *arguments, **named))
        return result if into is None else into(result, face.loop)

    return wait


def iterating(
    method: Callable[Concatenate[Any, P], AsyncIterator[T]],
) -> Callable[Concatenate[Face[Any], P], Generator[T]]:
    """The method that gives the items of this one's asynchronous generator."""

    @wraps(method)
    def iterate(face: Face[Any], *arguments: P.args, **named: P.kwargs) -> Generator[T]:
        return face.loop.iterate(partial(_bound(method, face), *arguments, **named))

    return iterate


@overload
def entering(
    method: Callable[Concatenate[Any, P], AbstractAsyncContextManager[T]],
) -> Callable[Concatenate[Face[Any], P], AbstractContextManager[T]]: ...
@overload
def entering(
    method: Callable[Concatenate[Any, P], AbstractAsyncContextManager[T]], into: Callable[[T, Loop], FaceT]
) -> Callable[Concatenate[Face[Any], P], AbstractContextManager[FaceT]]: ...
def entering(
    method: Callable[Concatenate[Any, P], AbstractAsyncContextManager[Any]],
    into: Callable[[Any, Loop], Any] | None = None,
) -> Callable[Concatenate[Face[Any], P], AbstractContextManager[Any]]:
    """The method that gives this one's asynchronous context, and makes a face of what comes of it with `into`."""

    @wraps(method)
    def enter(face: Face[Any], *arguments: P.args, **named: P.kwargs) -> AbstractContextManager[Any]:
        @asynccontextmanager
        async def context() -> AsyncGenerator[object]:
            async with _bound(method, face)(*arguments, **named) as entered:
                yield entered if into is None else into(entered, face.loop)

        return face.loop.entered(context())

    return enter


def _bound(method: Callable[..., T], face: Face[Any]) -> Callable[..., T]:
    """The method of what is behind a face: it may be that of a contract, which others keep."""
    return cast("Callable[..., T]", getattr(face.inner, method.__name__))
