"""The metadata of a carried call as gRPC has them, and as the stream has them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

from paglet.v1 import call_pb2
from paglets.errors import InvalidArgumentError

__all__ = ["MAX_CARRIED_BYTES", "is_carriable", "metadata_from_messages", "metadata_to_messages"]

MAX_CARRIED_BYTES: Final = 64 * 1024
"""What request and metadata of a carried call may be together: it keeps those behind it waiting no longer than that."""

_Pairs: TypeAlias = Sequence[tuple[str, str | bytes]]
_KEY = re.compile(r"[0-9a-z_.-]+")
_BINARY = "-bin"
_BESIDE_BYTES = 8
"""What a pair takes up beside its key and value, at most."""


def is_carriable(metadata: _Pairs, request: bytes) -> bool:
    """Whether a call is small enough, and its metadata are as gRPC would send them."""
    size_bytes = len(request) + sum(len(key) + len(value) + _BESIDE_BYTES for key, value in metadata)
    return size_bytes <= MAX_CARRIED_BYTES and all(_is_legal(key, value) for key, value in metadata)


def metadata_to_messages(metadata: _Pairs) -> list[call_pb2.CarriedMetadata]:
    """Legal metadata as messages."""
    return [
        call_pb2.CarriedMetadata(key=key, value=value.encode("ascii") if isinstance(value, str) else value)
        for key, value in metadata
    ]


def metadata_from_messages(messages: Iterable[call_pb2.CarriedMetadata]) -> tuple[tuple[str, str | bytes], ...]:
    """The metadata of a call. Raises MALFORMED_REQUEST for what gRPC would not send."""
    metadata = tuple(_pair(found.key, found.value) for found in messages)
    for key, value in metadata:
        if not _is_legal(key, value):
            raise InvalidArgumentError(
                "MALFORMED_REQUEST", f"{key!r}: {value!r} is no metadata of a call", field="metadata"
            )
    return metadata


def _pair(key: str, value: bytes) -> tuple[str, str | bytes]:
    return key, value if key.endswith(_BINARY) else value.decode("ascii", errors="replace")


def _is_legal(key: str, value: str | bytes) -> bool:
    if _KEY.fullmatch(key) is None or key.endswith(_BINARY) != isinstance(value, bytes):
        return False
    return isinstance(value, bytes) or (value.isascii() and (value.isprintable() or not value))
