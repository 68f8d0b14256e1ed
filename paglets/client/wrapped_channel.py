"""What a wrapper of a channel leaves to it: all that is no rpc."""

from __future__ import annotations

from types import TracebackType
from typing import Self

import grpc

__all__ = ["WrappedChannel"]


class WrappedChannel(grpc.aio.Channel):
    """Wraps `channel`, which stays its owner's: closing the wrapper leaves it open."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        """Closes the wrapper."""
        await self.close()

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
