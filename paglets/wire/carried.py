"""The metadata of a carried call as gRPC has them, and as the stream has them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

from paglet.v1 import call_pb2

__all__ = [
    "MAX_CARRIED_BYTES",
    "carried_bytes",
    "is_carriable",
    "is_legal",
    "metadata_from_messages",
    "metadata_to_messages",
]

MAX_CARRIED_BYTES: Final = 64 * 1024
"""What request and metadata of a carried call may be together: it keeps those behind it waiting no longer than that."""

_Pairs: TypeAlias = Sequence[tuple[str, str | bytes]]
_KEY = re.compile(r"[0-9a-z_.-]+")
_BINARY = "-bin"
_BESIDE_BYTES = 32
"""What a pair counts for beside its key and value: as in HTTP/2, and more than it takes up in a message."""


def is_carriable(metadata: _Pairs, request: bytes) -> bool:
    """Whether a call is small enough, and its metadata are as gRPC would send them."""
    return carried_bytes(metadata, request) <= MAX_CARRIED_BYTES and is_legal(metadata)


def carried_bytes(metadata: _Pairs, request: bytes = b"") -> int:
    """What request and legal metadata are together."""
    return len(request) + sum(len(key) + len(value) + _BESIDE_BYTES for key, value in metadata)


def is_legal(metadata: Iterable[tuple[object, object]]) -> bool:
    """Whether gRPC would send such metadata."""
    return all(_is_legal(key, value) for key, value in metadata)


def metadata_to_messages(metadata: _Pairs) -> list[call_pb2.CarriedMetadata]:
    """Legal metadata as messages."""
    return [
        call_pb2.CarriedMetadata(key=key, value=value.encode("ascii") if isinstance(value, str) else value)
        for key, value in metadata
    ]


def metadata_from_messages(messages: Iterable[call_pb2.CarriedMetadata]) -> tuple[tuple[str, str | bytes], ...]:
    """The metadata of a call, legal or not."""
    return tuple(_pair(found.key, found.value) for found in messages)


def _pair(key: str, value: bytes) -> tuple[str, str | bytes]:
    return key, value if key.endswith(_BINARY) else value.decode("ascii", errors="replace")


def _is_legal(key: object, value: object) -> bool:
    if not isinstance(key, str) or _KEY.fullmatch(key) is None:
        return False
    if key.endswith(_BINARY):
        return isinstance(value, bytes)
    return isinstance(value, str) and value.isascii() and value.isprintable()
