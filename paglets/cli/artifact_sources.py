"""Which files a put is about: those that are named, and those in folders that are named."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from paglets.artifacts.limits import MAX_TEXT_BYTES
from paglets.cli.output import note, plain

__all__ = ["SourceFile", "absolute", "find_files"]


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file to be put. `shown` is its path as the user knows it, `name` what its artifact is called."""

    path: Path
    shown: str
    name: str
    found: os.stat_result

    @property
    def identity(self) -> tuple[str, int, int, int, int]:
        """What stays the same as long as it is the same file with the same bytes, as far as its folder knows."""
        return _identity(self.path, self.found)

    def changed(self) -> bool:
        """Whether it is another file by now, or gone."""
        try:
            return _identity(self.path, self.path.stat()) != self.identity
        except OSError:
            return True


def _identity(path: Path, found: os.stat_result) -> tuple[str, int, int, int, int]:
    return str(path), found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def absolute(source: str) -> Path:
    """A path from the root on, without `..`; links stay what they are."""
    return Path(os.path.normpath(Path(source).absolute()))


def find_files(sources: Sequence[str]) -> tuple[list[SourceFile], list[OSError]]:
    """All files, in the order of the sources and sorted within folders; and what could not be looked at.

    A file in a folder is named by its path from the folder's own parent on, or by the end of that which fits a name.
    Links in folders are not followed, and neither they nor special files are put; the user is told of each. A link that
    is named itself is followed.
    """
    files, failures = list[SourceFile](), list[OSError]()
    for source in sources:
        top = absolute(source)
        try:
            found = top.stat()
        except OSError as error:
            failures.append(error)
            continue
        if stat.S_ISDIR(found.st_mode):
            files.extend(_in_folder(Path(source), top, failures))
        else:
            files.append(SourceFile(top, source, _text(top.name), found))
    return files, failures


def _in_folder(given: Path, top: Path, failures: list[OSError]) -> Iterator[SourceFile]:
    for folder, folders, names in os.walk(top, onerror=failures.append):
        links = [name for name in folders if Path(folder, name).is_symlink()]
        folders[:] = sorted(set(folders).difference(links))
        for name in sorted([*names, *links]):
            path = Path(folder, name)
            shown = str(given / path.relative_to(top))
            try:
                found = path.lstat()
            except OSError as error:
                failures.append(error)
                continue
            if stat.S_ISREG(found.st_mode):
                yield SourceFile(path, shown, _name_of(path.relative_to(top.parent)), found)
            else:
                note(f"{plain(shown)} is skipped: {'a link' if path.is_symlink() else 'no regular file'}")


def _name_of(path: Path) -> str:
    """A path as an artifact's name: without its first folders if it is longer than names may be."""
    parts = path.parts
    while len(parts) > 1 and len(_text("/".join(parts)).encode()) > MAX_TEXT_BYTES:
        parts = parts[1:]
    return _text("/".join(parts))


def _text(name: str) -> str:
    """A file's name as text, whatever bytes it has."""
    return name.encode(errors="replace").decode()
