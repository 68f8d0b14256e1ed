"""Every channel option of the project, for both ends. gRPC ignores names it does not know: tests see to the effects."""

from __future__ import annotations

from typing import Final

__all__ = [
    "AHEAD_BYTES",
    "CALL_AHEAD_BYTES",
    "CALL_OPTIONS",
    "CLIENT_OPTIONS",
    "HOST_AHEAD_BYTES",
    "MAX_ANSWER_BYTES",
    "MAX_MESSAGE_BYTES",
    "MAX_METADATA_BYTES",
    "SERVER_OPTIONS",
]

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
"""What a host takes as one message, and gives as one reply: 2 MiB of data with room for what is around them."""

AHEAD_BYTES = 2 * 1024 * 1024
"""How much of one stream a client takes in before somebody wants it: the largest message. Times round trips a second it
is also the most that one stream can move over a long way."""

HOST_AHEAD_BYTES = 896 * 1024
"""As much at a host. gRPC lets twice as much come when its own announcements are late; that has to be less than the
largest message, so that no client hands over a second one before a host has written the first."""

CALL_AHEAD_BYTES = 256 * 1024
"""As much of a stream that brings no artifact: there may be hundreds, passed on for readers who stand still."""

MAX_METADATA_BYTES = 64 * 1024
"""What either end takes as headers or trailers of a call; the details of an error travel there."""

MAX_ANSWER_BYTES = MAX_MESSAGE_BYTES + 2 * MAX_METADATA_BYTES
"""What a client takes as one message: the largest reply, with its metadata if it comes in a stream of calls."""

_MAX_RECEIVED = "grpc.max_receive_message_length"
_LIMITS = (
    # Below the first, metadata always passes; between the two it is refused at random, so they are the same.
    ("grpc.max_metadata_size", MAX_METADATA_BYTES),
    ("grpc.absolute_max_metadata_size", MAX_METADATA_BYTES),
    # Otherwise gRPC takes in what the way can carry, and holds it in memory: all of an upload, if the disk is slower.
    ("grpc.http2.bdp_probe", 0),
)
_AHEAD: Final = "grpc.http2.lookahead_bytes"
_CLIENT = (
    *_LIMITS,
    (_MAX_RECEIVED, MAX_ANSWER_BYTES),
    # An http_proxy in the environment is for the web; gRPC would use it even for 127.0.0.1.
    ("grpc.enable_http_proxy", 0),
    # Each channel has a connection of its own: large bytes do not hold up small calls.
    ("grpc.use_local_subchannel_pool", 1),
    # A peer that vanished without a word is found out within 40 s, also while no call is under way.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    # A host that was restarted is found again at once. The last one bounds an attempt that nobody answers.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.min_reconnect_backoff_ms", 5_000),
)

CLIENT_OPTIONS: Final = (*_CLIENT, (_AHEAD, AHEAD_BYTES))
"""For every channel to a host."""

CALL_OPTIONS: Final = (*_CLIENT, (_AHEAD, CALL_AHEAD_BYTES))
"""For one that brings no artifacts."""

SERVER_OPTIONS: Final = (
    *_LIMITS,
    (_MAX_RECEIVED, MAX_MESSAGE_BYTES),
    (_AHEAD, HOST_AHEAD_BYTES),
    # Otherwise two servers share a port without a word, and the wrong one answers.
    ("grpc.so_reuseport", 0),
    # Clients ping each 30 s, idle ones too; gRPC would cut them off for less than 5 min between two pings.
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # The watches of a client that vanished end within 70 s.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 10_000),
)
"""For every server of a host."""
