"""What is true of every file that is written from one end to the other."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

__all__ = ["assert_there_at_once"]


class Appended(Protocol):
    """The end of a file."""

    @property
    def size_bytes(self) -> int:
        """How many bytes are in it."""
        ...

    def append(self, data: memoryview) -> None:
        """Adds the next bytes."""
        ...


def assert_there_at_once(file: Appended, path: Path, sizes: Sequence[int]) -> None:
    """Appends pieces of these sizes; after each the file holds all that was given."""
    data = bytearray()
    for size in sizes:
        piece = os.urandom(size)
        file.append(memoryview(b"x" + piece)[1:])
        data += piece
        assert path.read_bytes() == data
        assert file.size_bytes == len(data)
