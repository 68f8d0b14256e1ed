"""The order in which an upload becomes durable, by the calls that really reach the operating system and SQLite."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from paglets.artifacts.store import ArtifactWrite
from tests.artifacts.support import opened, pieces

INTENT, VISIBLE, COMMIT = "intent row", "artifact row", "COMMIT"


class Recorder:
    """What reached the disk, in order: (what, which file or folder, in which thread)."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, str]] = []

    def note(self, what: str, where: str = "") -> None:
        """Adds a call."""
        self.calls.append((what, where, threading.current_thread().name))

    def statement(self, sql: str) -> None:
        """Adds a statement that matters."""
        if sql == COMMIT:
            self.note(COMMIT)
        elif sql.startswith("UPDATE uploads SET state = 'intent'"):
            self.note(INTENT)
        elif sql.startswith("INSERT INTO artifacts"):
            self.note(VISIBLE)

    def of_descriptor(self, name: str, real: Callable[[int], None]) -> Callable[[int], None]:
        """A system call on an open file that is noted when it has been made."""

        def call(descriptor: int) -> None:
            real(descriptor)
            self.note(name, Path(f"/proc/self/fd/{descriptor}").readlink().name)

        return call


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """Notes every sync, rename and statement from now on."""
    recorder, connect, rename = Recorder(), sqlite3.connect, os.rename

    def connect_and_trace(
        path: Path, *, isolation_level: None, check_same_thread: bool, timeout: float
    ) -> sqlite3.Connection:
        connection = connect(
            path, isolation_level=isolation_level, check_same_thread=check_same_thread, timeout=timeout
        )
        connection.set_trace_callback(recorder.statement)
        return connection

    def rename_and_note(source: Path, target: Path) -> None:
        rename(source, target)
        recorder.note("rename", f"{Path(source).name} -> {Path(target).name}")

    monkeypatch.setattr(sqlite3, "connect", connect_and_trace)
    monkeypatch.setattr(os, "rename", rename_and_note)
    monkeypatch.setattr(os, "fdatasync", recorder.of_descriptor("fdatasync", os.fdatasync))
    monkeypatch.setattr(os, "fsync", recorder.of_descriptor("fsync", os.fsync))
    return recorder


async def test_order(root: Path, recorder: Recorder) -> None:
    """Part durable, intent durable, renamed, folder durable, row durable, and only then the answer."""
    async with opened(root) as store:
        recorder.calls.clear()
        result = await store.create_from_chunks(ArtifactWrite(upload_id="u", size_bytes=5), pieces(b"bytes"))
        recorder.note("reply")
        blob = f"{result.ref.digest.hex}.1"
    calls = recorder.calls[: recorder.calls.index(next(call for call in recorder.calls if call[0] == "reply")) + 1]
    assert (
        [(what, where) for what, where, _ in calls]
        == [
            (COMMIT, ""),  # the upload's row and reservation
            ("fdatasync", "u.part"),
            (INTENT, ""),
            (COMMIT, ""),
            ("rename", f"u.part -> {blob}"),
            ("fsync", blob[:2]),
            (VISIBLE, ""),
            (COMMIT, ""),
            ("reply", ""),
        ]
    )
    writers = {thread for what, _, thread in calls if what in {COMMIT, INTENT, VISIBLE}}
    syncers = {thread for what, _, thread in calls if what in {"fdatasync", "fsync", "rename"}}
    assert not writers & syncers, "nothing is synced by the thread that holds the database"
    assert threading.main_thread().name not in writers | syncers


async def test_known_bytes_touch_no_blob(root: Path, recorder: Recorder) -> None:
    """Bytes that are here already are not published again: one row more, and the part is gone before it."""
    async with opened(root) as store:
        await store.create_from_chunks(ArtifactWrite(), pieces(b"bytes"))
        recorder.calls.clear()
        await store.create_from_chunks(ArtifactWrite(upload_id="u", size_bytes=5), pieces(b"bytes"))
        recorder.note("reply")
    names = [what for what, _, _ in recorder.calls]
    assert names[: names.index("reply")] == [COMMIT, "fdatasync", INTENT, COMMIT, VISIBLE, COMMIT]


async def test_export_is_durable_under_its_name(root: Path, recorder: Recorder, tmp_path: Path) -> None:
    """The file is synced, named, and its folder synced before the export is done; new folders as well."""
    target = tmp_path / "new" / "folder" / "file"
    async with opened(root) as store:
        result = await store.create_from_chunks(ArtifactWrite(), pieces(b"bytes"))
        recorder.calls.clear()
        await store.export_to_path(result.ref.artifact_id, target)
        seen = [(what, where) for what, where, _ in recorder.calls]
    assert seen[:2] == [("fsync", tmp_path.name), ("fsync", "new")]
    assert seen[2][0] == "fsync"
    assert seen[2][1].startswith(".file.")
    assert seen[3:] == [("fsync", "folder")]
