"""A thin wrapper of a channel that makes its unary calls with a deadline, retries and our errors.

Generated stubs cannot tell it from gRPC's own. It never closes the channel that it wraps, which stays its owner's.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar

import grpc

from paglets.client.multicallables import Pairs, StreamStream, StreamUnary, UnaryStream, UnaryUnary
from paglets.client.retry import RetryPolicy

__all__ = ["SafeChannel"]

RequestT = TypeVar("RequestT")
ReplyT = TypeVar("ReplyT")


class SafeChannel(grpc.aio.Channel):
    """Wraps `channel`: every call gets `metadata`; `policy` and `request_ids` are for unary ones.

    A streaming call gets the metadata and is otherwise gRPC's own, errors too: only its user knows how to go on with a
    broken stream. `_registered_method` is what generated code gives, and of no use here.
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        *,
        metadata: Pairs = (),
        request_ids: bool = False,
        policy: RetryPolicy | None = None,
    ) -> None:
        self._channel = channel
        self._metadata = metadata
        self._request_ids = request_ids
        self._policy = policy or RetryPolicy()

    def unary_unary(
        self,
        method: str,
        request_serializer: Callable[[RequestT], bytes] | None = None,
        response_deserializer: Callable[[bytes], ReplyT] | None = None,
        _registered_method: bool = False,  # noqa: FBT001, FBT002 - generated code gives it by name
    ) -> UnaryUnary[RequestT, ReplyT]:
        """An rpc of one request and one reply."""
        inner = self._channel.unary_unary(method, request_serializer, response_deserializer)
        return UnaryUnary(inner, self._metadata, self._policy, self._request_ids)

    def unary_stream(
        self,
        method: str,
        request_serializer: Callable[[RequestT], bytes] | None = None,
        response_deserializer: Callable[[bytes], ReplyT] | None = None,
        _registered_method: bool = False,  # noqa: FBT001, FBT002 - generated code gives it by name
    ) -> UnaryStream[RequestT, ReplyT]:
        """An rpc of one request and a stream of replies."""
        inner = self._channel.unary_stream(method, request_serializer, response_deserializer)
        return UnaryStream(inner, self._metadata)

    def stream_unary(
        self,
        method: str,
        request_serializer: Callable[[RequestT], bytes] | None = None,
        response_deserializer: Callable[[bytes], ReplyT] | None = None,
        _registered_method: bool = False,  # noqa: FBT001, FBT002 - generated code gives it by name
    ) -> StreamUnary[RequestT, ReplyT]:
        """An rpc of a stream of requests and one reply."""
        inner = self._channel.stream_unary(method, request_serializer, response_deserializer)
        return StreamUnary(inner, self._metadata)

    def stream_stream(
        self,
        method: str,
        request_serializer: Callable[[RequestT], bytes] | None = None,
        response_deserializer: Callable[[bytes], ReplyT] | None = None,
        _registered_method: bool = False,  # noqa: FBT001, FBT002 - generated code gives it by name
    ) -> StreamStream[RequestT, ReplyT]:
        """An rpc of two streams."""
        inner = self._channel.stream_stream(method, request_serializer, response_deserializer)
        return StreamStream(inner, self._metadata)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        """Leaves the wrapped channel open."""

    async def close(self, grace: float | None = None) -> None:
        """Leaves the wrapped channel open."""

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:  # noqa: FBT001, FBT002 - gRPC's own
        """The state of the wrapped channel."""
        return self._channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Waits for another state of the wrapped channel."""
        await self._channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Waits until the wrapped channel is connected."""
        await self._channel.channel_ready()
