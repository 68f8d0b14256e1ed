"""Files of the host's user: whether one is still the one that was read, and what one may be called."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from paglets.errors import InvalidArgumentError, Resource
from paglets.values import FileMode

__all__ = ["SourceMark", "checked_mode", "not_a_file", "safe_name"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceMark:
    """Which file was read: another one, or one that was written to since, has another mark. Blocking."""

    device: int
    inode: int
    changed_ns: int
    size_bytes: int

    @classmethod
    def of(cls, path: Path) -> Self:
        """The mark of a regular file as it is now, links followed. Raises SOURCE_NOT_A_FILE."""
        try:
            found = path.stat()
        except OSError as error:
            raise not_a_file(path, error.strerror or "cannot be read") from error
        if not stat.S_ISREG(found.st_mode):
            raise not_a_file(path, "is not a regular file")
        return cls(device=found.st_dev, inode=found.st_ino, changed_ns=found.st_ctime_ns, size_bytes=found.st_size)

    def is_of(self, path: Path) -> bool:
        """Whether this file is still the one that was read."""
        try:
            return self == SourceMark.of(path)
        except InvalidArgumentError:
            return False

    def delete(self, path: Path) -> bool:
        """Deletes the file if it is still the one that was read; says whether it is gone. Safe to repeat.

        Raises OSError when it cannot be deleted.
        """
        if self.is_of(path):
            path.unlink(missing_ok=True)
        return not path.exists()


def not_a_file(path: Path, why: str) -> InvalidArgumentError:
    """SOURCE_NOT_A_FILE: what was to be read is missing, or no regular file."""
    return InvalidArgumentError(
        "SOURCE_NOT_A_FILE",
        f"source is not a file: {path}: {why}",
        resource=Resource("file", str(path)),
        metadata={"path": str(path)},
        field="path",
    )


def checked_mode(mode: FileMode | str) -> FileMode:
    """The mode of a registered file, also by its text, however that is spelled. Raises MALFORMED_REQUEST otherwise."""
    try:
        return FileMode(str(mode).strip().casefold())
    except ValueError as error:
        modes = " or ".join(FileMode)
        raise InvalidArgumentError("MALFORMED_REQUEST", f"a mode is {modes}, got {mode!r}", field="mode") from error


def safe_name(name: str) -> str:
    """A name for a file, made of one that anybody chose: letters, digits and `._-`, none of which leads or trails."""
    kept = "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in name)
    return kept.strip("._") or "artifact"
