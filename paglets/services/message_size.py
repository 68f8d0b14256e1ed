"""How much one message of a read carries: less when many are open, so that what they hold in memory is bounded.

A stream holds a few messages: one that is read ahead, one that is sent, what gRPC has taken already.
"""

from __future__ import annotations

from typing import Final

from paglets.wire.frames import MESSAGE_BYTES

__all__ = ["FULL_SIZE_READS", "LEAST_MESSAGE_BYTES", "message_bytes"]

FULL_SIZE_READS: Final = 4
"""So many reads have messages of full size; each doubling of their number halves those of the reads that come then."""

LEAST_MESSAGE_BYTES: Final = 64 * 1024
"""Smaller messages would cost more than they spare."""


def message_bytes(open_reads: int) -> int:
    """What the messages of a read carry that is opened now; `open_reads` counts it in."""
    crowding = (open_reads - 1) // FULL_SIZE_READS
    return max(MESSAGE_BYTES >> crowding.bit_length(), LEAST_MESSAGE_BYTES)
