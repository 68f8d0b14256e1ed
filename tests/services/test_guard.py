"""Whatever a handler raises, the caller is told a status of ours and no text."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import grpc
import pytest

from paglets.errors import PagletError
from paglets.services.guard import ServerContext, guard_single, guard_stream
from paglets.wire.channel_options import SERVER_OPTIONS
from tests.host.support import call, refused

SECRET = "hunter2"  # noqa: S105 - a word to look for


class _OwnBaseError(BaseException):
    """What an author made up that is no Exception."""


class _CodelessError(PagletError):
    """An error of ours in name only."""


RAISED = {
    "exception": ValueError(SECRET),
    "base": _OwnBaseError(SECRET),
    "generator exit": GeneratorExit(SECRET),
    "group": BaseExceptionGroup(SECRET, [_OwnBaseError(SECRET)]),
    "cancellation": asyncio.CancelledError(SECRET),
    "abort": grpc.aio.AbortError(SECRET),
    "without code": _CodelessError("MINE", SECRET),
}


class _Raiser(grpc.GenericRpcHandler):
    """`/unary/NAME` and `/stream/NAME` raise what is named."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any]:
        path = handler_call_details.method
        _, kind, name = path.split("/")

        async def single(_request: bytes, _context: ServerContext) -> bytes:
            raise RAISED[name]

        async def stream(_request: bytes, _context: ServerContext) -> AsyncGenerator[bytes]:
            yield b"first"
            raise RAISED[name]

        if kind == "unary":
            return grpc.unary_unary_rpc_method_handler(guard_single(single, path))
        guarded: Any = guard_stream(stream, path)  # the stubs type a handler's behaviour for threads
        return grpc.unary_stream_rpc_method_handler(guarded)


@pytest.fixture(scope="module")
async def channel() -> AsyncIterator[grpc.aio.Channel]:
    """A channel to a server that raises."""
    server = grpc.aio.server(options=SERVER_OPTIONS, handlers=(_Raiser(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    await server.stop(None)


async def _stream(channel: grpc.aio.Channel, path: str) -> list[bytes]:
    rpc: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(path)
    return [message async for message in rpc(b"", timeout=20)]


@pytest.mark.parametrize("name", RAISED)
@pytest.mark.parametrize("kind", ["unary", "stream"])
async def test_unexpected_errors_are_internal(
    channel: grpc.aio.Channel, caplog: pytest.LogCaptureFixture, kind: str, name: str
) -> None:
    """The caller gets an incident id, the log what was raised under it."""
    path = f"/{kind}/{name}"
    refusal = await refused(call(channel, path, b"") if kind == "unary" else _stream(channel, path))
    assert refusal.what == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert refusal.metadata["incident"] in caplog.text
    assert SECRET not in str(refusal)
