"""BLAKE3-256 written down from its specification, slow and plain: a second opinion on every digest of the project.

It shares no code with the one in use. The official vectors hold it to the specification.
"""

from __future__ import annotations

from functools import cache

__all__ = ["slow_blake3"]

IV = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
PERMUTATION = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
MIXED = (
    *((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15)),  # columns
    *((0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)),  # diagonals
)
CHUNK_START, CHUNK_END, PARENT, ROOT = 1, 2, 4, 8
ROUNDS, BLOCK_BYTES, CHUNK_BYTES, MASK = 7, 64, 1024, 0xFFFFFFFF

Words = tuple[int, ...]


def slow_blake3(data: bytes) -> str:
    """The digest in hex digits."""
    return _bytes_of(_tree(data, 0, ROOT)).hex()


def _tree(data: bytes, counter: int, flags: int) -> Words:
    """The value of a subtree that begins with chunk `counter`; its left is the largest full tree that leaves some."""
    if len(data) <= CHUNK_BYTES:
        return _chunk(data, counter, flags)
    chunks = (len(data) - 1) // CHUNK_BYTES
    left = 1 << (chunks.bit_length() - 1)
    cut = left * CHUNK_BYTES
    block = _tree(data[:cut], counter, 0) + _tree(data[cut:], counter + left, 0)
    return _compress(IV, block, 0, BLOCK_BYTES, PARENT | flags)


@cache  # lengths that are tried one after the other have all chunks but the last in common
def _chunk(data: bytes, counter: int, flags: int) -> Words:
    value: Words = IV
    last = max(len(data) - 1, 0) // BLOCK_BYTES
    for number in range(last + 1):
        block = data[number * BLOCK_BYTES : (number + 1) * BLOCK_BYTES]
        own = (CHUNK_START if number == 0 else 0) | ((CHUNK_END | flags) if number == last else 0)
        value = _compress(value, _words_of(block.ljust(BLOCK_BYTES, b"\0")), counter, len(block), own)
    return value


def _compress(value: Words, block: Words, counter: int, size: int, flags: int) -> Words:
    state = [*value, *IV[:4], counter & MASK, counter >> 32, size, flags]
    for _ in range(ROUNDS):
        for number, (a, b, c, d) in enumerate(MIXED):
            state[a] = (state[a] + state[b] + block[2 * number]) & MASK
            state[d] = _turned(state[d] ^ state[a], 16)
            state[c] = (state[c] + state[d]) & MASK
            state[b] = _turned(state[b] ^ state[c], 12)
            state[a] = (state[a] + state[b] + block[2 * number + 1]) & MASK
            state[d] = _turned(state[d] ^ state[a], 8)
            state[c] = (state[c] + state[d]) & MASK
            state[b] = _turned(state[b] ^ state[c], 7)
        block = tuple(block[index] for index in PERMUTATION)
    return tuple(state[index] ^ state[index + 8] for index in range(8))


def _turned(word: int, bits: int) -> int:
    return word >> bits | word << (32 - bits) & MASK


def _words_of(block: bytes) -> Words:
    return tuple(int.from_bytes(block[start : start + 4], "little") for start in range(0, len(block), 4))


def _bytes_of(words: Words) -> bytes:
    return b"".join(word.to_bytes(4, "little") for word in words)
