"""One stream that carries unary calls to a host, and their answers back.

This file must never know what is called.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Any

import grpc

from paglet.v1 import call_pb2 as pb
from paglet.v1 import call_pb2_grpc
from paglets.client.call_end import is_mask
from paglets.client.carried_call import CarriedCall

__all__ = ["Carriage"]

_log = logging.getLogger(__name__)
_NOT_CARRIED = "this host is older than CallService, and carries no calls: it needs a Client that is not multiplexed"
_BATCH_BYTES = 1024 * 1024
"""Calls that wait to be sent go together in a message as long as they are less than this."""


class Carriage:
    """Opened when it is made. Once it has ended, as `is_open` says, the calls that it had have failed; make another."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        stub: call_pb2_grpc.CallServiceAsyncStub = call_pb2_grpc.CallServiceStub(channel)
        self._stream = stub.CarryCalls()
        self._last_number = 0
        self._calls: dict[int, CarriedCall[Any, Any]] = {}
        self._unsent: deque[pb.CarriedCall] = deque()
        self._given_up: list[int] = []
        self._wanted = asyncio.Event()
        self._tasks = [asyncio.create_task(self._send()), asyncio.create_task(self._receive())]

    @property
    def is_open(self) -> bool:
        """Whether calls may be begun."""
        return not any(task.done() for task in self._tasks)

    @property
    def under_way(self) -> int:
        """How many calls have not ended."""
        return len(self._calls)

    def begin(self, message: pb.CarriedCall, call: CarriedCall[Any, Any]) -> None:
        """Sends a call, which is numbered here; what comes of it, `call` is told."""
        self._last_number += 1
        number = message.number = self._last_number
        self._calls[number] = call
        call.add_done_callback(lambda _: self._ended(number))
        self._unsent.append(message)
        self._wanted.set()

    async def close(self) -> None:
        """Cancels what is under way, as closing a channel does, and ends the stream; nothing else may be done then.

        gRPC keeps the connection for as long as there is a call: here none may be left for the garbage collector.
        """
        for call in list(self._calls.values()):
            call.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()  # what they were cancelled by has their frames, which have this

    def _ended(self, number: int) -> None:
        if self._calls.pop(number, None) is not None:  # its user gave it up, or its time is over
            self._given_up.append(number)
            self._wanted.set()

    async def _send(self) -> None:
        """Sends until the stream breaks, which `_receive` hears of."""
        try:
            while True:
                await self._wanted.wait()
                self._wanted.clear()
                while self._unsent or self._given_up:
                    await self._stream.write(self._batch())
        except (grpc.aio.AioRpcError, grpc.aio.UsageError, grpc.aio.InternalError, asyncio.InvalidStateError):
            _log.debug("nothing more can be sent", exc_info=True)
        finally:
            self._stream.cancel()

    def _batch(self) -> pb.CarryCallsRequest:
        request = pb.CarryCallsRequest(given_up=self._given_up)
        self._given_up.clear()
        size_bytes = 0
        while self._unsent and size_bytes < _BATCH_BYTES:
            message = self._unsent.popleft()
            if message.number in self._calls:
                size_bytes += message.ByteSize()
                request.calls.append(message)
        return request

    async def _receive(self) -> None:
        """Hands the answers out; when the stream has ended, nothing that it had is left waiting."""
        code, details = grpc.StatusCode.UNAVAILABLE, "the stream of calls ended before the call was answered"
        try:
            async for response in self._stream:
                for answer in response.answers:
                    call = self._calls.pop(answer.number, None)
                    if call is not None:
                        call.take(answer)
        except grpc.aio.AioRpcError as error:
            if not is_mask(error):
                code, details = error.code(), error.details() or ""
            if code is grpc.StatusCode.UNIMPLEMENTED:  # not what was called, but the stream
                details = _NOT_CARRIED
        finally:
            self._stream.cancel()
            self._tasks[0].cancel()
            while self._calls:
                self._calls.popitem()[1].fail(code, details)
