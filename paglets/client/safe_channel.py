"""A thin wrapper of a channel that makes its unary calls with a deadline, retries and our errors.

Generated stubs cannot tell it from gRPC's own. It never closes the channel that it wraps, which stays its owner's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import grpc

from paglets.client.multicallables import Pairs, StreamStream, StreamUnary, UnaryStream, UnaryUnary
from paglets.client.retry import RetryPolicy
from paglets.client.wrapped_channel import WrappedChannel

__all__ = ["SafeChannel"]

RequestT = TypeVar("RequestT")
ReplyT = TypeVar("ReplyT")


class SafeChannel(WrappedChannel):
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
        super().__init__(channel)
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
