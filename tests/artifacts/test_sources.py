"""Streams that come once, as far as they can be had again."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from paglets.artifacts.sources import HELD_BYTES, StreamSource
from paglets.digest import Digest
from paglets.errors import UnavailableError
from tests.artifacts.support import pieces

DATA = bytes(range(250)) * 8


async def rest(source: StreamSource, offset: int) -> bytes:
    """All that a source gives from an offset on."""
    return b"".join([piece async for piece in source.pieces(offset)])


@pytest.mark.parametrize("size", [0, 1, 999, 1000, 1001, 2000])
@pytest.mark.parametrize("keep", [False, True])
async def test_goes_on_after_a_prefix(size: int, *, keep: bool) -> None:
    """The beginning is hashed, and the rest comes, wherever pieces are cut."""
    source = StreamSource(pieces(DATA[:1000], b"", DATA[1000:]), keep=keep)
    hasher = await source.prefix(size)
    assert hasher is not None
    assert hasher.digest() == Digest.of(DATA[:size])
    assert await rest(source, size) == DATA[size:]


async def test_what_is_kept_comes_again() -> None:
    """Until it is settled, all of it can be had again, from anywhere; after that, nothing before."""
    source = StreamSource(pieces(DATA[:700], DATA[700:]), keep=True)
    assert await rest(source, 0) == DATA
    assert await rest(source, 1234) == DATA[1234:]
    hasher = await source.prefix(900)
    assert hasher is not None
    source.settle(hasher)
    assert source.kept_bytes == len(DATA) - 900
    assert await rest(source, 950) == DATA[950:]
    assert await source.prefix(899) is None


async def test_a_prefix_of_more_than_there_is() -> None:
    """A stream that is too short gives what it has."""
    hasher = await StreamSource(pieces(DATA), keep=True).prefix(len(DATA) + 1)
    assert hasher is not None
    assert hasher.digest() == Digest.of(DATA)


async def test_a_long_prefix_is_not_held() -> None:
    """To go on behind much that is there already costs no memory."""
    piece = bytes(1024 * 1024)

    async def long() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield piece
            assert source.kept_bytes <= HELD_BYTES + len(piece)

    source = StreamSource(long(), keep=True)
    hasher = await source.prefix(39 * len(piece) + 5)
    assert hasher is not None
    assert hasher.digest() == Digest.of(piece * 39 + bytes(5))
    assert await rest(source, hasher.size_bytes) == piece[5:]


async def test_a_stream_that_failed_has_not_ended() -> None:
    """Whoever asks again is told the same, and never that this was all."""

    async def fails() -> AsyncIterator[bytes]:
        yield b"some"
        raise UnavailableError("TRANSPORT", "gone")

    source = StreamSource(fails(), keep=True)
    for _ in range(2):
        with pytest.raises(UnavailableError, match="gone"):
            await rest(source, 0)
    assert source.failure is not None
