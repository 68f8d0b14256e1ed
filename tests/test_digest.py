"""Digests are BLAKE3-256 and nothing else, whole or in pieces."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from paglets.digest import Digest, Hasher
from paglets.errors import InvalidArgumentError

VECTORS: list[tuple[int, str]] = json.loads((Path(__file__).parent / "data" / "blake3.json").read_text("utf-8"))


def vector_input(size: int) -> bytes:
    """The input of the official vectors: byte i is i mod 251."""
    return (bytes(range(251)) * (size // 251 + 1))[:size]


@pytest.mark.parametrize(("size", "expected"), VECTORS)
def test_official_vectors(size: int, expected: str) -> None:
    """Each official vector holds, in one piece and in pieces of any length."""
    data = vector_input(size)
    assert Digest.of(data) == Digest(bytes.fromhex(expected), size)
    for step in (1, 63, 1024, 1025):
        if size // step < 3000:
            hasher = Hasher()
            for start in range(0, size, step):
                hasher.update(memoryview(data)[start : start + step])
            assert (hasher.digest().hex, hasher.size_bytes) == (expected, size)


def test_text_form() -> None:
    """The text names the function."""
    empty = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
    assert str(Digest.of(b"")) == f"blake3:{empty}"


@pytest.mark.parametrize(("value", "size"), [(b"", 0), (bytes(31), 0), (bytes(33), 0), (bytes(32), -1)])
def test_refuses_what_is_no_digest(value: bytes, size: int) -> None:
    """Another length, or a size below nothing, is no digest."""
    with pytest.raises(InvalidArgumentError) as caught:
        Digest(value, size)
    assert (caught.value.reason, caught.value.field) == ("MALFORMED_REQUEST", "digest")
