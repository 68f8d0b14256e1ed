"""Digests as messages and back."""

from __future__ import annotations

from paglet.v1 import types_pb2
from paglets.digest import Digest
from paglets.errors import InvalidArgumentError

__all__ = ["digest_from_message", "digest_to_message"]


def digest_to_message(digest: Digest) -> types_pb2.Digest:
    """A digest as a message."""
    return types_pb2.Digest(
        function=types_pb2.DIGEST_FUNCTION_BLAKE3_256, value=digest.value, size_bytes=digest.size_bytes
    )


def digest_from_message(message: types_pb2.Digest) -> Digest:
    """A message as a digest. Raises MALFORMED_REQUEST for another function, a wrong length or a negative size."""
    if message.function != types_pb2.DIGEST_FUNCTION_BLAKE3_256:
        raise InvalidArgumentError(
            "MALFORMED_REQUEST",
            f"a digest must be DIGEST_FUNCTION_BLAKE3_256, got function {message.function}",
            field="digest.function",
        )
    return Digest(message.value, message.size_bytes)
