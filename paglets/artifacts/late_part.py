"""A part that becomes a file only when it must: what is small enough for the catalogue never does.

This file must never know what becomes of the bytes.
"""

from __future__ import annotations

from pathlib import Path

from paglets.artifacts.part import Part
from paglets.artifacts.steps import Step, passed
from paglets.digest import Digest, Hasher

__all__ = ["LatePart"]


class LatePart:
    """The bytes of an upload, in memory while there are at most `most_held` of them, 0 for never; then in a `Part`.

    Every method blocks; one thread at a time. Errors are those of `Part`, and come when there has to be a file.
    """

    def __init__(self, path: Path, most_held: int, hasher: Hasher | None = None) -> None:
        """Begins a part at `path`, or goes on with the one whose bytes `hasher` was given. Raises `OSError`."""
        self._path = path
        self._most_held = most_held
        self._in_file = hasher
        self._hasher = Hasher()
        self._held = bytearray()
        self._part: Part | None = None
        if not most_held or (hasher is not None and not self._read_back(hasher)):
            self.file()

    @property
    def hasher(self) -> Hasher:
        """The state of the hash, to go on with."""
        return self._hasher if self._part is None else self._part.hasher

    @property
    def held(self) -> bytes | None:
        """All bytes, if they are in memory."""
        return bytes(self._held) if self._part is None else None

    @property
    def has_file(self) -> bool:
        """Whether there is a file, with all bytes or the first of them."""
        return self._part is not None or self._in_file is not None

    def append(self, data: bytes | memoryview) -> None:
        """Adds the next bytes. When it returns, they are in memory, or in the file."""
        if self._part is None and len(self._held) + len(data) <= self._most_held:
            self._hasher.update(data)
            self._held += data
        else:
            self.file().append(data)

    def digest(self) -> Digest:
        """What the bytes so far are."""
        return self.hasher.digest()

    def file(self) -> Part:
        """Sees to it that all bytes are in the file. When that fails they stay in memory."""
        if self._part is None:
            part = self._open()
            try:
                part.append(bytes(self._held[part.size_bytes :]))
            except BaseException:
                part.close()
                raise
            self._part = part
            self._held.clear()
        return self._part

    def rest(self) -> None:
        """Sees to it that all bytes are in the file, and that no sync of them failed; the last had none yet."""
        self.file().settle()

    def keep(self, least: int) -> int:
        """Makes the first `least` bytes durable if they are not; more may follow. Says how many are."""
        return self.file().keep(least)

    def sync(self) -> None:
        """Makes the bytes durable, and the file read-only. Nothing is appended after that."""
        self.file().sync()

    def close(self) -> None:
        """Lets go of everything. Closing again does nothing."""
        if self._part is not None:
            self._part.close()

    def _open(self) -> Part:
        """The file with what was in it, which is nothing of one that is made now."""
        if self._in_file is None:
            part, self._in_file = Part.create(self._path), Hasher()
        else:
            part = Part.reopen(self._path, self._in_file.copy())
        passed(Step.PART_AFTER)
        return part

    def _read_back(self, hasher: Hasher) -> bool:
        """Takes into memory what lies in the file, if that is little enough, and all of it is there."""
        size = hasher.size_bytes
        if size > self._most_held:
            return False
        try:
            data = self._path.read_bytes()[:size]
        except FileNotFoundError:
            data = b""
        if Digest.of(data) != hasher.digest():
            return False
        self._held += data
        self._hasher = hasher.copy()
        return True
