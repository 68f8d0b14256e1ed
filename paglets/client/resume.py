"""A stream of a host that outlives its connection: it goes on where it was, and nobody notices."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, TypeVar

import grpc

from paglets.client.calls import errors_of_calls
from paglets.errors import InvalidArgumentError, OperationNotFoundError, OutOfRangeError, PagletError

__all__ = ["resumed"]

_FIRST_PAUSE_S = 0.1
_LAST_PAUSE_S = 2.0
_FAULTS = (InvalidArgumentError, OutOfRangeError, OperationNotFoundError)

_log = logging.getLogger(__name__)

PlaceT = TypeVar("PlaceT")
MessageT = TypeVar("MessageT")
ItemT = TypeVar("ItemT")


async def resumed(
    what: str,
    start: PlaceT,
    open_call: Callable[[PlaceT], grpc.aio.UnaryStreamCall[Any, MessageT]],
    item_of: Callable[[MessageT], ItemT],
    place_of: Callable[[ItemT], PlaceT],
) -> AsyncGenerator[ItemT, None]:
    """The items of a stream from `start` on; one that ends is asked for again, from the place of the last item.

    Ends only when it is closed or cancelled, or by an error: the host finds fault with the request itself, or
    `open_call` raises, as on a channel that is closed. Each broken stream of `what` is logged.
    """
    place, pause_s = start, _FIRST_PAUSE_S
    while True:
        began = asyncio.get_running_loop().time()
        async with aclosing(_one_stream(what, open_call(place))) as messages:
            async for message in messages:
                item = item_of(message)
                place = place_of(item)
                yield item
        if asyncio.get_running_loop().time() - began > _LAST_PAUSE_S:
            pause_s = _FIRST_PAUSE_S
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 2, _LAST_PAUSE_S)


async def _one_stream(what: str, call: grpc.aio.UnaryStreamCall[Any, MessageT]) -> AsyncGenerator[MessageT, None]:
    """The messages of one stream; its end is logged and no error, unless the host finds fault with the request."""
    why = "it ended"
    try:
        with errors_of_calls():
            async for message in call:
                yield message
    except _FAULTS:
        raise
    except PagletError as error:
        why = repr(error)
    finally:
        call.cancel()
    _log.warning("the watch of %s broke: %s; it goes on after the last that came", what, why)
