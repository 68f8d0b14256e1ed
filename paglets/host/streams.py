"""The streaming operations of one paglet: they run beside its turns, and end when it leaves or rests.

A stream never ends silently: who hears it is told that it was cut, and opens another one wherever the paglet is then.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

from paglets.core.call import answering
from paglets.core.handlers import Handler
from paglets.core.paglet import Paglet
from paglets.core.turn import passing_on
from paglets.errors import InvalidArgumentError
from paglets.host.activities import Activities
from paglets.host.calls import Call, Calls
from paglets.host.gate import Gate
from paglets.host.parsing import encoded, method_of, parsed
from paglets.host.runner import attempt

__all__ = ["Streams"]


class Streams:
    """The streams of one paglet. `require_sound` raises why it answers none but reads."""

    def __init__(
        self, paglet: Paglet[Any], calls: Calls, gate: Gate, activities: Activities, require_sound: Callable[[], None]
    ) -> None:
        self._paglet = paglet
        self._calls = calls
        self._gate = gate
        self._activities = activities
        self._require_sound = require_sound

    async def serve(self, call: Call, requests: AsyncIterator[bytes], send: Callable[[bytes], Awaitable[None]]) -> None:
        """Answers one call, with as many messages as there are, each given to `send`, which waits for who is slow.

        Raises OPERATION_NOT_FOUND, MALFORMED_REQUEST, DEADLINE_BEFORE_RUN, CALL_CYCLE, what the handler or `send`
        raises, why the gate is shut; and, when it was cut, PAGLET_MOVED or SHUTTING_DOWN with the metadata `begun`.
        """
        handler = self._calls.handler(call.path)
        if call.request_id:
            raise InvalidArgumentError(
                "MALFORMED_REQUEST",
                f"{handler.operation.full_name} is a stream, which cannot be run once by a request id",
                field="paglet-request-id",
            )
        self._calls.require_no_cycle(call.chain)
        await self._gate.passage(call.deadline)
        if not handler.operation.is_read_only:
            self._require_sound()

        async def answer() -> None:
            with answering(call.told), passing_on(call.chain):
                async with aclosing(self._replies(handler, requests)) as replies:
                    async for reply in replies:
                        await send(encoded(handler, reply))

        with self._calls.usage:
            await self._activities.stream(lambda: attempt(answer(), call.path))

    async def _replies(self, handler: Handler, requests: AsyncIterator[bytes]) -> AsyncGenerator[object]:
        method, rpc = method_of(self._paglet, handler), handler.operation.descriptor
        taken = _parsed(handler, requests)
        argument = taken if rpc.client_streaming else await _only(handler, taken)
        if not rpc.server_streaming:
            yield await method(argument)
            return
        async with aclosing(method(argument)) as replies:
            async for reply in replies:
                yield reply


async def _parsed(handler: Handler, requests: AsyncIterator[bytes]) -> AsyncGenerator[object]:
    async for data in requests:
        yield parsed(handler, data)


async def _only(handler: Handler, requests: AsyncGenerator[object]) -> object:
    """The request of a call that has one."""
    async for request in requests:
        return request
    raise InvalidArgumentError(
        "MALFORMED_REQUEST", f"{handler.operation.full_name} takes one request, none came", field="request"
    )
