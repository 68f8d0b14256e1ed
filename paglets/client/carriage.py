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
from paglets.client.call_end import replies_of
from paglets.client.carried_call import CarriedCall

__all__ = ["Carriage"]

_log = logging.getLogger(__name__)
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
        self._sending = asyncio.create_task(self._send())
        self._receiving = asyncio.create_task(self._receive())

    @property
    def is_open(self) -> bool:
        """Whether calls may be begun."""
        return not (self._sending.done() or self._receiving.done())

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
        """Cancels what is under way, as closing a channel does, and ends the stream."""
        for call in list(self._calls.values()):
            call.cancel()
        self._sending.cancel()
        self._receiving.cancel()
        await asyncio.gather(self._sending, self._receiving, return_exceptions=True)

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
            async for response in replies_of(self._stream):
                for answer in response.answers:
                    call = self._calls.pop(answer.number, None)
                    if call is not None:
                        call.take(answer)
        except grpc.aio.AioRpcError as error:
            code, details = error.code(), error.details() or ""
        finally:
            self._sending.cancel()
            while self._calls:
                self._calls.popitem()[1].fail(code, details)
