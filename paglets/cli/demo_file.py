"""The file that the demo sends: the running Python's standard library, packed; and the digest of any file."""

from __future__ import annotations

import sysconfig
import tarfile
from pathlib import Path

from paglets.digest import Digest, Hasher

__all__ = ["digest_of", "pack_standard_library"]

_LEFT_OUT = {"site-packages", "dist-packages", "__pycache__", "test", "tests", "idlelib", "ensurepip"}
_READ_BYTES = 1024 * 1024


def pack_standard_library(target: Path) -> None:
    """Packs the modules of the running Python into a tar file, without caches, tests and what was installed."""
    with tarfile.open(target, "w") as packed:
        packed.add(sysconfig.get_path("stdlib"), arcname="stdlib", filter=_wanted)


def _wanted(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if Path(entry.name).name in _LEFT_OUT else entry


def digest_of(path: Path) -> Digest:
    """The digest of a file as it is on the disk now."""
    hasher = Hasher()
    with path.open("rb") as file:
        while data := file.read(_READ_BYTES):
            hasher.update(data)
    return hasher.digest()
