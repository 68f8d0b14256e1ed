"""How a call really ended.

When a host ends a call before all of its requests were sent, the write that was on its way fails, and gRPC's asyncio
client sets INTERNAL as the call's status: after the one that the host sent, whose place it takes, or just before. This
file keeps the status that came; it must never know what the call was for.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Coroutine, Sequence
from typing import Any, TypeVar

import grpc

__all__ = ["CallEnd", "is_mask", "replies_of"]

_log = logging.getLogger(__name__)

T = TypeVar("T")
_WAIT_S = 0.5
_LOOK_AGAIN_S = 0.005
_MASK = "Internal error from Core"


class CallEnd:
    """Watches one call from its start."""

    def __init__(self, call: grpc.aio.Call) -> None:
        self._call = call
        self._sent: grpc.aio.AioRpcError | None = None
        self._trailing: Sequence[tuple[str, str | bytes]] | None = None
        call.add_done_callback(self._note)  # with its first status; of one that takes its place nobody is told

    @property
    def trailing_metadata(self) -> Sequence[tuple[str, str | bytes]]:
        """What came with the host's own status if that was a success, and it has come."""
        self._note(self._call)
        return self._trailing or ()

    async def error(self, found: grpc.aio.AioRpcError) -> grpc.aio.AioRpcError | None:
        """The host's own status if `found` only masks it, None if that was a success; else `found`.

        UNAVAILABLE if it masks a broken connection.
        """
        if not is_mask(found):
            return found
        try:
            async with asyncio.timeout(_WAIT_S):
                while not self._has_come():  # noqa: ASYNC110 - gRPC tells nobody of a second status
                    await asyncio.sleep(_LOOK_AGAIN_S)
        except TimeoutError:
            _log.debug("no status came behind this", exc_info=found)
        if self._trailing is not None:
            return None
        return self._sent or grpc.aio.AioRpcError(
            grpc.StatusCode.UNAVAILABLE,
            found.initial_metadata(),
            found.trailing_metadata(),
            details="the connection broke while something was being sent",
        )

    def _has_come(self) -> bool:
        self._note(self._call)
        return self._sent is not None or self._trailing is not None

    def _note(self, call: grpc.aio.Call) -> None:
        """Keeps the host's own status if it has come, before another one takes its place."""
        code = _at_once(call.code())
        if code is None or self._sent is not None or self._trailing is not None:
            return
        trailing = _at_once(call.trailing_metadata()) or grpc.aio.Metadata()
        if code is grpc.StatusCode.OK:
            self._trailing = tuple(trailing)
            return
        error = grpc.aio.AioRpcError(
            code,
            initial_metadata=_at_once(call.initial_metadata()) or grpc.aio.Metadata(),
            trailing_metadata=trailing,
            details=_at_once(call.details()),
        )
        if not is_mask(error):
            self._sent = error


async def replies_of(call: grpc.aio.StreamStreamCall[Any, T]) -> AsyncGenerator[T]:
    """The replies of a call that has just begun; closed before its end it cancels it.

    Raises AioRpcError as the host ended it.
    """
    end = CallEnd(call)
    try:
        async for reply in call:
            yield reply
    except grpc.aio.AioRpcError as error:
        found = await end.error(error)
        if found is not None:
            raise found from error
    finally:
        call.cancel()


def is_mask(error: grpc.aio.AioRpcError) -> bool:
    """Whether an error only says that something could not be sent, since the call had ended."""
    return error.code() is grpc.StatusCode.INTERNAL and error.details() == _MASK


def _at_once(coroutine: Coroutine[Any, Any, T]) -> T | None:
    """What a coroutine returns that has nothing to wait for; None if it wants to wait after all."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    finally:
        coroutine.close()
    return None
