"""Requests that are given out from the first one again, until somebody has taken the call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from paglets.services.requests import Requests, requests_of


class _Source:
    """What a caller sends: what the test puts in, None for the end."""

    def __init__(self, *messages: bytes | None) -> None:
        self.queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.asked = asyncio.Event()
        for message in messages:
            self.queue.put_nowait(message)

    async def messages(self) -> AsyncIterator[bytes]:
        """All of them."""
        self.asked.set()
        while (message := await self.queue.get()) is not None:
            yield message


async def test_everything_comes_again_until_it_is_settled() -> None:
    """The second who asks gets what the first one got, and what comes then."""
    source = _Source(b"a", b"b")
    requests = Requests(source.messages())
    first = requests.messages()
    assert [await anext(first), await anext(first)] == [b"a", b"b"]
    await first.aclose()
    second = requests.messages()
    source.queue.put_nowait(b"c")
    assert [await anext(second) for _ in range(3)] == [b"a", b"b", b"c"]
    requests.settle()
    source.queue.put_nowait(b"d")
    source.queue.put_nowait(None)
    assert [message async for message in second] == [b"d"]
    assert not requests.can_begin_anew
    await requests.close()


async def test_message_that_comes_between_two_readers_is_the_seconds() -> None:
    """A reader that is cancelled while it waits takes nothing along."""
    source = _Source()
    requests = Requests(source.messages())
    first = requests.messages()
    waiting = asyncio.ensure_future(anext(first))
    await source.asked.wait()
    waiting.cancel()
    await asyncio.wait([waiting])
    source.queue.put_nowait(b"a")
    source.queue.put_nowait(None)
    assert [message async for message in requests.messages()] == [b"a"]
    await requests.close()


async def test_what_is_too_much_is_not_kept() -> None:
    """Then the call is given to one host only."""
    half = bytes(600_000)
    requests = Requests(_Source(half, half, None).messages())
    assert [requests.can_begin_anew async for _ in requests.messages()] == [True, False]
    await requests.close()


async def test_close_ends_a_read() -> None:
    """Nothing is left that waits for a caller who has gone."""
    source, before = _Source(), asyncio.all_tasks()
    requests = Requests(source.messages())
    waiting = asyncio.ensure_future(anext(requests.messages()))
    await source.asked.wait()
    waiting.cancel()
    await asyncio.wait([waiting])
    assert asyncio.all_tasks() > before
    await requests.close()
    assert asyncio.all_tasks() == before


class _Call:
    """A call whose caller sends one message, and then has no more, or has left: gRPC says the same first."""

    def __init__(self, *, left: bool) -> None:
        self._answers: list[object] = [b"a", grpc.aio.EOF, asyncio.CancelledError() if left else grpc.aio.EOF]

    async def read(self) -> object:
        """The next answer."""
        answer = self._answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer


@pytest.mark.parametrize("left", [False, True])
async def test_who_has_left_has_not_sent_all(left: bool) -> None:  # noqa: FBT001 - a parameter of pytest
    """The end of a stream is believed when nothing else comes after it."""
    context: Any = _Call(left=left)
    requests = requests_of(context)
    assert await anext(requests) == b"a"
    with pytest.raises(asyncio.CancelledError if left else StopAsyncIteration):
        await anext(requests)
