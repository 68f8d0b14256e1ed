"""Registered files as the host keeps them, and the rules for reading, moving and deleting their sources."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from paglets.core.sources import SourceMark, not_a_file
from paglets.digest import Digest, Hasher
from paglets.errors import InvalidArgumentError, PermissionDeniedError, PreconditionError, Resource
from paglets.offloop import off_loop
from paglets.values import FileMode, PagletFileRef

__all__ = ["FileRoots", "RegisteredFile", "delete_source", "register", "require_all_unchanged", "require_unchanged"]

_log = logging.getLogger(__name__)
_READ_BYTES = 1024 * 1024
_MAX_NAME_BYTES = 255  # what an artifact's name may have, under which the file is pushed


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredFile:
    """One registration. `artifact_id` is set when the bytes lie in this host's store rather than in a file of its user.

    `device`, `inode` and `changed_ns` say which file was read when the digest was made: is it the same still?
    """

    name: str
    mode: FileMode
    path: str
    digest: bytes
    size_bytes: int
    origin_host: str
    origin_path: str
    modified_ns: int
    created_ns: int
    device: int = 0
    inode: int = 0
    changed_ns: int = 0
    artifact_id: str = ""

    @property
    def mark(self) -> SourceMark:
        """Which file was read."""
        return SourceMark(device=self.device, inode=self.inode, changed_ns=self.changed_ns, size_bytes=self.size_bytes)

    @property
    def content(self) -> Digest:
        """What its bytes are."""
        return Digest(self.digest, self.size_bytes)

    @property
    def ref(self) -> PagletFileRef:
        """The registration as paglets see it."""
        return PagletFileRef(
            name=self.name,
            mode=self.mode,
            path=Path(self.path),
            digest=self.content,
            origin_host=self.origin_host,
            origin_path=self.origin_path,
            modified_ns=self.modified_ns,
            created_ns=self.created_ns,
        )


class FileRoots:
    """The folders below which paglets may read and write files of the host's user; none given means none at all."""

    def __init__(self, roots: tuple[Path, ...]) -> None:
        self._roots = tuple(root.expanduser().resolve() for root in roots)

    def source(self, text: str) -> Path:
        """The absolute path of a file to read; a relative one is below the first root. Links must not lead out."""
        return self._confine(text)

    def destination(self, text: str, source_name: str) -> Path:
        """The absolute path of a file to write.

        Empty or `.` is the source's name below the first root; a trailing separator or an existing folder puts the file
        inside.
        """
        text = text.strip()
        if text in ("", "."):
            text = source_name
        elif text.endswith(("/", "\\")):
            text += source_name
        target = self._confine(text)
        return self._confine(str(target / source_name)) if _is_folder(target) else target

    def _confine(self, text: str) -> Path:
        if not self._roots:
            raise PermissionDeniedError(
                "PATH_OUTSIDE_ROOTS",
                "this host reads and writes no files: start it with --file-root FOLDER",
                metadata={"path": text},
            )
        if "\0" in text:
            raise InvalidArgumentError("MALFORMED_REQUEST", "a path cannot hold a zero byte", field="path")
        try:
            path = (self._roots[0] / Path(text).expanduser()).resolve()
        except (OSError, RuntimeError) as error:  # links in a circle, the home of nobody
            raise InvalidArgumentError("MALFORMED_REQUEST", f"{text} is no path: {error}", field="path") from error
        if not any(path.is_relative_to(root) for root in self._roots):
            shown = ", ".join(str(root) for root in self._roots)
            raise PermissionDeniedError(
                "PATH_OUTSIDE_ROOTS",
                f"{path} is not below a file root of this host ({shown}): add one with --file-root",
                metadata={"path": str(path)},
            )
        return path


def _is_folder(path: Path) -> bool:
    """Whether a folder is there; what is wrong with the path is for whoever writes there to tell."""
    try:
        return path.is_dir()
    except OSError:
        return False


async def register(path: Path, name: str, mode: FileMode, host: str) -> RegisteredFile:
    """Reads a file once and describes it.

    Raises MALFORMED_REQUEST, SOURCE_NOT_A_FILE, and FILE_CHANGED if it changes meanwhile.
    """
    if not 1 <= _bytes_of(name, "name") <= _MAX_NAME_BYTES or "\0" in name:
        raise InvalidArgumentError(
            "MALFORMED_REQUEST",
            f"a registered file has a name of 1 to {_MAX_NAME_BYTES} bytes without NUL, got {name[:64]!r}",
            field="name",
        )
    _bytes_of(str(path), "path")
    return await off_loop(_register, path, name, mode, host)


def _bytes_of(text: str, field: str) -> int:
    """How many bytes a text has; names of files may be none, which neither journal nor message can hold."""
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        raise InvalidArgumentError("MALFORMED_REQUEST", f"{field} is no valid text: {text!r}", field=field) from error


def _register(path: Path, name: str, mode: FileMode, host: str) -> RegisteredFile:
    before = SourceMark.of(path)
    hasher = Hasher()
    try:
        with path.open("rb", buffering=0) as source:
            modified_ns = os.fstat(source.fileno()).st_mtime_ns
            while data := source.read(_READ_BYTES):
                hasher.update(data)
    except OSError as error:
        raise not_a_file(path, error.strerror or "cannot be read") from error
    digest = hasher.digest()
    found = RegisteredFile(
        name=name,
        mode=mode,
        path=str(path),
        digest=digest.value,
        size_bytes=digest.size_bytes,
        origin_host=host,
        origin_path=str(path),
        modified_ns=modified_ns,
        created_ns=before.changed_ns,
        device=before.device,
        inode=before.inode,
        changed_ns=before.changed_ns,
    )
    require_unchanged(found)
    return found


def require_unchanged(file: RegisteredFile) -> None:
    """Raises FILE_CHANGED when the source is not the file that was registered; blobs of the store never change."""
    if not file.artifact_id and not file.mark.is_of(Path(file.path)):
        raise PreconditionError(
            "FILE_CHANGED",
            f"registered file {file.name!r} changed or is gone since it was registered: {file.path}",
            resource=Resource("file", file.name),
            metadata={"file": file.name},
        )


def require_all_unchanged(files: Iterable[RegisteredFile]) -> None:
    """Raises FILE_CHANGED for the first source that is not the file that was registered."""
    for file in files:
        require_unchanged(file)


def delete_source(file: RegisteredFile) -> bool:
    """Deletes a moved source if it is still the file that was sent; says whether it is gone. Safe to repeat.

    One that cannot be deleted stays: the paglet has its bytes, and its journey must come to an end.
    """
    try:
        return file.mark.delete(Path(file.path))
    except OSError:
        _log.exception("a moved file cannot be deleted")
        return False
