"""Files written from one end to the other, and to the disk all the while."""

from __future__ import annotations

import errno
import os
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from paglets.artifacts.appending import STEP_BYTES, Appending
from tests.artifacts.appended import assert_there_at_once
from tests.artifacts.support import PATIENCE_S
from tests.cli.running import until

MIB = 1024 * 1024
SIZES = st.sampled_from([1, 4095, 4096, 5 * MIB + 4097, STEP_BYTES - 1, STEP_BYTES, STEP_BYTES + 1])


@contextmanager
def opened(path: Path) -> Generator[Appending]:
    """The end of a new file."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        file = Appending(descriptor)
        yield file
        file.close()
    finally:
        os.close(descriptor)


class Disk:
    """Answers syncs when it is let, and notes what of a file the page cache is to forget."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, error: int = 0) -> None:
        self.syncs = self.ended = 0
        self.forgotten: list[tuple[int, int]] = []
        self.begun, self.ready = Event(), Event()
        self._error = error
        self._forget = os.posix_fadvise
        monkeypatch.setattr(os, "fdatasync", self._sync)
        monkeypatch.setattr(os, "posix_fadvise", self._advise)

    def _sync(self, _descriptor: int) -> None:
        self.syncs += 1
        self.begun.set()
        assert self.ready.wait(PATIENCE_S)
        self.ended += 1
        if self._error:
            raise OSError(self._error, os.strerror(self._error))

    def _advise(self, descriptor: int, start: int, size: int, advice: int) -> None:
        assert advice == os.POSIX_FADV_DONTNEED
        self.forgotten.append((start, size))
        self._forget(descriptor, start, size, advice)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sizes=st.lists(SIZES, max_size=6))
def test_every_byte_is_there_at_once(tmp_path: Path, sizes: list[int]) -> None:
    """After each piece, of whatever size, the file holds all that was given."""
    with opened(tmp_path / "file") as file:
        assert_there_at_once(file, tmp_path / "file", sizes)


def test_a_short_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the system did not take at once is written after it."""
    pwrite, data = os.pwrite, os.urandom(2 * MIB)

    def bite(descriptor: int, piece: memoryview, offset: int) -> int:
        return pwrite(descriptor, piece[:8191], offset)

    monkeypatch.setattr(os, "pwrite", bite)
    with opened(tmp_path / "file") as file:
        file.append(data)
    assert (tmp_path / "file").read_bytes() == data


def test_the_disk_writes_all_the_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step is made durable behind the writer, one sync at a time; what is durable the cache forgets."""
    disk = Disk(monkeypatch)
    with opened(tmp_path / "file") as file:
        file.append(bytes(STEP_BYTES - 1))
        assert disk.syncs == 0
        file.append(b"x")
        assert disk.begun.wait(PATIENCE_S)
        file.append(bytes(2 * STEP_BYTES))
        assert (disk.syncs, file.durable_bytes, disk.forgotten) == (1, 0, [])
        disk.ready.set()
        file.settle()
        assert (file.durable_bytes, disk.forgotten) == (STEP_BYTES, [(0, STEP_BYTES)])
        file.append(b"x")
        file.settle()
        assert (disk.syncs, file.durable_bytes) == (2, 3 * STEP_BYTES + 1)
        assert disk.forgotten[1:] == [(STEP_BYTES, 2 * STEP_BYTES + 1)]


def test_a_writer_waits_for_a_slow_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four steps, 64 MiB, may be in the page cache alone, and then the next piece has to wait."""
    disk = Disk(monkeypatch)
    with opened(tmp_path / "file") as file, ThreadPoolExecutor(1) as writer:
        file.append(bytes(STEP_BYTES))
        file.append(bytes(3 * STEP_BYTES - 1))
        last = writer.submit(file.append, b"x")
        until(lambda: file.size_bytes == 4 * STEP_BYTES, "the last piece is in the file")
        assert not last.done()
        disk.ready.set()
        last.result(PATIENCE_S)
        assert file.durable_bytes == STEP_BYTES


def test_a_sync_of_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for the one that is under way, and makes the rest durable."""
    disk = Disk(monkeypatch)
    disk.ready.set()
    with opened(tmp_path / "file") as file:
        file.append(bytes(STEP_BYTES))
        file.append(b"x")
        file.sync()
        assert (disk.syncs, file.durable_bytes) == (2, STEP_BYTES + 1)


@pytest.mark.parametrize("error", [0, errno.EIO])
def test_closing_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int) -> None:
    """No sync is under way any more once it is closed, however that went: the descriptor may be another file's soon."""
    disk = Disk(monkeypatch, error=error)
    with opened(tmp_path / "file") as file, ThreadPoolExecutor(1) as closer:
        file.append(bytes(STEP_BYTES))
        assert disk.begun.wait(PATIENCE_S)
        closing = closer.submit(file.close)
        until(lambda: closing.running() or closing.done(), "it is being closed")
        assert not closing.done()
        disk.ready.set()
        closing.result(PATIENCE_S)
        assert disk.ended == 1


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
def test_an_error_of_the_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int) -> None:
    """What the disk could not write of earlier pieces is told by all that follows: no other sync tells it again.

    A full disk is told as another failure is: unlike one that takes no more, it has lost what it had taken.
    """
    disk = Disk(monkeypatch, error=error)
    with opened(tmp_path / "file") as file:
        file.append(bytes(STEP_BYTES))
        disk.ready.set()
        for step in (file.settle, file.sync, lambda: file.append(bytes(STEP_BYTES))):
            with pytest.raises(OSError, match=os.strerror(error)) as raised:
                step()
            assert raised.value.errno == errno.EIO
        assert (disk.syncs, file.durable_bytes, disk.forgotten) == (1, 0, [])
