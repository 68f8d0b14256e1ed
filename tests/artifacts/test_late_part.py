"""Parts that become files only when they must: no byte is lost on the way, whatever the disk says to it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from paglets.artifacts.appending import Appending
from paglets.artifacts.late_part import LatePart
from paglets.digest import Digest, Hasher

MOST = 1024


def full_once(real: Callable[[Appending, bytes | memoryview], None]) -> Callable[[Appending, bytes | memoryview], None]:
    """An append that finds the disk full, and room again when it is tried once more."""
    failures = [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))]

    def append(self: Appending, data: bytes | memoryview) -> None:
        if data and failures:
            raise failures.pop()
        real(self, data)

    return append


@pytest.mark.parametrize("resting", [b"", b"begun"])
def test_a_full_disk_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resting: bytes) -> None:
    """Bytes that could not be put into a file stay in memory: what comes later is not written without them."""
    path, hasher = tmp_path / "part", None
    if resting:
        path.write_bytes(resting)
        hasher = Hasher()
        hasher.update(resting)
    part = LatePart(path, MOST, hasher)
    part.append(b"first")
    monkeypatch.setattr(Appending, "append", full_once(Appending.append))
    with pytest.raises(OSError, match="No space"):
        part.file()
    assert part.held == resting + b"first"
    part.append(b"x" * MOST)
    assert part.digest() == Digest.of(resting + b"first" + b"x" * MOST)
    part.close()
    assert path.read_bytes() == resting + b"first" + b"x" * MOST
