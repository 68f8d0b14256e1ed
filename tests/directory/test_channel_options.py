"""Every channel option whose effect can be seen within a second has it: gRPC says nothing of a misspelt name."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import grpc
import pytest

from paglets.client.channel import open_channel
from paglets.errors import InvalidArgumentError
from paglets.wire.channel_options import MAX_ANSWER_BYTES, MAX_MESSAGE_BYTES, MAX_METADATA_BYTES, SERVER_OPTIONS
from tests.directory.support import PATIENCE_S, eventually

METHOD = "/test.Echo/Echo"


class Echo(grpc.GenericRpcHandler):
    """Answers with what was sent; with `trailer-bytes` in the metadata, with a trailer of that size too."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        """The one handler."""
        return grpc.unary_unary_rpc_method_handler(self._echo)

    async def _echo(self, request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        for key, value in context.invocation_metadata() or ():
            if key == "trailer-bytes":
                context.set_trailing_metadata((("trailer-bin", bytes(int(value))),))
            if key == "reply-bytes":
                return bytes(int(value))
        return request


@asynccontextmanager
async def echo() -> AsyncGenerator[int, None]:
    """A server with the project's options; gives its port."""
    server = grpc.aio.server(options=SERVER_OPTIONS)
    server.add_generic_rpc_handlers((Echo(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield port
    await server.stop(None)


def _same(data: bytes) -> bytes:
    return data


def rpc(channel: grpc.aio.Channel) -> grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]:
    """The one rpc."""
    return channel.unary_unary(METHOD, request_serializer=_same, response_deserializer=_same)


async def code_of(call: grpc.aio.UnaryUnaryCall[bytes, bytes]) -> grpc.StatusCode:
    """How a call ends."""
    return await call.code()


async def test_two_servers_never_share_a_port() -> None:
    """The second fails to bind, where gRPC by itself would let it answer every other call."""
    async with echo() as port:
        second = grpc.aio.server(options=SERVER_OPTIONS)
        with pytest.raises(RuntimeError):
            second.add_insecure_port(f"127.0.0.1:{port}")
        await second.stop(None)


async def test_large_messages_are_refused_by_the_server() -> None:
    """The bound itself passes, one byte more does not."""
    async with echo() as port, open_channel(f"127.0.0.1:{port}") as channel:
        call = rpc(channel)
        assert await code_of(call(bytes(MAX_MESSAGE_BYTES))) is grpc.StatusCode.OK
        assert await code_of(call(bytes(MAX_MESSAGE_BYTES + 1))) is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_large_messages_are_refused_by_the_client() -> None:
    """The bound itself passes, one byte more does not."""
    async with echo() as port, open_channel(f"127.0.0.1:{port}") as channel:
        call = rpc(channel)
        for size, code in ((0, grpc.StatusCode.OK), (1, grpc.StatusCode.RESOURCE_EXHAUSTED)):
            metadata = (("reply-bytes", str(MAX_ANSWER_BYTES + size)),)
            assert await code_of(call(b"", metadata=metadata)) is code


async def test_details_of_errors_have_room() -> None:
    """Much more than gRPC's 8 KiB of metadata passes both ways, every time; beyond our bound it never does."""
    async with echo() as port, open_channel(f"127.0.0.1:{port}") as channel:
        call = rpc(channel)
        for _ in range(20):
            asked = call(b"", metadata=(("blob-bin", bytes(60_000)), ("trailer-bytes", "60000")))
            assert await code_of(asked) is grpc.StatusCode.OK
            assert [len(value) for key, value in await asked.trailing_metadata() if key == "trailer-bin"] == [60_000]
        for metadata in ((("blob-bin", bytes(MAX_METADATA_BYTES)),), (("trailer-bytes", str(MAX_METADATA_BYTES)),)):
            assert await code_of(call(b"", metadata=metadata)) is not grpc.StatusCode.OK


async def test_proxies_of_the_web_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call to a host goes to that host, whatever the environment says; without our options it would not."""
    async with echo() as port:
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
        async with open_channel(f"127.0.0.1:{port}") as channel:
            assert await rpc(channel)(b"here", timeout=PATIENCE_S) == b"here"
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            assert await code_of(rpc(channel)(b"here")) is grpc.StatusCode.UNAVAILABLE


async def test_host_that_is_away_is_tried_often() -> None:
    """Five attempts within four seconds; gRPC by itself takes nine seconds for so many."""
    attempts = 0

    async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal attempts
        attempts += 1
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    async with server, open_channel(f"127.0.0.1:{port}") as channel:
        began = asyncio.get_running_loop().time()
        call = rpc(channel)(b"", wait_for_ready=True)
        await eventually(lambda: attempts >= 5)
        assert asyncio.get_running_loop().time() - began < 4
        call.cancel()


async def test_channel_to_a_unix_socket(tmp_path_factory: pytest.TempPathFactory) -> None:
    """An address may be a socket in the file system."""
    path = tmp_path_factory.mktemp("s") / "host.sock"
    server = grpc.aio.server(options=SERVER_OPTIONS)
    server.add_generic_rpc_handlers((Echo(),))
    server.add_insecure_port(f"unix:{path}")
    await server.start()
    async with open_channel(f"unix:{path}") as channel:
        assert await rpc(channel)(b"here", timeout=PATIENCE_S) == b"here"
    await server.stop(None)


async def test_channel_needs_an_address() -> None:
    """No address is a mistake that is told at once."""
    with pytest.raises(InvalidArgumentError) as caught:
        open_channel("")
    assert caught.value.field == "address"
