"""Opens channels to hosts, all in the same way."""

from __future__ import annotations

import grpc

from paglets.errors import InvalidArgumentError
from paglets.wire.channel_options import CALL_OPTIONS, CLIENT_OPTIONS

__all__ = ["Channel", "open_channel"]

Channel = grpc.aio.Channel
"""A connection to a host, for rooms that hand it on and know no gRPC."""


def open_channel(address: str, *, calls_only: bool = False) -> grpc.aio.Channel:
    """A channel to the host at `address` (`name-or-address:port` or `unix:PATH`), in clear text.

    With `calls_only` it takes in little of a stream that nobody reads; artifacts come slowly over a long way then.

    It connects with the first call and again whenever it has to; nothing is checked here but that there is an address.
    Whoever opens a channel closes it, after the calls on it have ended. Call it on the event loop that will use it.
    """
    if not address:
        raise InvalidArgumentError("MALFORMED_REQUEST", "a channel needs the address of a host", field="address")
    return grpc.aio.insecure_channel(address, options=CALL_OPTIONS if calls_only else CLIENT_OPTIONS)
