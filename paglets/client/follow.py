"""A stream that a paglet answers, followed wherever the paglet goes: it is opened again, from where it was.

What `retry` is for unary calls. This file must never know what the stream tells.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import partial
from typing import Any, TypeVar

import grpc

from paglets.client.backoff import Backoff
from paglets.client.calls import errors_of_calls
from paglets.client.retry import RetryPolicy
from paglets.errors import UnavailableError

__all__ = ["followed"]

PlaceT = TypeVar("PlaceT")
MessageT = TypeVar("MessageT")


async def followed(
    start: PlaceT,
    open_call: Callable[[PlaceT], grpc.aio.UnaryStreamCall[Any, MessageT]],
    place_of: Callable[[MessageT], PlaceT],
    policy: RetryPolicy,
) -> AsyncGenerator[MessageT, None]:
    """The messages of a stream after the place `start`, to its end; one that breaks goes on after its last message.

    A stream breaks with UNAVAILABLE when its paglet moves or rests, when a host ends, or where none can be reached. It
    is then opened again, by way of the host that is asked, after a pause, for as long as `policy` has patience. Raises
    every other error as it comes.
    """
    place, backoff = start, Backoff(policy)
    now = asyncio.get_running_loop().time
    while True:
        began = now()
        try:
            async with aclosing(_messages(partial(open_call, place))) as messages:
                async for message in messages:
                    backoff.progressed()
                    place = place_of(message)
                    yield message
            return
        except UnavailableError as failure:
            if now() - began > policy.last_pause_s:  # it was open for a while, and only had nothing to tell
                backoff.progressed()
            await backoff.pause(failure)


async def _messages(
    open_call: Callable[[], grpc.aio.UnaryStreamCall[Any, MessageT]],
) -> AsyncGenerator[MessageT, None]:
    with errors_of_calls():
        call = open_call()
        try:
            async for message in call:
                yield message
        finally:
            call.cancel()
