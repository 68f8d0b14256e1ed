"""Passes calls on to another host as raw bytes, without knowing their messages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import grpc

from paglets.wire.metadata import TO_KEY

__all__ = ["Forwarder"]

RawMetadata = Sequence[tuple[str, str | bytes]]


class Forwarder:
    """Raw calls over one channel, for the host with the uid `to` and no other that may be at its address by now.

    Raises grpc.aio.AioRpcError unchanged: status details pass through unharmed.
    """

    def __init__(self, channel: grpc.aio.Channel, to: str) -> None:
        self._channel = channel
        self._to = (TO_KEY, to)

    async def unary(
        self, path: str, request: bytes, metadata: RawMetadata, timeout_s: float
    ) -> tuple[bytes, RawMetadata, RawMetadata]:
        """One unary call: the reply's bytes, its initial and its trailing metadata."""
        method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(path)
        call = method(request, metadata=(*metadata, self._to), timeout=timeout_s)
        reply = await call
        return reply, tuple(await call.initial_metadata()), tuple(await call.trailing_metadata())

    def open(
        self, path: str, requests: AsyncIterator[bytes], metadata: RawMetadata, timeout_s: float | None
    ) -> grpc.aio.StreamStreamCall[bytes, bytes]:
        """Begins a call of any arity; the caller reads, and cancels it at the end."""
        method: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = self._channel.stream_stream(path)
        return method(requests, metadata=(*metadata, self._to), timeout=timeout_s)
