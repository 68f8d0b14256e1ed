"""Digests: what bytes are called. BLAKE3-256 and nothing else; this file opens no file."""

from __future__ import annotations

from dataclasses import dataclass

from blake3 import blake3

from paglets.errors import InvalidArgumentError

__all__ = ["DIGEST_BYTES", "NOTHING", "Digest", "Hasher"]

DIGEST_BYTES = 32
_PREFIX = "blake3:"


@dataclass(frozen=True, slots=True)
class Digest:
    """A BLAKE3-256 digest and the number of bytes it was made of.

    Equal digests mean equal bytes. The text form is `blake3:` and 64 hexadecimal digits; it leaves the size out.
    """

    value: bytes
    size_bytes: int

    def __post_init__(self) -> None:
        if len(self.value) != DIGEST_BYTES:
            raise InvalidArgumentError(
                "MALFORMED_REQUEST",
                f"a BLAKE3-256 digest has {DIGEST_BYTES} raw bytes, got {len(self.value)}",
                field="digest",
            )
        if self.size_bytes < 0:
            raise InvalidArgumentError(
                "MALFORMED_REQUEST", f"a size cannot be negative, got {self.size_bytes}", field="digest"
            )

    @property
    def hex(self) -> str:
        """The hash as 64 hexadecimal digits."""
        return self.value.hex()

    def __str__(self) -> str:
        return _PREFIX + self.hex

    @staticmethod
    def of(data: bytes) -> Digest:
        """The digest of bytes in memory."""
        return Digest(blake3(data).digest(), len(data))


class Hasher:
    """Makes a digest of bytes that come in pieces. Not for two threads at once."""

    def __init__(self) -> None:
        self._state = blake3()
        self._size = 0

    @property
    def size_bytes(self) -> int:
        """How many bytes were given so far."""
        return self._size

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Adds the next bytes."""
        self._state.update(data)
        self._size += len(data)

    def digest(self) -> Digest:
        """The digest of all bytes given so far; more may follow."""
        return Digest(self._state.digest(), self._size)

    def copy(self) -> Hasher:
        """Another one that was given the same bytes."""
        twin = Hasher()
        twin._state, twin._size = self._state.copy(), self._size
        return twin


NOTHING = Digest.of(b"")
"""The digest of no bytes."""
