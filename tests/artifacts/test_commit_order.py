"""The order in which an upload becomes durable, by the calls that really reach the operating system and SQLite."""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from paglets.artifacts import refusals, uploads
from paglets.artifacts.steps import Step
from paglets.artifacts.store import ArtifactWrite, SmallWrite
from paglets.digest import Digest
from tests.artifacts.support import INLINE_BYTES, armed, is_empty, opened, pieces, refused, settings

pytestmark = pytest.mark.unrehearsed
INTENT, VISIBLE, COMMIT = "intent row", "artifact row", "COMMIT"
FORGET, BURY = "upload forgotten", "file forgotten"


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
        elif sql.startswith("DELETE FROM uploads WHERE upload_id ="):
            self.note(FORGET)
        elif sql.startswith("DELETE FROM tombstones"):
            self.note(BURY)

    def of_descriptor(self, name: str, real: Callable[[int], None]) -> Callable[[int], None]:
        """A system call on an open file that is noted when it has been made."""

        def call(descriptor: int) -> None:
            real(descriptor)
            self.note(name, Path(f"/proc/self/fd/{descriptor}").readlink().name)

        return call


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """Notes every sync, rename and statement from now on."""
    recorder, connect, rename, unlink = Recorder(), sqlite3.connect, os.rename, os.unlink

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

    def unlink_and_note(path: Path) -> None:
        unlink(path)
        recorder.note("unlink", Path(path).name)

    monkeypatch.setattr(sqlite3, "connect", connect_and_trace)
    monkeypatch.setattr(os, "unlink", unlink_and_note)
    monkeypatch.setattr(os, "rename", rename_and_note)
    monkeypatch.setattr(os, "fdatasync", recorder.of_descriptor("fdatasync", os.fdatasync))
    monkeypatch.setattr(os, "fsync", recorder.of_descriptor("fsync", os.fsync))
    return recorder


async def test_the_folder_of_a_store_is_durable(root: Path, recorder: Recorder) -> None:
    """Its own name is synced from above, and what is in it from within, before anything is stored."""
    async with opened(root):
        synced = [where for what, where, _ in recorder.calls if what == "fsync"]
    assert synced[0] == root.parent.name
    assert {"blobs", root.name} < set(synced)


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
            ("fsync", "blobs"),  # it is the first file of all
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


async def test_folders_of_blobs_are_made_with_the_first(root: Path, recorder: Recorder) -> None:
    """All at once, so that nobody learns from the time of an upload which digits the blobs of others begin with."""
    async with opened(root) as store:
        assert not list((root / "blobs").iterdir())
        synced = list[int]()
        for number in range(20):
            recorder.calls.clear()
            await store.create_from_chunks(ArtifactWrite(), pieces(b"%d" % number))
            synced.append([where for what, where, _ in recorder.calls if what == "fsync"].count("blobs"))
    assert synced == [1] + [0] * 19
    assert len(list((root / "blobs").iterdir())) == 256


async def test_order_of_a_small_upload(root: Path, recorder: Recorder) -> None:
    """The catalogue keeps what is small: one transaction admits it, one makes it visible, no file is touched."""
    async with opened(root, bounds=settings(inline_bytes=INLINE_BYTES)) as store:
        recorder.calls.clear()
        await store.create_from_chunks(ArtifactWrite(upload_id="u", size_bytes=5), pieces(b"bytes"))
        calls = [what for what, _, _ in recorder.calls]
    assert calls == [COMMIT, INTENT, VISIBLE, COMMIT]


async def test_order_of_a_batch(root: Path, recorder: Recorder) -> None:
    """A batch is one transaction, however many are in it, and touches no file."""
    async with opened(root) as store:
        recorder.calls.clear()
        await store.create_batch([SmallWrite(ArtifactWrite(upload_id=f"u{n}"), b"bytes%d" % n) for n in range(20)])
        calls = [what for what, _, _ in recorder.calls]
    assert calls == [VISIBLE] * 20 + [COMMIT]


async def test_order_of_a_batch_of_files(root: Path, recorder: Recorder) -> None:
    """Intents, files, their folders, then all of them visible: two transactions, however many there are."""
    async with opened(root) as store:
        recorder.calls.clear()
        writes = [ArtifactWrite(upload_id=f"u{n}", as_file=True) for n in range(20)]
        await store.create_batch([SmallWrite(write, write.upload_id.encode()) for write in writes])
        recorder.note("reply")
    calls = [what for what, _, _ in recorder.calls]
    calls = calls[: calls.index("reply")]
    folders = calls.count("fsync") - 1
    assert 1 < folders <= 20
    assert calls == [
        *([INTENT] * 20 + [COMMIT]),
        *(["fsync"] + ["fdatasync"] * 20 + ["fsync"] * folders),  # it is the first file of all, and its folder's
        *([VISIBLE] * 20 + [COMMIT]),
    ]


async def test_known_bytes_touch_no_blob(root: Path, recorder: Recorder) -> None:
    """Bytes that are here already are not published again: one row more, and the part is gone before it."""
    async with opened(root) as store:
        await store.create_from_chunks(ArtifactWrite(), pieces(b"bytes"))
        recorder.calls.clear()
        await store.create_from_chunks(ArtifactWrite(upload_id="u", size_bytes=5), pieces(b"bytes"))
        recorder.note("reply")
    names = [what for what, _, _ in recorder.calls]
    assert names[: names.index("reply")] == [COMMIT, "fdatasync", INTENT, COMMIT, "unlink", VISIBLE, COMMIT]


@pytest.mark.parametrize("inline_bytes", [0, INLINE_BYTES])
@pytest.mark.parametrize("tells", [True, False])
async def test_bytes_of_others_take_the_steps_of_unknown_ones(
    root: Path, recorder: Recorder, inline_bytes: int, *, tells: bool
) -> None:
    """Who sends what another owner has learns nothing from how long it takes: it is written, synced and named."""
    async with opened(root, bounds=settings(inline_bytes=inline_bytes)) as store:
        await store.create_from_chunks(ArtifactWrite(owner="bob"), pieces(b"bob's"))
        taken = list[list[str]]()
        for data in (b"new", b"bob's"):
            digest = Digest.of(data) if tells else None
            recorder.calls.clear()
            await store.create_from_chunks(ArtifactWrite(owner="ann", expected_digest=digest), pieces(data))
            steps = [what for what, _, _ in recorder.calls]
            taken.append(steps[: steps.index(COMMIT, steps.index(VISIBLE)) + 1])
        assert taken[0] == taken[1]


@pytest.mark.parametrize("recovered", [False, True])
async def test_a_published_file_is_forgotten_when_it_is_durably_gone(
    root: Path, tmp_path: Path, recorder: Recorder, monkeypatch: pytest.MonkeyPatch, *, recovered: bool
) -> None:
    """An upload that failed after its rename, or is found rotten by a start, leaves no file that nothing names."""

    def refuse(*_: object) -> None:
        raise refusals.disk_full("no room for a row")

    copy = tmp_path / "copy"
    async with opened(root) as store:
        with monkeypatch.context() as patched, armed(partial(_copied_at, Step.FOLDER_AFTER, root, copy)):
            patched.setattr(uploads, "commit", refuse)
            recorder.calls.clear()
            write = ArtifactWrite(upload_id="u", size_bytes=5)
            assert (await refused(store.create_from_chunks(write, pieces(b"bytes")))).reason == "DISK_FULL"
    blob = f"{Digest.of(b'bytes').hex}.1"
    if recovered:
        path = copy / "blobs" / blob[:2] / blob
        path.chmod(0o600)
        path.write_bytes(b"wrong")
        recorder.calls.clear()
        async with opened(copy):
            pass
        assert is_empty(copy)
    steps = [(what, where) for what, where, _ in recorder.calls]
    steps = [step for step in steps[steps.index((FORGET, "")) :] if step[0] != COMMIT]
    assert steps[:4] == [(FORGET, ""), ("unlink", blob), ("fsync", blob[:2]), (BURY, "")]
    assert is_empty(root)


def _copied_at(step: Step, root: Path, copy: Path, name: str) -> None:
    if name == step:
        shutil.copytree(root, copy)


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
    assert seen[2][1].endswith("(deleted)")  # it has no name yet
    assert seen[3:] == [("fsync", "folder")]
