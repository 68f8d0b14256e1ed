"""A call that a host refuses while its requests are being sent ends as the host ended it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import cast

import grpc
import pytest

from paglets.client.call_end import CallEnd, replies_of

_TIMES = 100


class Refusing(grpc.GenericRpcHandler):
    """Reads nothing of what comes, and says at once that there is nothing, or ends well."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        """The handler of all paths."""

        async def refuse(_requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext[bytes, bytes]) -> None:
            if handler_call_details.method.endswith("/Refused"):
                await context.abort(grpc.StatusCode.NOT_FOUND, "there is nothing")

        return grpc.stream_stream_rpc_method_handler(refuse)


@pytest.fixture
async def channel() -> AsyncIterator[grpc.aio.Channel]:
    """A way to a server that refuses all."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Refusing(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as opened:
        yield opened
    await server.stop(None)


async def _ends(channel: grpc.aio.Channel, path: str) -> set[tuple[grpc.StatusCode, str]]:
    """How calls end that have much to send."""
    found: set[tuple[grpc.StatusCode, str]] = set()
    for _ in range(_TIMES):
        call = channel.stream_stream(path, bytes, bytes)(iter([bytes(200_000)] * 5))
        try:
            async with aclosing(replies_of(call)) as replies:
                assert [reply async for reply in replies] == []
            found.add((grpc.StatusCode.OK, ""))
        except grpc.aio.AioRpcError as error:
            found.add((error.code(), error.details() or ""))
    return found


async def test_refusal_is_told(channel: grpc.aio.Channel) -> None:
    """And not that a write failed."""
    assert await _ends(channel, "/test.Test/Refused") == {(grpc.StatusCode.NOT_FOUND, "there is nothing")}


async def test_early_end_is_told(channel: grpc.aio.Channel) -> None:
    """One that has heard enough has ended the call well."""
    assert await _ends(channel, "/test.Test/Ended") == {(grpc.StatusCode.OK, "")}


class TwoStatuses:
    """A call whose host's status comes a moment after the one that gRPC sets for the write that failed."""

    def __init__(self, code: grpc.StatusCode) -> None:
        self._code, self._told, self._asked = code, grpc.aio.Metadata(("x-told", "much")), 0

    def add_done_callback(self, called: Callable[[TwoStatuses], object]) -> None:
        """Calls with the first status, as gRPC does."""
        called(self)

    async def initial_metadata(self) -> grpc.aio.Metadata:
        """None."""
        return grpc.aio.Metadata()

    async def code(self) -> grpc.StatusCode:
        """The host's from the third time on."""
        self._asked += 1
        return self._code if self._asked > 2 else grpc.StatusCode.INTERNAL

    async def details(self) -> str:
        """What fits the code."""
        return "there is nothing" if self._asked > 2 else "Internal error from Core"

    async def trailing_metadata(self) -> grpc.aio.Metadata:
        """What fits the code."""
        return self._told if self._asked > 2 else grpc.aio.Metadata()


@pytest.mark.parametrize("code", [grpc.StatusCode.OK, grpc.StatusCode.NOT_FOUND])
async def test_status_that_comes_behind_the_mask_is_told(code: grpc.StatusCode) -> None:
    """It takes the mask's place, and nobody is called."""
    nothing = grpc.aio.Metadata()
    mask = grpc.aio.AioRpcError(grpc.StatusCode.INTERNAL, nothing, nothing, "Internal error from Core")
    end = CallEnd(cast("grpc.aio.Call", TwoStatuses(code)))
    found = await end.error(mask)
    if code is grpc.StatusCode.OK:
        assert found is None
        assert end.trailing_metadata == (("x-told", "much"),)
    else:
        assert found is not None
        assert (found.code(), found.details(), tuple(found.trailing_metadata())) == (
            code,
            "there is nothing",
            (("x-told", "much"),),
        )
