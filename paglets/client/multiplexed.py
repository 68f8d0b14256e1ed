"""A channel whose unary calls share one stream: a call costs either end much less than one that gRPC makes by itself.

Generated stubs cannot tell it from gRPC's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeAlias, TypeVar

import grpc

from paglet.v1 import call_pb2 as pb
from paglets.client.carriage import Carriage
from paglets.client.carried_call import CarriedCall
from paglets.client.retry import bounded_timeout
from paglets.client.wrapped_channel import WrappedChannel
from paglets.wire.carried import is_carriable, metadata_to_messages
from paglets.wire.times import duration_to_message

__all__ = ["MultiplexedChannel"]

RequestT = TypeVar("RequestT")
ReplyT = TypeVar("ReplyT")

_Pairs: TypeAlias = tuple[tuple[str, str | bytes], ...]
_Metadata: TypeAlias = grpc.aio.Metadata | Sequence[tuple[str, str | bytes]]
_MOST_UNDER_WAY = 500
"""Further calls are made by themselves: a host takes only so many of a stream."""


class MultiplexedChannel(WrappedChannel):
    """Wraps and owns `channel`: what streams is a call of its own there, and so is a large unary call."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        super().__init__(channel)
        self._carriage: Carriage | None = None

    def carriage(self) -> Carriage:
        """The stream; a new one when the last has ended."""
        if self._carriage is None or not self._carriage.is_open:
            self._carriage = Carriage(self._channel)
        return self._carriage

    async def close(self, grace: float | None = None) -> None:
        """Gives up the calls that have not ended, and closes the channel. Safe to repeat."""
        carriage, self._carriage = self._carriage, None  # gRPC keeps the connection for as long as somebody has a call
        if carriage is not None:
            await carriage.close()
            del carriage
        await self._channel.close(grace)

    def unary_unary(
        self,
        method: str,
        request_serializer: Callable[[RequestT], bytes] | None = None,
        response_deserializer: Callable[[bytes], ReplyT] | None = None,
        _registered_method: bool = False,  # noqa: FBT001, FBT002 - generated code gives it by name
    ) -> _Carried[RequestT, ReplyT]:
        """An rpc of one request and one reply."""
        plain = self._channel.unary_unary(method, request_serializer, response_deserializer)
        encode: Any = request_serializer or bytes  # without a serializer they are bytes already
        parse: Any = response_deserializer or bytes
        return _Carried(self, method, encode, parse, plain)

    def unary_stream(self, *arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - passed on
        """An rpc of one request and a stream of replies."""
        return self._channel.unary_stream(*arguments, **named)

    def stream_unary(self, *arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - passed on
        """An rpc of a stream of requests and one reply."""
        return self._channel.stream_unary(*arguments, **named)

    def stream_stream(self, *arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - passed on
        """An rpc of two streams."""
        return self._channel.stream_stream(*arguments, **named)


class _Carried(grpc.aio.UnaryUnaryMultiCallable[RequestT, ReplyT], Generic[RequestT, ReplyT]):
    """One rpc: by the stream, or by `plain` what that does not carry."""

    def __init__(
        self,
        channel: MultiplexedChannel,
        method: str,
        encode: Callable[[RequestT], bytes],
        parse: Callable[[bytes], ReplyT],
        plain: grpc.aio.UnaryUnaryMultiCallable[RequestT, ReplyT],
    ) -> None:
        self._channel = channel
        self._method = method
        self._encode = encode
        self._parse = parse
        self._plain = plain

    def __call__(
        self,
        request: RequestT,
        *,
        timeout: float | None = None,
        metadata: _Metadata | None = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> grpc.aio.UnaryUnaryCall[RequestT, ReplyT]:
        """Starts the call."""
        pairs: _Pairs = tuple(metadata or ())
        data, carriage = self._encode(request), self._channel.carriage()
        is_usual = credentials is None and wait_for_ready is None and compression is None and _is_usual(timeout)
        if not is_usual or carriage.under_way >= _MOST_UNDER_WAY or not is_carriable(pairs, data):
            return self._plain(
                request,
                timeout=timeout,
                metadata=pairs,
                credentials=credentials,
                wait_for_ready=wait_for_ready,
                compression=compression,
            )
        message = pb.CarriedCall(method=self._method, metadata=metadata_to_messages(pairs), request=data)
        if timeout is not None:
            message.timeout.CopyFrom(duration_to_message(timeout))
        call: CarriedCall[RequestT, ReplyT] = CarriedCall(self._parse, timeout)
        carriage.begin(message, call)
        return call


def _is_usual(timeout: float | None) -> bool:
    """Whether there is time at all, and no more than a century: of any other timeout gRPC has its own ideas."""
    return timeout is None or (timeout > 0 and bounded_timeout(timeout) is not None)
