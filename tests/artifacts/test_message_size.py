"""Messages of reads get smaller as more of them are open."""

from __future__ import annotations

import pytest

from paglets.services.message_size import LEAST_MESSAGE_BYTES, message_bytes
from paglets.wire.frames import MAX_CHUNK_BYTES, MESSAGE_BYTES

MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("open_reads", "part"),
    [(1, 1), (4, 1), (5, 2), (8, 2), (9, 4), (16, 4), (17, 8), (32, 8), (33, 16), (64, 16), (65, 32)],
)
def test_halves(open_reads: int, part: int) -> None:
    """Each doubling of the open reads halves the messages of those that come then."""
    assert message_bytes(open_reads) == max(MESSAGE_BYTES // part, LEAST_MESSAGE_BYTES)


def test_bounds() -> None:
    """However many are open, a message is never larger than allowed, nor too small; all together stay below 64 MiB."""
    sizes = [message_bytes(number) for number in range(1, 129)]
    assert LEAST_MESSAGE_BYTES <= min(sizes) <= max(sizes) == MESSAGE_BYTES <= MAX_CHUNK_BYTES
    assert sum(sizes) <= 64 * MIB
    assert message_bytes(10**9) == LEAST_MESSAGE_BYTES
