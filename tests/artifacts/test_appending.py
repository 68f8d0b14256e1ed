"""Files written from one end to the other, and to the disk all the while."""

from __future__ import annotations

import errno
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from paglets.artifacts import appending
from paglets.artifacts.appending import STEP_BYTES, Appending, sync_range
from tests.artifacts.appended import assert_there_at_once

MIB = 1024 * 1024
BEHIND_BYTES = 8 * MIB
BEGIN, WAIT = 2, 7  # of sync_file_range: SYNC_FILE_RANGE_WRITE alone, and with waiting before and after it
SIZES = st.sampled_from([1, 4095, 4096, STEP_BYTES - 1, STEP_BYTES, STEP_BYTES + 1, 5 * MIB + 4097])


@contextmanager
def opened(path: Path) -> Generator[Appending]:
    """The end of a new file."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        yield Appending(descriptor)
    finally:
        os.close(descriptor)


class Ranges:
    """Notes what of a file the disk is told to write, or answers with an error, and what the cache is to forget."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, error: int = 0) -> None:
        self.asked: list[tuple[int, int, int]] = []
        self.forgotten: list[tuple[int, int]] = []
        self._error = error
        self._forget = os.posix_fadvise
        monkeypatch.setattr(appending, "sync_range", self._sync)
        monkeypatch.setattr(os, "posix_fadvise", self._advise)

    def _sync(self, _descriptor: int, start: int, size: int, how: int) -> int:
        self.asked.append((start, size, how))
        return self._error

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
    """It is told to begin with each step; what is eight steps old is waited for, and then forgotten by the cache."""
    ranges = Ranges(monkeypatch)
    with opened(tmp_path / "file") as file:
        file.append(bytes(STEP_BYTES - 1))
        assert ranges.asked == []
        file.append(b"x")
        assert ranges.asked == [(0, STEP_BYTES, BEGIN)]
        for _ in range(7):
            file.append(bytes(STEP_BYTES))
        assert [how for _, _, how in ranges.asked] == [BEGIN] * 8
        file.append(bytes(2 * STEP_BYTES))
    assert ranges.asked[8:] == [(BEHIND_BYTES, 2 * STEP_BYTES, BEGIN), (0, 2 * STEP_BYTES, WAIT)]
    assert ranges.forgotten == [(0, 2 * STEP_BYTES)]


def test_the_system_is_asked_rightly(tmp_path: Path) -> None:
    """The system's own call takes a descriptor, where to begin and how much, both of 64 bits, and what to do."""
    with (tmp_path / "file").open("wb") as file:
        assert sync_range(file.fileno(), 2**40, MIB, BEGIN) == 0
        assert sync_range(file.fileno(), 0, MIB, WAIT) == 0
        assert sync_range(file.fileno(), 0, MIB, 8) == errno.EINVAL
        assert sync_range(file.fileno(), -(2**40), MIB, BEGIN) == errno.EINVAL
    assert sync_range(-1, 0, MIB, BEGIN) == errno.EBADF


@pytest.mark.parametrize("error", [errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ESPIPE])
def test_a_system_without_ranges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int) -> None:
    """Where the disk cannot be told, the file is written as ever, and nothing is forgotten that may not be written."""
    ranges, data = Ranges(monkeypatch, error=error), os.urandom(2 * BEHIND_BYTES)
    with opened(tmp_path / "file") as file:
        file.append(data)
    assert (tmp_path / "file").read_bytes() == data
    assert (len(ranges.asked), ranges.forgotten) == (1, [])


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
def test_an_error_of_the_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int) -> None:
    """What the disk could not write of earlier pieces is told by a later one: no sync tells it again.

    A full disk is told as another failure is: unlike one that takes no more, it has lost what it had taken.
    """
    Ranges(monkeypatch, error=error)
    with opened(tmp_path / "file") as file, pytest.raises(OSError, match=os.strerror(error)) as raised:
        file.append(bytes(STEP_BYTES))
    assert raised.value.errno == errno.EIO
