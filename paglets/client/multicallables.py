"""Rpcs as a wrapped channel gives them to generated stubs: with metadata, and unary ones with deadline and retries."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

import grpc

from paglets.client.retry import RetriedCall, RetryPolicy, bounded_timeout
from paglets.core.turn import current_chain, next_request_id
from paglets.wire.metadata import CHAIN_KEY, REQUEST_ID_KEY

__all__ = ["Pairs", "StreamStream", "StreamUnary", "UnaryStream", "UnaryUnary"]

RequestT = TypeVar("RequestT")
ReplyT = TypeVar("ReplyT")

Pairs: TypeAlias = Sequence[tuple[str, str | bytes]]
Metadata: TypeAlias = grpc.aio.Metadata | Pairs
Requests: TypeAlias = AsyncIterator[RequestT] | Iterator[RequestT]


@dataclass(frozen=True, slots=True)
class UnaryUnary(grpc.aio.UnaryUnaryMultiCallable[RequestT, ReplyT], Generic[RequestT, ReplyT]):
    """One request, one reply. Without a timeout the call has the policy's; `math.inf` is none.

    `request_ids` gives each call without a request id one: in a turn of a paglet the same if that is run again, else a
    fresh one.
    """

    inner: grpc.aio.UnaryUnaryMultiCallable[RequestT, ReplyT]
    own: Pairs
    policy: RetryPolicy
    request_ids: bool

    def __call__(
        self,
        request: RequestT,
        *,
        timeout: float | None = None,
        metadata: Metadata | None = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> RetriedCall[RequestT, ReplyT]:
        """Starts the call; its metadata is made once, so that every attempt carries the same request id."""
        pairs = _joined(self.own, metadata)
        if self.request_ids and all(key != REQUEST_ID_KEY for key, _ in pairs):
            pairs = (*pairs, (REQUEST_ID_KEY, next_request_id()))

        def attempt(timeout_s: float | None) -> grpc.aio.UnaryUnaryCall[RequestT, ReplyT]:
            return self.inner(
                request,
                timeout=timeout_s,
                metadata=pairs,
                credentials=credentials,
                wait_for_ready=wait_for_ready,
                compression=compression,
            )

        return RetriedCall(attempt, self.policy.timeout_s if timeout is None else timeout, self.policy)


@dataclass(frozen=True, slots=True)
class UnaryStream(grpc.aio.UnaryStreamMultiCallable[RequestT, ReplyT], Generic[RequestT, ReplyT]):
    """One request, a stream of replies: gRPC's own call, with metadata; `math.inf` is no timeout here either."""

    inner: grpc.aio.UnaryStreamMultiCallable[RequestT, ReplyT]
    own: Pairs

    def __call__(
        self,
        request: RequestT,
        *,
        timeout: float | None = None,
        metadata: Metadata | None = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> grpc.aio.UnaryStreamCall[RequestT, ReplyT]:
        """Starts the call."""
        return self.inner(
            request,
            timeout=bounded_timeout(timeout),
            metadata=_joined(self.own, metadata),
            credentials=credentials,
            wait_for_ready=wait_for_ready,
            compression=compression,
        )


@dataclass(frozen=True, slots=True)
class StreamUnary(grpc.aio.StreamUnaryMultiCallable[RequestT, ReplyT], Generic[RequestT, ReplyT]):
    """A stream of requests, one reply: gRPC's own call, with metadata."""

    inner: grpc.aio.StreamUnaryMultiCallable[RequestT, ReplyT]
    own: Pairs

    def __call__(
        self,
        request_iterator: Requests[RequestT] | None = None,
        timeout: float | None = None,
        metadata: Metadata | None = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,  # noqa: FBT001 - gRPC's own order
        compression: grpc.Compression | None = None,
    ) -> grpc.aio.StreamUnaryCall[RequestT, ReplyT]:
        """Starts the call."""
        pairs = _joined(self.own, metadata)
        return self.inner(request_iterator, bounded_timeout(timeout), pairs, credentials, wait_for_ready, compression)


@dataclass(frozen=True, slots=True)
class StreamStream(grpc.aio.StreamStreamMultiCallable[RequestT, ReplyT], Generic[RequestT, ReplyT]):
    """Streams both ways: gRPC's own call, with metadata."""

    inner: grpc.aio.StreamStreamMultiCallable[RequestT, ReplyT]
    own: Pairs

    def __call__(
        self,
        request_iterator: Requests[RequestT] | None = None,
        timeout: float | None = None,
        metadata: Metadata | None = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,  # noqa: FBT001 - gRPC's own order
        compression: grpc.Compression | None = None,
    ) -> grpc.aio.StreamStreamCall[RequestT, ReplyT]:
        """Starts the call."""
        pairs = _joined(self.own, metadata)
        return self.inner(request_iterator, bounded_timeout(timeout), pairs, credentials, wait_for_ready, compression)


def _joined(own: Pairs, given: Metadata | None) -> Pairs:
    """All metadata of a call; in a turn of a paglet also who waits for it, so that a circle of calls is found."""
    pairs, chain = (*own, *(given or ())), current_chain()
    if not chain or any(key == CHAIN_KEY for key, _ in pairs):
        return pairs
    return (*pairs, (CHAIN_KEY, ",".join(chain)))
