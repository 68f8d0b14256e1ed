"""Methods that answer streaming rpcs: what is taken, and what is refused when the class is defined."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterator

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, wrappers_pb2
from google.protobuf.wrappers_pb2 import Int64Value, StringValue

from paglets.core.paglet import Paglet


def _describe() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="paglets/tests/streams/v1/streams.proto",
        package="paglets.tests.streams.v1",
        syntax="proto3",
        dependency=[wrappers_pb2.DESCRIPTOR.name],
    )
    for name, takes, gives in (("Give", False, True), ("Take", True, False), ("Trade", True, True)):
        file.service.add(name=f"{name}Service").method.add(
            name=name,
            input_type=".google.protobuf.StringValue",
            output_type=".google.protobuf.Int64Value",
            client_streaming=takes,
            server_streaming=gives,
        )
    return file


_POOL = descriptor_pool.Default()
_POOL.Add(_describe())


class Right:
    """As they should be."""

    async def give(self, request: StringValue) -> AsyncIterator[Int64Value]:
        """Some replies."""
        yield Int64Value()

    async def take(self, requests: AsyncIterator[StringValue]) -> Int64Value:
        """One reply."""
        return Int64Value(value=len([request async for request in requests]))

    async def trade(self, requests: AsyncIterable[StringValue]) -> AsyncGenerator[Int64Value, None]:
        """A reply each."""
        async for _ in requests:
            yield Int64Value()


class Wrong:
    """As they should not be, named after what they would answer."""

    def give_in_thread(self, request: StringValue) -> Iterator[Int64Value]:
        """A plain generator."""
        yield Int64Value()

    async def give_at_once(self, request: StringValue) -> Int64Value:
        """One reply."""
        return Int64Value()

    async def give_other(self, request: StringValue) -> AsyncIterator[StringValue]:
        """Another message."""
        yield request

    async def take_one(self, request: StringValue) -> Int64Value:
        """One request."""
        return Int64Value()

    def take_in_thread(self, requests: AsyncIterator[StringValue]) -> Int64Value:
        """No coroutine function."""
        return Int64Value()

    async def trade_other(self, requests: AsyncIterator[Int64Value]) -> AsyncIterator[Int64Value]:
        """Another message."""
        async for request in requests:
            yield request


EXPECTED = {
    "Give": "GiveService/Give by `async def give(self, request: StringValue) -> AsyncIterator[Int64Value]`",
    "Take": "TakeService/Take by `async def take(self, requests: AsyncIterator[StringValue]) -> Int64Value`",
    "Trade": "TradeService/Trade by `async def trade(self, requests: AsyncIterator[StringValue]) ->"
    " AsyncIterator[Int64Value]`",
}


def _defined(name: str, method: object) -> type[Paglet[object]]:
    """A paglet class that answers one rpc."""
    service = _POOL.FindServiceByName(f"paglets.tests.streams.v1.{name}Service")
    return type("Broken", (Paglet,), {"Services": (service,), name.lower(): method})


@pytest.mark.parametrize("name", ["Give", "Take", "Trade"])
def test_streaming_methods_are_bound(name: str) -> None:
    """Each rpc to the method of its name, whatever it calls the kind of stream."""
    handlers = _defined(name, vars(Right)[name.lower()]).handlers
    assert [(path, handler.attribute) for path, handler in handlers.items()] == [
        (f"/paglets.tests.streams.v1.{name}Service/{name}", name.lower())
    ]


@pytest.mark.parametrize(
    ("name", "method", "why"),
    [
        ("Give", "give_in_thread", "an async generator, which has a `yield`; it is none"),
        ("Give", "give_at_once", "an async generator, which has a `yield`; it is none"),
        ("Give", "give_other", "for return"),
        ("Take", "take_one", "for request"),
        ("Take", "take_in_thread", "it is no coroutine function"),
        ("Trade", "trade_other", "for requests"),
    ],
)
def test_wrong_streaming_method_is_refused(name: str, method: str, why: str) -> None:
    """The message has the signature that it should have, and what is wrong with the one it has."""
    with pytest.raises(TypeError) as caught:
        _defined(name, vars(Wrong)[method])
    assert EXPECTED[name] in str(caught.value)
    assert why in str(caught.value)
