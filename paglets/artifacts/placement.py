"""Files out of a store, put under their final name in one durable step.

Until then they have none, so that a killed process leaves nothing of them; or a hidden one beside it, where a file
system wants that. Every function blocks. This file must never know where the bytes come from.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from paglets.artifacts import refusals
from paglets.artifacts.appending import Appending
from paglets.artifacts.steps import Step, passed
from paglets.errors import PermissionDeniedError, Resource
from paglets.sqlite import fsync_folder, make_folders
from paglets.values import new_id

__all__ = ["PrivateFile", "unwritable_told"]

_FICLONE = 0x40049409
_NO_REFLINK = frozenset({errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS, errno.EPERM})
_NO_NAMELESS = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL})
_DESCRIPTORS = Path("/proc/self/fd")
# What trying again would not mend. The rest is the machine's own trouble, e.g. too many open files, and passes.
_UNWRITABLE = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EBUSY}
    | {errno.ENAMETOOLONG, errno.ELOOP, errno.EILSEQ, errno.EINVAL, errno.EFBIG, errno.EMLINK, errno.EOPNOTSUPP}
)
_MAX_NAME_BYTES = 255


@contextmanager
def unwritable_told(path: Path) -> Generator[None]:
    """Turns an `OSError` that says that no file can be written to `path` into DESTINATION_UNWRITABLE; others pass."""
    try:
        yield
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        raise PermissionDeniedError(
            "DESTINATION_UNWRITABLE",
            f"{path} cannot be written: {os.strerror(error.errno)}",
            resource=Resource("file", str(path)),
            metadata={"path": str(path), "cause": errno.errorcode[error.errno]},
        ) from error


class PrivateFile:
    """A file that nobody else sees by its own name yet: `open`, fill, `place`; and `discard` whatever happened.

    One thread at a time. Each raises DESTINATION_UNWRITABLE where the target cannot be.
    """

    def __init__(self, target: Path, *, overwrite: bool) -> None:
        self._target = target
        self._overwrite = overwrite
        self._hidden: Path | None = None
        self._descriptor = -1
        self._file: Appending | None = None

    def open(self) -> None:
        """Makes the folders and the file. Raises DESTINATION_EXISTS early, where it is known already."""
        if not self._overwrite and os.path.lexists(self._target):
            raise refusals.destination_exists(self._target)
        with unwritable_told(self._target):
            _require_replaceable(self._target)
            make_folders(self._target.parent)
            self._descriptor = self._nameless() if _DESCRIPTORS.is_dir() else -1
            if self._descriptor < 0:
                self._hidden = _hidden_name(self._target)
                self._descriptor = os.open(self._hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)

    @property
    def path(self) -> Path:
        """Where the file is until it is placed."""
        return self._hidden or _DESCRIPTORS / str(self._descriptor)

    def append(self, data: bytes | memoryview) -> None:
        """Adds bytes at the end."""
        with unwritable_told(self._target):
            if self._file is None:
                self._file = Appending(self._descriptor)
            self._file.append(data)

    def clone(self, descriptor: int) -> bool:
        """Becomes a copy of another file by sharing its blocks; False where the file system cannot do that."""
        with unwritable_told(self._target):
            try:
                fcntl.ioctl(self._descriptor, _FICLONE, descriptor)
            except OSError as error:
                if error.errno not in _NO_REFLINK:
                    raise
                return False
            return True

    def place(self) -> None:
        """Makes the bytes durable and gives them their name, durably. Raises DESTINATION_EXISTS."""
        with unwritable_told(self._target):
            if self._file is not None:
                self._file.settle()
            os.fsync(self._descriptor)
        passed(Step.EXPORT_SYNC_AFTER)
        with unwritable_told(self._target):
            self._give_name()
        passed(Step.EXPORT_PLACE_AFTER)
        fsync_folder(self._target.parent)
        passed(Step.EXPORT_FOLDER_AFTER)

    def _nameless(self) -> int:
        """A file that goes with the process; -1 where the file system has none."""
        try:
            return os.open(self._target.parent, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o666)
        except OSError as error:
            if error.errno not in _NO_NAMELESS:
                raise
            return -1

    def _give_name(self) -> None:
        try:
            if self._overwrite:
                self._replace()
            else:
                # Unlike a rename, a link fails if the name is taken, whoever took it a moment ago.
                self._link(self._target)
        except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
            raise refusals.destination_exists(self._target) from error

    def _replace(self) -> None:
        _require_replaceable(self._target)
        if self._hidden is None:
            with suppress(FileExistsError):
                self._link(self._target)
                return
            hidden = _hidden_name(self._target)  # only a rename replaces what is there
            self._link(hidden)
            self._hidden = hidden
        self._hidden.replace(self._target)

    def _link(self, name: Path) -> None:
        folder = os.open(name.parent, os.O_PATH | os.O_CLOEXEC)
        try:
            os.link(self.path, name.name, dst_dir_fd=folder)  # without a folder the link in /proc would be linked
        finally:
            os.close(folder)

    def discard(self) -> None:
        """Closes the file and removes it unless it was placed. Safe to repeat."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            if self._file is not None:
                self._file.close()
            os.close(descriptor)
            if self._hidden is not None:
                with unwritable_told(self._target):
                    self._hidden.unlink(missing_ok=True)


def _require_replaceable(target: Path) -> None:
    """Raises DESTINATION_UNWRITABLE for a device, a pipe or a socket: a rename would put a file in its place.

    Raises DESTINATION_EXISTS for a folder.
    """
    try:
        mode = target.lstat().st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(mode):
        raise refusals.destination_exists(target, is_folder=True)
    if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
        raise PermissionDeniedError(
            "DESTINATION_UNWRITABLE",
            f"{target} is a device, a pipe or a socket, and only a file is replaced by a file",
            resource=Resource("file", str(target)),
            metadata={"path": str(target), "cause": "not a file"},
        )


def _hidden_name(target: Path) -> Path:
    suffix = f".{new_id()}.part"
    room = _MAX_NAME_BYTES - len(suffix) - 1
    stem = os.fsdecode(os.fsencode(target.name)[:room])
    return target.with_name(f".{stem}{suffix}")
