"""What is remembered of a put until it has ended well, so that the same command goes on with it.

One small file a put, `uploads/KEY.ID.json` among the user's state: the key is made of the command, the id is random,
and the ids of all its uploads are made of that id and of what identifies each file. So what is stored is not stored
again, what was cut is gone on with, and a file that was changed is begun anew. Whoever uses a record holds its lock:
two puts of the same things at once have two records. This file must never know how bytes are sent.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from paglets.cli.artifact_sources import SourceFile
from paglets.cli.output import note
from paglets.digest import Digest
from paglets.values import new_id

__all__ = ["PutRecord", "put_record"]

_KEPT_S = 7 * 24 * 3600.0  # longer than hosts keep partials: what they have dropped is begun anew
_ID_DIGITS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class PutRecord:
    """One put. `path` is None if nothing is remembered of it; `given_up` are the ids of puts whose place it takes.

    Its lock is held until the context of `put_record` is left, or this process ends in any way.
    """

    put_id: str
    path: Path | None
    given_up: tuple[str, ...] = ()

    def upload_id(self, file: SourceFile) -> str:
        """The id of a file's upload: the same as long as the file is; empty if nobody would remember it."""
        return "" if self.path is None else _upload_id(self.put_id, file)

    def given_up_ids(self, file: SourceFile) -> list[str]:
        """The ids that the file's upload had in the puts that were given up."""
        return [_upload_id(put_id, file) for put_id in self.given_up]

    def forget(self) -> None:
        """Removes it: there is nothing to go on with. Safe to repeat."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


@contextmanager
def put_record(command: Sequence[object], *, resume: bool) -> Generator[PutRecord]:
    """The record of a put that was interrupted, or else a new one; without `resume` always a new one.

    `command` is all that makes two puts the same: plain values. Where the user's state cannot be written, he is told,
    and the put is one that cannot be gone on with.
    """
    folder = platformdirs.user_state_path("paglets") / "uploads"
    key = Digest.of(json.dumps(command).encode()).hex[:_ID_DIGITS]
    held = list[int]()
    try:
        try:
            record, given_up = _taken(folder, key, held, resume=resume)
            record = record or _made(folder, key, command, given_up, held)
        except OSError as error:
            note(f"this put cannot be gone on with if it is interrupted: {error}")
            record = PutRecord(put_id=new_id(), path=None)
        yield record
    finally:
        for descriptor in held:
            os.close(descriptor)


def _upload_id(put_id: str, file: SourceFile) -> str:
    return Digest.of(json.dumps([put_id, *file.identity]).encode()).hex[:_ID_DIGITS]


def _taken(folder: Path, key: str, held: list[int], *, resume: bool) -> tuple[PutRecord | None, tuple[str, ...]]:
    """Goes through the records that nobody holds: takes one with this key or drops those, and drops all old ones."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    given_up = list[str]()
    for path in sorted(folder.glob("*.json")):
        is_ours = path.name.startswith(f"{key}.")
        age_s = _age_s(path)
        if (not is_ours and age_s < _KEPT_S) or (descriptor := _locked(path, os.O_RDWR)) is None:
            continue
        held.append(descriptor)
        put_id = path.name.split(".")[1]
        if is_ours and resume and age_s < _KEPT_S:
            os.utime(descriptor)
            return PutRecord(put_id=put_id, path=path), ()
        path.unlink()
        if is_ours:
            given_up.append(put_id)
    return None, tuple(given_up)


def _made(folder: Path, key: str, command: Sequence[object], given_up: tuple[str, ...], held: list[int]) -> PutRecord:
    """A new record, which nobody sees before it is locked. What is in it is for people."""
    put_id = new_id()
    hidden, path = folder / f".{put_id}", folder / f"{key}.{put_id}.json"
    descriptor = _locked(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    if descriptor is None:
        raise BlockingIOError(f"{hidden} is locked by another process")
    held.append(descriptor)
    os.write(descriptor, json.dumps({"put_id": put_id, "command": command}).encode())
    hidden.rename(path)
    return PutRecord(put_id=put_id, path=path, given_up=given_up)


def _locked(path: Path, flags: int) -> int | None:
    """A descriptor that holds the file's lock; None if somebody else does, or it is gone."""
    try:
        descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        return None
    with suppress(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_nlink:
            return descriptor
    os.close(descriptor)
    return None


def _age_s(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
