"""What either end of a stream takes of it before somebody wants it is bounded, however fast the way is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest

from paglets.client.channel import open_channel
from paglets.wire.channel_options import AHEAD_BYTES, CALL_AHEAD_BYTES, SERVER_OPTIONS
from paglets.wire.frames import MESSAGE_BYTES
from tests.artifacts.proxy import Way, proxied
from tests.artifacts.support import PATIENCE_S

pytestmark = pytest.mark.slow

MIB = 1024 * 1024
FAST_BYTES, HELD_BYTES = 128 * MIB, 64 * MIB
QUIET_S = 0.3


class Counted:
    """Counts what passes."""

    def __init__(self) -> None:
        self.passed = {"up": 0, "down": 0}

    def __call__(self, way: Way, data: bytes) -> bytes:
        """Passes it on."""
        self.passed[way] += len(data)
        return data

    async def settled(self, way: Way) -> int:
        """How many bytes had passed when no more came for a while: nothing tells of that."""
        seen = -1
        async with asyncio.timeout(PATIENCE_S):
            while seen != self.passed[way]:
                seen = self.passed[way]
                await asyncio.sleep(QUIET_S)
        return seen


class Mover(grpc.GenericRpcHandler):
    """Takes all of the first upload, and one message of the next until it may go on; gives what is asked for."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self._uploads = 0

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        """The handler of either way."""
        if handler_call_details.method.endswith("/Put"):
            return grpc.stream_unary_rpc_method_handler(self._take)
        return grpc.unary_stream_rpc_method_handler(self._give)

    async def _take(self, messages: AsyncIterator[bytes], _context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        self._uploads += 1
        async for _ in messages:
            if self._uploads > 1:
                await self.go_on.wait()
        return b""

    async def _give(
        self, request: bytes, _context: grpc.aio.ServicerContext[bytes, bytes]
    ) -> AsyncGenerator[bytes, None]:
        size, message_bytes = map(int, request.split())
        async for message in stream(size, message_bytes):
            yield message


async def stream(size: int, message_bytes: int = 2 * MIB) -> AsyncGenerator[bytes, None]:
    """So many bytes, in messages as an upload has them, or others."""
    for _ in range(size // message_bytes):
        yield bytes(message_bytes)


@asynccontextmanager
async def moved(*, calls_only: bool = False) -> AsyncGenerator[tuple[Mover, Counted, grpc.aio.Channel]]:
    """A server with the project's options, and a channel that has them too."""
    mover, counted, server = Mover(), Counted(), grpc.aio.server(options=SERVER_OPTIONS)
    server.add_generic_rpc_handlers((mover,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with (
        proxied(port, counted) as proxy,
        open_channel(f"127.0.0.1:{proxy.port}", calls_only=calls_only) as channel,
    ):
        yield mover, counted, channel
    await server.stop(None)


async def test_a_host_takes_less_than_a_message_ahead() -> None:
    """After much went fast, a host that does not go on with an upload has its client wait with the second message."""
    async with moved() as (mover, counted, channel):
        put = channel.stream_unary("/test.Mover/Put", bytes, bytes)
        await put(stream(FAST_BYTES))
        before = counted.passed["up"]
        call, handed_over = put(), 0

        async def send() -> None:
            nonlocal handed_over
            async for message in stream(HELD_BYTES):
                await call.write(message)
                handed_over += 1
            await call.done_writing()

        sending = asyncio.ensure_future(send())
        assert 0 < await counted.settled("up") - before <= 3 * MESSAGE_BYTES
        assert handed_over == 1
        mover.go_on.set()
        await sending
        await call
        assert counted.passed["up"] - before > HELD_BYTES


@pytest.mark.parametrize(
    ("calls_only", "message_bytes", "most"),
    [(False, 2 * MIB, 4 * AHEAD_BYTES), (True, 64 * 1024, 4 * CALL_AHEAD_BYTES)],
)
async def test_a_client_takes_little_ahead(*, calls_only: bool, message_bytes: int, most: int) -> None:
    """Nor does a client take more of a download that he does not go on with, and less of what is none."""
    async with moved(calls_only=calls_only) as (_, counted, channel):
        get = channel.unary_stream("/test.Mover/Get", bytes, bytes)
        async for _ in get(b"%d %d" % (FAST_BYTES, message_bytes)):
            pass
        before = counted.passed["down"]
        call = get(b"%d %d" % (HELD_BYTES, message_bytes))
        await call.read()
        assert 0 < await counted.settled("down") - before <= most
        while await call.read() is not grpc.aio.EOF:
            pass
        assert counted.passed["down"] - before > HELD_BYTES
