"""The files of a store: where parts that are being received lie, and blobs that have one.

Every function blocks; a published blob never changes. This file must never know which artifact a file belongs to.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

from paglets.artifacts.kept import hashed, is_kept, measure
from paglets.artifacts.late_part import LatePart
from paglets.artifacts.part import BLOB_MODE
from paglets.artifacts.references import Blob
from paglets.artifacts.steps import Step, passed
from paglets.digest import Digest, Hasher
from paglets.sqlite import fsync_folder, keep_folder

__all__ = ["BlobFolder", "boot_id"]

T = TypeVar("T")
_log = logging.getLogger(__name__)
_MANY, _SYNCING_THREADS = 4, 8
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class BlobFolder:
    """`parts/` and `blobs/` below a store's root."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._parts = root / "parts"
        self._blobs = root / "blobs"
        self._fanned_out = False

    def prepare(self) -> None:
        """Makes the folders and their names durable."""
        keep_folder(self._root)
        self._parts.mkdir(exist_ok=True)
        self._blobs.mkdir(exist_ok=True)
        fsync_folder(self._blobs)
        fsync_folder(self._root)

    def path(self, blob: Blob) -> Path:
        """Where a blob's file is."""
        name = blob.digest.hex()
        return self._blobs.joinpath(name[:2], f"{name}.{blob.generation}")

    def open_part(self, upload_id: str, most_held: int, hasher: Hasher | None = None) -> LatePart:
        """Begins the part of an upload, or goes on with the one whose bytes `hasher` was given."""
        self._parts.mkdir(exist_ok=True)
        return LatePart(self._part_path(upload_id), most_held, hasher)

    def measure_part(self, upload_id: str) -> Hasher:
        """The state of the hash of a part's bytes; of none if there is no part."""
        return hashed(self._part_path(upload_id)) or Hasher()

    def part_status(self, upload_id: str) -> os.stat_result | None:
        """What the file system knows of a part; None if there is none."""
        try:
            return self._part_path(upload_id).stat()
        except FileNotFoundError:
            return None

    def cut_part(self, upload_id: str, size: int) -> None:
        """Drops what a part has beyond `size` bytes."""
        status = self.part_status(upload_id)
        if status is not None and status.st_size > size:
            os.truncate(self._part_path(upload_id), size)

    def publish(self, upload_id: str, blob: Blob) -> None:
        """Gives a durable part its blob's name, durably."""
        self._rename(self._part_path(upload_id), self.path(blob))
        passed(Step.RENAME_AFTER)
        fsync_folder(self.path(blob).parent)
        passed(Step.FOLDER_AFTER)

    def keep(self, files: Sequence[tuple[Blob, bytes]]) -> None:
        """Makes the files of some new blobs, durably. Raises `OSError`, with some of them made."""
        paths = {self.path(blob): data for blob, data in files}
        folders = {path.parent for path in paths}
        self._have(folders)
        with ExitStack() as opened:
            _for_all(os.fdatasync, [_written(opened, path, data) for path, data in paths.items()])
        passed(Step.SYNC_AFTER)
        _for_all(fsync_folder, folders)
        passed(Step.FOLDER_AFTER)

    def holds(self, blob: Blob) -> bool:
        """Whether the blob's file is there and has its bytes, all of which are read and hashed.

        Raises an `OSError` that says nothing of the bytes, e.g. of too many open files.
        """
        path, expected = self.path(blob), Digest(blob.digest, blob.size_bytes)
        try:
            return path.stat().st_size == blob.size_bytes and measure(path) == expected
        except FileNotFoundError:
            return False
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            _log.exception("cannot read %s", path)
            return False

    def prove(self, upload_id: str, blob: Blob) -> bool:
        """Whether the bytes of a blob are all there, published or still a part; a proven part is published again."""
        expected = Digest(blob.digest, blob.size_bytes)
        if is_kept(self.path(blob), expected):
            return True
        if measure(self._part_path(upload_id)) != expected:
            return False
        self.publish(upload_id, blob)
        return True

    def drop_part(self, upload_id: str) -> None:
        """Unlinks an upload's part if there is one."""
        self._part_path(upload_id).unlink(missing_ok=True)

    def drop_parts_except(self, upload_ids: Iterable[str]) -> None:
        """Unlinks every part but those of the given uploads; what cannot be unlinked is logged, and keeps nobody."""
        kept = {self._part_path(upload_id).name for upload_id in upload_ids}
        with os.scandir(self._parts) as entries:
            strays = [entry.path for entry in entries if entry.name not in kept]
        for path in strays:
            try:
                Path(path).unlink(missing_ok=True)
            except OSError:
                _log.exception("cannot unlink %s", path)

    def unlink(self, blobs: list[Blob]) -> list[Blob]:
        """Unlinks files durably; returns those that are gone. One that resists is logged and left for a later try."""
        gone: list[Blob] = []
        for blob in blobs:
            try:
                self.path(blob).unlink(missing_ok=True)
            except OSError:
                _log.exception("cannot unlink %s", self.path(blob))
            else:
                gone.append(blob)
        _for_all(fsync_folder, {folder for folder in {self.path(blob).parent for blob in gone} if folder.exists()})
        return gone

    def _part_path(self, upload_id: str) -> Path:
        return self._parts / f"{upload_id}.part"

    def _rename(self, source: Path, target: Path) -> None:
        self._have({target.parent})
        source.rename(target)

    def _have(self, folders: Iterable[Path]) -> None:
        """Makes all folders of blobs, durably, unless these are there: with the first file, many hosts never keep one.

        All at once: an upload that takes longer must not tell which digits the blobs of others do not begin with.
        """
        if self._fanned_out and all(folder.exists() for folder in folders):
            return
        self._blobs.mkdir(parents=True, exist_ok=True)
        for folder in {self._blobs / f"{number:02x}" for number in range(256)}.difference(self._blobs.iterdir()):
            folder.mkdir(exist_ok=True)
        fsync_folder(self._blobs)
        self._fanned_out = True


def _for_all(sync: Callable[[T], None], these: Collection[T]) -> None:
    """Syncs each of these, in threads if they are many: the disk does many at once by one. Raises `OSError`."""
    if len(these) < _MANY:
        for each in these:
            sync(each)
        return
    with ThreadPoolExecutor(_SYNCING_THREADS, thread_name_prefix="artifact-sync") as threads:
        for done in [threads.submit(sync, each) for each in these]:
            done.result()


def _written(opened: ExitStack, path: Path, data: bytes) -> int:
    """A new file with these bytes; closed with the stack."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, BLOB_MODE)
    opened.callback(os.close, descriptor)
    os.fchmod(descriptor, BLOB_MODE)
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
    return descriptor


def boot_id() -> str:
    """Names this run of the machine: what is not durable may be lost between two of them."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""
