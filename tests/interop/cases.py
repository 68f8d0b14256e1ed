"""The cases of gRPC's interoperability tests: what their public description has a client do and see.

Stubs and messages are generated while the tests run, so nothing of them is known to a type checker.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeAlias

import grpc

__all__ = ["CASES", "Case", "Server"]

INITIAL_KEY, INITIAL = "x-grpc-test-echo-initial", "test_initial_metadata_value"
TRAILING_KEY, TRAILING = "x-grpc-test-echo-trailing-bin", b"\xab\xab\xab"
REQUEST_SIZES = (27182, 8, 1828, 45904)
RESPONSE_SIZES = (31415, 9, 2653, 58979)
SPECIAL = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n"
_PATIENCE_S = 20.0


@dataclass(frozen=True)
class Server:
    """The paglet that serves: a stub through some host, and what names the paglet."""

    channel: grpc.aio.Channel
    messages: ModuleType
    stubs: ModuleType
    metadata: Sequence[tuple[str, str | bytes]]

    @property
    def stub(self) -> Any:  # noqa: ANN401 - made while the test runs
        """The stub of the service that is there."""
        return self.stubs.TestServiceStub(self.channel)

    def call(self, rpc: Any, *requests: object, extra: Sequence[tuple[str, str | bytes]] = ()) -> Any:  # noqa: ANN401
        """Begins a call of the paglet."""
        return rpc(*requests, metadata=[*self.metadata, *extra], timeout=_PATIENCE_S)

    def output_request(self, size: int, body: int = 0) -> Any:  # noqa: ANN401 - made while the test runs
        """Asks for one message of `size` bytes, by one of `body`."""
        wanted = [self.messages.ResponseParameters(size=size)]
        return self.messages.StreamingOutputCallRequest(response_parameters=wanted, payload=self.payload(body))

    def payload(self, size: int) -> Any:  # noqa: ANN401 - made while the test runs
        """So many zeros."""
        return self.messages.Payload(body=bytes(size))


Case: TypeAlias = Callable[[Server], Awaitable[None]]


async def empty_unary(server: Server) -> None:
    """One empty message each way."""
    assert await server.call(server.stub.EmptyCall, server.messages.Empty()) == server.messages.Empty()


async def large_unary(server: Server) -> None:
    """One large message each way."""
    request = server.messages.SimpleRequest(response_size=314159, payload=server.payload(271828))
    reply = await server.call(server.stub.UnaryCall, request)
    assert reply.payload.body == bytes(314159)


async def client_streaming(server: Server) -> None:
    """Several messages there, one back."""

    async def requests() -> AsyncIterator[Any]:
        for size in REQUEST_SIZES:
            yield server.messages.StreamingInputCallRequest(payload=server.payload(size))

    reply = await server.call(server.stub.StreamingInputCall, requests())
    assert reply.aggregated_payload_size == sum(REQUEST_SIZES)


async def server_streaming(server: Server) -> None:
    """One message there, several back."""
    wanted = [server.messages.ResponseParameters(size=size) for size in RESPONSE_SIZES]
    request = server.messages.StreamingOutputCallRequest(response_parameters=wanted)
    replies = [reply async for reply in server.call(server.stub.StreamingOutputCall, request)]
    assert [reply.payload.body for reply in replies] == [bytes(size) for size in RESPONSE_SIZES]


async def ping_pong(server: Server) -> None:
    """Each message is sent when the one before was answered."""
    call = server.call(server.stub.FullDuplexCall)
    for size, body in zip(RESPONSE_SIZES, REQUEST_SIZES, strict=True):
        await call.write(server.output_request(size, body))
        assert (await call.read()).payload.body == bytes(size)
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK


async def empty_stream(server: Server) -> None:
    """No message either way."""
    call = server.call(server.stub.FullDuplexCall)
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK


async def cancel_after_begin(server: Server) -> None:
    """A call that is cancelled before it sent anything."""
    call = server.call(server.stub.StreamingInputCall)
    call.cancel()
    assert await call.code() is grpc.StatusCode.CANCELLED


async def cancel_after_first_response(server: Server) -> None:
    """A call that is cancelled in its midst."""
    call = server.call(server.stub.FullDuplexCall)
    await call.write(server.output_request(RESPONSE_SIZES[0], REQUEST_SIZES[0]))
    assert (await call.read()).payload.body == bytes(RESPONSE_SIZES[0])
    call.cancel()
    assert await call.code() is grpc.StatusCode.CANCELLED


async def timeout_on_sleeping_server(server: Server) -> None:
    """A deadline that passes before the server answers.

    Nothing is written: of a write that meets the deadline gRPC for Python tells an internal error of its own.
    """
    call = server.stub.FullDuplexCall(metadata=server.metadata, timeout=0.001)
    assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def custom_metadata(server: Server) -> None:
    """What is echoed comes back ahead of the answer, and after it."""
    extra = [(INITIAL_KEY, INITIAL), (TRAILING_KEY, TRAILING)]
    request = server.messages.SimpleRequest(response_size=314159, payload=server.payload(271828))
    unary = server.call(server.stub.UnaryCall, request, extra=extra)
    await unary
    await _is_echoed(unary)
    duplex = server.call(server.stub.FullDuplexCall, extra=extra)
    await duplex.write(server.output_request(314159, 271828))
    await duplex.done_writing()
    assert (await duplex.read()).payload.body == bytes(314159)
    assert await duplex.read() is grpc.aio.EOF
    await _is_echoed(duplex)


async def _is_echoed(call: Any) -> None:  # noqa: ANN401 - any kind of call
    assert dict(await call.initial_metadata())[INITIAL_KEY] == INITIAL
    assert dict(await call.trailing_metadata())[TRAILING_KEY] == TRAILING


async def status_code_and_message(server: Server) -> None:
    """The status that the server was asked for, of a single call and of a stream."""
    await _is_told(server, grpc.StatusCode.UNKNOWN, "test status message", duplex=True)


async def special_status_message(server: Server) -> None:
    """A message of characters that need care on the wire."""
    await _is_told(server, grpc.StatusCode.UNKNOWN, SPECIAL, duplex=False)


async def _is_told(server: Server, code: grpc.StatusCode, message: str, *, duplex: bool) -> None:
    status = server.messages.EchoStatus(code=code.value[0], message=message)
    unary = server.call(server.stub.UnaryCall, server.messages.SimpleRequest(response_status=status))
    assert (await unary.code(), await unary.details()) == (code, message)
    if duplex:
        stream = server.call(server.stub.FullDuplexCall)
        await stream.write(server.messages.StreamingOutputCallRequest(response_status=status))
        await stream.done_writing()
        assert (await stream.code(), await stream.details()) == (code, message)


async def unimplemented_method(server: Server) -> None:
    """A method that the server does not answer."""
    call = server.call(server.stub.UnimplementedCall, server.messages.Empty())
    assert await call.code() is grpc.StatusCode.UNIMPLEMENTED


async def unimplemented_service(server: Server) -> None:
    """A service that the server does not have."""
    stub = server.stubs.UnimplementedServiceStub(server.channel)
    call = server.call(stub.UnimplementedCall, server.messages.Empty())
    assert await call.code() is grpc.StatusCode.UNIMPLEMENTED


CASES: Sequence[Case] = (
    empty_unary,
    large_unary,
    client_streaming,
    server_streaming,
    ping_pong,
    empty_stream,
    cancel_after_begin,
    cancel_after_first_response,
    timeout_on_sleeping_server,
    custom_metadata,
    status_code_and_message,
    special_status_message,
    unimplemented_method,
    unimplemented_service,
)
"""All of them."""
