"""Counts what processes ask of the disk, by the kernel's own account of their system calls (strace).

The counted processes are never the timed ones. This file must never know what the processes do.
"""

from __future__ import annotations

import asyncio
import re
import shutil
from asyncio.subprocess import DEVNULL
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from paglets.bench.samples import Counted

__all__ = ["Trace", "can_count", "count"]

_CALLS = "fsync,fdatasync,sync_file_range,msync,pwrite64,pwritev,write,writev"
# With -f a call may come in two lines, `<unfinished ...>` and `resumed`: only the first names the file, so it counts. A
# file that has no name yet is told as one that was deleted.
_LINE = re.compile(r"^\d+ +(?P<call>\w+)\(\d+<(?P<path>/[^>]*)>(?:\(deleted\))?(?:, \"\"\.*, (?P<size>\d+))?")
_CATALOGUE = (".db", ".db-wal", ".db-shm", ".db-journal", ".catalogue")


async def can_count() -> bool:
    """Whether strace is installed and may trace here."""
    strace = shutil.which("strace")
    if strace is None:
        return False
    probe = await asyncio.create_subprocess_exec(
        strace,
        "-f",
        "--seccomp-bpf",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        "trace=fsync",
        "true",
        stdout=DEVNULL,
        stderr=DEVNULL,
    )
    return await probe.wait() == 0


@dataclass(frozen=True, slots=True)
class Trace:
    """The log of one traced process."""

    path: Path

    def prefix(self) -> list[str]:
        """What to put before a command to have it traced; only the named calls stop it."""
        return ["strace", "-f", "--seccomp-bpf", "-qq", "-y", "-s", "0", "-o", str(self.path), "-e", f"trace={_CALLS}"]

    def mark(self) -> int:
        """Where the log ends now."""
        return self.path.stat().st_size

    def since(self, mark: int) -> list[str]:
        """The lines that came after a mark."""
        with self.path.open("rb") as log:
            log.seek(mark)
            return log.read().decode(errors="replace").splitlines()


def count(work: str, units: int, lines: Iterable[str], folders: Sequence[Path]) -> Counted:
    """Adds up the calls on files below `folders`; databases and their journals are the catalogue."""
    syncs = {"data": 0, "folder": 0, "catalogue": 0}
    written = {"data": 0, "folder": 0, "catalogue": 0}
    for call, path, size in _calls(lines):
        if not any(path.is_relative_to(folder) for folder in folders):
            continue
        kind = _kind(path)
        if call.endswith("sync"):
            syncs[kind] += 1
        else:
            written[kind] += size
    return Counted(
        work=work,
        units=units,
        data_bytes=written["data"],
        data_syncs=syncs["data"],
        folder_syncs=syncs["folder"],
        catalogue_bytes=written["catalogue"],
        catalogue_syncs=syncs["catalogue"],
    )


def _calls(lines: Iterable[str]) -> Sequence[tuple[str, Path, int]]:
    found = (_LINE.match(line) for line in lines)
    return [(match["call"], Path(match["path"]), int(match["size"] or 0)) for match in found if match]


def _kind(path: Path) -> str:
    if path.name.endswith(_CATALOGUE):
        return "catalogue"
    return "folder" if path.is_dir() else "data"
