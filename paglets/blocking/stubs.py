"""What generated stubs are made of, so that their calls wait; each is a call of the asynchronous channel behind it.

A unary call is that of the SDK: with deadline, retries and PagletErrors. A streaming one has gRPC's own errors. The
types are those of the generated code; here requests and replies are anything.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc

from paglets.blocking.loop import Loop, pulled

__all__ = ["StubChannel"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StubChannel:
    """Makes rpcs for a generated stub, which asks for nothing else of its channel."""

    channel: grpc.aio.Channel
    loop: Loop

    def unary_unary(self, method: str, *made: Any, **named: Any) -> _OneReply:
        """An rpc of one request and one reply."""
        return _OneReply(self.loop, self.channel.unary_unary(method, *made, **named))

    def stream_unary(self, method: str, *made: Any, **named: Any) -> _OneReply:
        """An rpc of a stream of requests and one reply."""
        return _OneReply(self.loop, _fed(self.channel.stream_unary(method, *made, **named)))

    def unary_stream(self, method: str, *made: Any, **named: Any) -> _ManyReplies:
        """An rpc of one request and a stream of replies."""
        return _ManyReplies(self.loop, self.channel.unary_stream(method, *made, **named))

    def stream_stream(self, method: str, *made: Any, **named: Any) -> _ManyReplies:
        """An rpc of two streams."""
        return _ManyReplies(self.loop, _fed(self.channel.stream_stream(method, *made, **named)))


def _fed(rpc: Callable[..., T]) -> Callable[..., T]:
    """The rpc whose stream of requests is an iterator that may block."""

    def begin(requests: Iterator[Any], **options: Any) -> T:
        return rpc(pulled(requests), **options)

    return begin


@dataclass(frozen=True, slots=True)
class _Rpc:
    """What begins calls on the loop; the options of one are gRPC's, in gRPC's order."""

    loop: Loop
    rpc: Callable[..., Any]

    def begin(
        self,
        request: Any,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,  # noqa: FBT001 - gRPC's own order
        compression: grpc.Compression | None = None,
    ) -> Any:
        """Begins a call."""
        return self.rpc(
            request,
            timeout=timeout,
            metadata=metadata,
            credentials=credentials,
            wait_for_ready=wait_for_ready,
            compression=compression,
        )


class _OneReply(_Rpc):
    """An rpc of one reply."""

    __slots__ = ()

    def __call__(self, request: Any, *options: Any, **named: Any) -> Any:
        """Waits for the reply."""

        async def call() -> Any:
            return await self.begin(request, *options, **named)

        return self.loop.wait(call)

    def with_call(self, request: Any, *options: Any, **named: Any) -> tuple[Any, grpc.Call]:
        """Waits for the reply, and gives the call, too: its metadata."""
        call = self.future(request, *options, **named)
        try:
            return call.result(), call
        finally:
            call.cancel()

    def future(self, request: Any, *options: Any, **named: Any) -> _Pending:
        """Begins the call, and waits for nothing."""
        return _Pending(self.loop, self.loop.call(lambda: self.begin(request, *options, **named)))


class _ManyReplies(_Rpc):
    """An rpc of a stream of replies."""

    __slots__ = ()

    def __call__(self, request: Any, *options: Any, **named: Any) -> _Replies:
        """Begins the call; its replies are read as they are wanted."""
        return _Replies(self.loop, self.loop.call(lambda: self.begin(request, *options, **named)))


class _Call(grpc.Call):
    """A call that is under way, or has ended. What is known of its end is waited for."""

    def __init__(self, loop: Loop, call: Any) -> None:
        self._loop = loop
        self._call = call

    def code(self) -> grpc.StatusCode:
        return self._loop.wait(self._call.code)

    def details(self) -> str:
        return self._loop.wait(self._call.details)

    def initial_metadata(self) -> Any:
        return self._loop.wait(self._call.initial_metadata)

    def trailing_metadata(self) -> Any:
        return self._loop.wait(self._call.trailing_metadata)

    def is_active(self) -> bool:
        return not self._call.done()

    def time_remaining(self) -> Any:
        return self._call.time_remaining()

    def cancel(self) -> bool:
        return self._loop.call(self._call.cancel)

    def add_callback(self, callback: Callable[[], None]) -> bool:
        def call(_ended: object) -> None:
            callback()

        def register() -> bool:
            if self._call.done():
                return False
            self._call.add_done_callback(call)
            return True

        return self._loop.call(register)


class _Replies(_Call):
    """A call whose replies are iterated over; cancelled by `cancel`, or when the client is closed."""

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        reply = self._loop.wait(self._call.read)
        if reply is grpc.aio.EOF:
            raise StopIteration
        return reply


class _Pending(_Call):
    """A call of one reply, which can be waited for: a `grpc.Future`."""

    def __init__(self, loop: Loop, call: Any) -> None:
        super().__init__(loop, call)
        self._ended = loop.begin(self._reply)

    async def _reply(self) -> Any:
        return await self._call

    def result(self, timeout: float | None = None) -> Any:
        with _futures_errors():
            return self._ended.result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        with _futures_errors():
            return self._ended.exception(timeout)

    def traceback(self, timeout: float | None = None) -> TracebackType | None:
        failure = self.exception(timeout)
        return None if failure is None else failure.__traceback__

    def cancel(self) -> bool:
        return self._ended.cancel()

    def cancelled(self) -> bool:
        return self._ended.cancelled()

    def running(self) -> bool:
        return not self._ended.done()

    def done(self) -> bool:
        return self._ended.done()

    def add_done_callback(self, fn: Callable[[Any], None]) -> None:
        def call(_ended: Future[Any]) -> None:
            fn(self)

        self._ended.add_done_callback(call)


grpc.Future.register(_Pending)


@contextmanager
def _futures_errors() -> Generator[None]:
    try:
        yield
    except TimeoutError as error:
        raise grpc.FutureTimeoutError from error
    except CancelledError as error:
        raise grpc.FutureCancelledError from error
