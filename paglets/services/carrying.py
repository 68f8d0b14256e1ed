"""CallService: many unary calls in one stream, each begun as it comes and answered as soon as it has ended."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import TypeAlias

import grpc

from paglet.v1 import call_pb2 as pb
from paglet.v1 import call_pb2_grpc
from paglets.errors import ExhaustedError, InvalidArgumentError
from paglets.services.carried import CarriedContext
from paglets.services.guard import guard_single
from paglets.services.outlet import ServerContext
from paglets.wire.carried import MAX_CARRIED_BYTES, carried_bytes
from paglets.wire.times import duration_from_message

__all__ = ["CallServicer", "Find", "Unary"]

Unary: TypeAlias = Callable[[bytes, ServerContext], Awaitable[bytes]]
Find: TypeAlias = Callable[[str, ServerContext], Unary]
"""What answers an rpc, given its path and the call. Raises PagletErrors for one that nothing answers so."""

_RETRY_S = 0.1
_BATCH_BYTES = 1024 * 1024
"""Answers go together in a message as long as they are less than this."""

_MAX_UNSENT_BYTES = 8 * 1024 * 1024
"""While so much was not taken by the caller, no more of his calls are begun."""

_BESIDE_BYTES = 256
"""What an answer that waits takes up beside what it says: there may be a million that say nothing."""


class CallServicer(call_pb2_grpc.CallServiceServicer):
    """Answers for one host; put it behind the guard. So many calls may be under way, and so many of one stream."""

    def __init__(self, find: Find, *, max_calls: int, max_calls_of_stream: int) -> None:
        self._find = find
        self._max_calls = max_calls
        self._max_calls_of_stream = max_calls_of_stream
        self._carriages: set[_Carriage] = set()
        self._under_way = 0
        self._is_ending = False

    async def CarryCalls(
        self, request_iterator: AsyncIterator[pb.CarryCallsRequest], context: ServerContext
    ) -> AsyncGenerator[pb.CarryCallsResponse]:
        """Makes the calls that come; ends with them, and with their caller."""
        if self._is_ending:
            return
        carriage = _Carriage(self._serve, context.peer(), self._max_calls_of_stream)
        self._carriages.add(carriage)
        try:
            async for response in carriage.answers(request_iterator):
                yield response
        finally:
            self._carriages.discard(carriage)
            await carriage.close()

    def end(self) -> None:
        """Has every stream end when the calls that it has brought are answered; no more are begun."""
        self._is_ending = True
        for carriage in self._carriages:
            carriage.end()

    async def _serve(self, call: pb.CarriedCall, context: CarriedContext) -> bytes:
        self._under_way += 1
        try:
            return await guard_single(self._answer, call.method)(call, context)
        finally:
            self._under_way -= 1

    async def _answer(self, call: pb.CarriedCall, context: CarriedContext) -> bytes:
        if context.beside >= self._max_calls_of_stream:
            raise _too_many(f"this stream has {context.beside} calls")
        if self._under_way > self._max_calls:
            raise _too_many(f"this host has {self._max_calls} calls of streams")
        if carried_bytes(context.invocation_metadata(), call.request) > MAX_CARRIED_BYTES:
            raise InvalidArgumentError(
                "MALFORMED_REQUEST",
                f"a call of more than {MAX_CARRIED_BYTES} bytes is not carried: make it by its own rpc",
                field="request",
            )
        return await self._find(call.method, context)(call.request, context)


def _too_many(what: str) -> ExhaustedError:
    return ExhaustedError("TOO_MANY_CALLS", f"{what} under way; nothing was run", retry_after_s=_RETRY_S)


class _Carriage:
    """The calls of one stream, from one connection, each answered by `serve`, which raises AbortError alone.

    It refuses at once what is more than `max_calls` at a time.
    """

    def __init__(
        self, serve: Callable[[pb.CarriedCall, CarriedContext], Awaitable[bytes]], peer: str, max_calls: int
    ) -> None:
        self._serve = serve
        self._peer = peer
        self._max_calls = max_calls
        self._calls: dict[int, asyncio.Task[None]] = {}
        self._unsent: deque[pb.CarriedAnswer] = deque()
        self._unsent_bytes = 0
        self._taking: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_room.set()

    async def answers(self, requests: AsyncIterator[pb.CarryCallsRequest]) -> AsyncGenerator[pb.CarryCallsResponse]:
        """Takes the calls, and gives their answers until no more can come. Raises MALFORMED_REQUEST."""
        self._taking = asyncio.create_task(self._take(requests))
        self._taking.add_done_callback(lambda _: self._changed.set())
        while self._calls or self._unsent or not self._taking.done():
            await self._changed.wait()
            self._changed.clear()
            while self._unsent:
                yield self._batch()
            if self._taking.done() and not self._taking.cancelled():
                self._taking.result()

    def end(self) -> None:
        """Begins no more calls."""
        if self._taking is not None:
            self._taking.cancel()

    async def close(self) -> None:
        """Gives up what is under way, and waits for its end."""
        tasks = list(self._calls.values())
        if self._taking is not None:
            tasks.append(self._taking)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _take(self, requests: AsyncIterator[pb.CarryCallsRequest]) -> None:
        async for request in requests:
            for number in request.given_up:
                if (task := self._calls.get(number)) is not None:
                    task.cancel()
            for call in request.calls:
                self._begin(call)
                await self._has_room.wait()
                if len(self._calls) > self._max_calls:  # it is refused by now, or soon: one message may bring a million
                    await asyncio.sleep(0)

    def _begin(self, call: pb.CarriedCall) -> None:
        if call.number in self._calls:
            raise InvalidArgumentError(
                "MALFORMED_REQUEST", f"a call with number {call.number} is under way already", field="number"
            )
        timeout_s = duration_from_message(call.timeout) if call.HasField("timeout") else None
        context = CarriedContext(call, timeout_s, self._peer, beside=len(self._calls))
        task = self._calls[call.number] = asyncio.create_task(self._run(call, context))
        task.add_done_callback(lambda _: self._ended(call.number))

    async def _run(self, call: pb.CarriedCall, context: CarriedContext) -> None:
        reply = b""
        try:
            async with asyncio.timeout(context.time_remaining()):
                reply = await self._serve(call, context)
        except TimeoutError:
            context.set_code(grpc.StatusCode.DEADLINE_EXCEEDED)
            context.set_details("Deadline Exceeded")
        except grpc.aio.AbortError:
            pass
        answer = context.answer(reply)
        self._unsent.append(answer)
        self._unsent_bytes += _size_bytes(answer)
        if self._unsent_bytes > _MAX_UNSENT_BYTES:
            self._has_room.clear()

    def _ended(self, number: int) -> None:
        del self._calls[number]
        self._changed.set()

    def _batch(self) -> pb.CarryCallsResponse:
        """As many answers as go well in one message."""
        response, size_bytes = pb.CarryCallsResponse(), 0
        while self._unsent and (not size_bytes or size_bytes + _size_bytes(self._unsent[0]) < _BATCH_BYTES):
            answer = self._unsent.popleft()
            size_bytes += _size_bytes(answer)
            response.answers.append(answer)
        self._unsent_bytes -= size_bytes
        if self._unsent_bytes <= _MAX_UNSENT_BYTES:
            self._has_room.set()
        return response


def _size_bytes(answer: pb.CarriedAnswer) -> int:
    return answer.ByteSize() + _BESIDE_BYTES
