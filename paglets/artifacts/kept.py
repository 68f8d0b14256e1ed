"""Whether a file has the bytes that it should have, for good. Every function blocks, and reads the whole file."""

from __future__ import annotations

import os
from pathlib import Path

from paglets.digest import Digest, Hasher
from paglets.sqlite import fsync_folder

__all__ = ["hashed", "is_kept", "measure"]

_MEASURE_BYTES = 1024 * 1024


def is_kept(path: Path, digest: Digest) -> bool:
    """Whether a plain file holds exactly these bytes. They are durable then, whoever left them to the page cache."""
    if not path.is_file() or path.stat().st_size != digest.size_bytes or measure(path) != digest:
        return False
    with path.open("rb", buffering=0) as file:
        os.fdatasync(file.fileno())
    fsync_folder(path.parent)
    return True


def measure(path: Path) -> Digest | None:
    """The digest of a file's bytes; None when there is no such file."""
    hasher = hashed(path)
    return None if hasher is None else hasher.digest()


def hashed(path: Path) -> Hasher | None:
    """The state of the hash of a file's bytes; None when there is no such file."""
    hasher = Hasher()
    try:
        with path.open("rb", buffering=0) as file:
            while piece := file.read(_MEASURE_BYTES):
                hasher.update(piece)
    except FileNotFoundError:
        return None
    return hasher
