"""Whether a host can keep its things in a data folder. Nothing is left there of what is tried."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from paglets.artifacts.ledger import LAYOUT as ARTIFACTS_LAYOUT
from paglets.artifacts.lock import FolderLock
from paglets.artifacts.placement import PrivateFile
from paglets.cli.checks.finding import Finding, failed, ok, reason, warning
from paglets.cli.output import size_text
from paglets.directory.tables import LAYOUT as DIRECTORY_LAYOUT
from paglets.errors import PagletError
from paglets.host.journal.rows import LAYOUT as JOURNAL_LAYOUT

__all__ = ["data_folder"]

_LAYOUTS = {
    "journal.db": JOURNAL_LAYOUT,
    "directory.db": DIRECTORY_LAYOUT,
    "artifacts/artifacts.db": ARTIFACTS_LAYOUT,
}
_MAGIC, _LAYOUT = b"SQLite format 3\0", slice(60, 64)
"""How the file of a database begins, and where it keeps the number of its layout."""


def data_folder(given: Path, min_free_bytes: int) -> Iterator[Finding]:
    """Tries what a host does in its data folder, or where that would be made; looks at what is there already."""
    folder = given.expanduser().resolve()
    try:
        place = next(path for path in (folder, *folder.parents) if path.exists())
        with tempfile.TemporaryDirectory(prefix=".paglets-doctor-", dir=place) as trial:
            shares = _try_out(Path(trial))
        yield from _room(place, min_free_bytes)
        if place == folder:
            yield from _condition(folder)
    except (OSError, sqlite3.Error, PagletError) as error:
        yield failed(
            "data",
            f"nothing can be kept in {folder}: {reason(error)}",
            "Let this user write there, make room, or name another folder with --data; it must be on a local disk.",
        )
        return
    there = "a host uses it now" if _is_held(folder) else "no host uses it" if place == folder else "it can be made"
    copies = "files are copied by sharing their blocks" if shares else "files are copied byte by byte"
    yield ok("data", f"{folder}: {there}; {copies}")


def _try_out(trial: Path) -> bool:
    """Does there what a host does: a lock, a database, a file; whether files can share blocks. Raises `OSError`."""
    FolderLock(trial).release()
    with closing(sqlite3.connect(trial / "trial.db", isolation_level=None)) as connection:
        (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
        if mode != "wal":
            raise OSError(0, f"SQLite can keep no write-ahead log there, but {mode}")
        connection.execute("PRAGMA synchronous=FULL")
        connection.executescript("CREATE TABLE trial (bytes BLOB) STRICT; INSERT INTO trial VALUES (zeroblob(65536));")
    first, second = (PrivateFile(trial / name, overwrite=False) for name in ("first", "second"))
    try:
        first.open()
        first.append(bytes(4096))
        first.place()
        second.open()
        with (trial / "first").open("rb") as file:
            return second.clone(file.fileno())
    finally:
        first.discard()
        second.discard()


def _room(place: Path, min_free_bytes: int) -> Iterator[Finding]:
    found = os.statvfs(place)
    free = found.f_bavail * found.f_frsize
    if free < min_free_bytes:
        yield failed(
            "disk",
            f"{size_text(free)} are free at {place}, and uploads leave {size_text(min_free_bytes)}: none is taken",
            "Make room there, or start the host with a smaller --artifact-min-free.",
        )
    else:
        yield ok("disk", f"{size_text(free)} are free at {place}, of which uploads leave {size_text(min_free_bytes)}")


def _condition(folder: Path) -> Iterator[Finding]:
    """What is wrong with what is there."""
    if folder.stat().st_mode & 0o077:
        yield warning("data", f"others of this machine may look into {folder}", f"chmod 700 {folder}")
    for name, layout in _LAYOUTS.items():
        if wrong := _wrong_with(folder / name, layout):
            yield failed(
                "data",
                f"{folder / name} {wrong}",
                "Use the version of paglets that wrote it, restore it, or name another folder with --data.",
            )


def _wrong_with(path: Path, layout: int) -> str:
    """Why a database that is there cannot be read; empty also while its layout is not known, all being in its log."""
    try:
        with path.open("rb") as file:
            header = file.read(_LAYOUT.stop)
    except FileNotFoundError:
        return ""
    if header and not header.startswith(_MAGIC):
        return "is no SQLite database"
    found = int.from_bytes(header[_LAYOUT])
    return "" if found in {0, layout} else f"has layout {found}, and this version of paglets reads {layout}"


def _is_held(folder: Path) -> bool:
    """Whether a host holds its lock. It is looked at by sharing it for a moment; the file is not made."""
    try:
        with (folder / "lock").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
