"""A unary call that travels in a stream of calls: to its user the same as one that gRPC makes by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from typing import TypeVar

import grpc

from paglet.v1 import call_pb2 as pb
from paglets.wire.carried import metadata_from_messages
from paglets.wire.status import RPC_CODES

__all__ = ["CarriedCall"]

RequestT = TypeVar("RequestT")
ReplyT = TypeVar("ReplyT")


class CarriedCall(grpc.aio.UnaryUnaryCall[RequestT, ReplyT]):
    """One call, of at most `timeout_s` seconds, None for no limit. Awaiting it raises AioRpcError, as gRPC's own does.

    Metadata, code and details are known when it has ended.
    """

    def __init__(self, parse: Callable[[bytes], ReplyT], timeout_s: float | None) -> None:
        loop = asyncio.get_running_loop()
        self._parse = parse
        self._outcome: asyncio.Future[ReplyT] = loop.create_future()
        self._answer = pb.CarriedAnswer()
        self._now = loop.time
        self._end = None if timeout_s is None else loop.time() + timeout_s
        if timeout_s is not None:
            timer = loop.call_later(timeout_s, self.fail, grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")
            self._outcome.add_done_callback(lambda _: timer.cancel())

    def take(self, answer: pb.CarriedAnswer) -> None:
        """Ends the call by the host's answer, unless it has ended."""
        if self._outcome.done():
            return
        self._answer = answer
        if answer.code:
            self._raise()
            return
        try:
            self._outcome.set_result(self._parse(answer.reply))
        except Exception as error:  # noqa: BLE001 - gRPC's own tells whatever a parser raises so
            self.fail(grpc.StatusCode.INTERNAL, f"the reply cannot be read: {error}")

    def fail(self, code: grpc.StatusCode, details: str) -> None:
        """Ends the call by an error that is no answer, unless it has ended."""
        if not self._outcome.done():
            self._answer = pb.CarriedAnswer(code=code.value[0], message=details)
            self._raise()

    def _raise(self) -> None:
        answer = self._answer
        self._outcome.set_exception(
            grpc.aio.AioRpcError(
                RPC_CODES.get(answer.code, grpc.StatusCode.UNKNOWN),
                grpc.aio.Metadata(*metadata_from_messages(answer.initial_metadata)),
                grpc.aio.Metadata(*metadata_from_messages(answer.trailing_metadata)),
                answer.message,
            )
        )
        self._outcome.exception()  # an error that nobody asks for is none to be logged

    def __await__(self) -> Generator[None, None, ReplyT]:
        return (yield from self._outcome)

    def cancelled(self) -> bool:
        """Whether it was cancelled by its user."""
        return self._outcome.cancelled()

    def done(self) -> bool:
        """Whether it has ended."""
        return self._outcome.done()

    def cancel(self) -> bool:
        """Gives it up; False when it had ended."""
        return self._outcome.cancel()

    def time_remaining(self) -> float | None:
        """Seconds until its deadline; None when it has none."""
        return None if self._end is None else max(self._end - self._now(), 0.0)

    def add_done_callback(self, callback: Callable[[CarriedCall[RequestT, ReplyT]], None]) -> None:
        """Calls `callback` with this call when it has ended."""
        self._outcome.add_done_callback(lambda _: callback(self))

    async def initial_metadata(self) -> grpc.aio.Metadata:
        """What the host sent first."""
        return grpc.aio.Metadata(*metadata_from_messages((await self._ended()).initial_metadata))

    async def trailing_metadata(self) -> grpc.aio.Metadata:
        """What the host sent last."""
        return grpc.aio.Metadata(*metadata_from_messages((await self._ended()).trailing_metadata))

    async def code(self) -> grpc.StatusCode:
        """How it ended."""
        code = (await self._ended()).code
        return grpc.StatusCode.CANCELLED if self.cancelled() else RPC_CODES.get(code, grpc.StatusCode.UNKNOWN)

    async def details(self) -> str:
        """What the host said to that."""
        message = (await self._ended()).message
        return "Locally cancelled by application!" if self.cancelled() else message  # as gRPC says it

    async def wait_for_connection(self) -> None:
        """Waits until it has ended: nobody knows earlier whether the host has it."""
        await self._ended()

    async def _ended(self) -> pb.CarriedAnswer:
        await asyncio.wait([self._outcome])
        return self._answer
