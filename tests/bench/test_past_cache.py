"""Files of the reference written from one end to the other, past the page cache and through it."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from paglets.bench.past_cache import DIRECT_BYTES, PastCache
from tests.artifacts.appended import assert_there_at_once

KIB = 1024
SIZES = st.sampled_from(
    [1, 4095, 4096, DIRECT_BYTES - 1, DIRECT_BYTES, DIRECT_BYTES + 1, 2048 * KIB, 2048 * KIB + 4097]
)


@contextmanager
def written(path: Path) -> Generator[PastCache]:
    """The end of a new file."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    file = PastCache(descriptor)
    try:
        yield file
    finally:
        file.close()
        file.close()
        os.close(descriptor)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sizes=st.lists(SIZES, max_size=6))
def test_every_byte_is_there_at_once(tmp_path: Path, sizes: list[int]) -> None:
    """After each piece, of whatever size, the file holds all that was given."""
    with written(tmp_path / "file") as file:
        assert_there_at_once(file, tmp_path / "file", sizes)


class Disk:
    """Notes each write: whether it went past the page cache, and how many bytes it had. May refuse, or bite off."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, refused: int = 0, bite: int | None = None) -> None:
        self.writes: list[tuple[bool, int]] = []
        self._refused = refused
        self._bite = bite
        self._pwrite = os.pwrite
        monkeypatch.setattr(os, "pwrite", self._write)

    def _write(self, descriptor: int, data: memoryview, offset: int) -> int:
        direct = bool(fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT)
        self.writes.append((direct, len(data)))
        if direct and self._refused:
            raise OSError(self._refused, os.strerror(self._refused))
        return self._pwrite(descriptor, data[: self._bite] if direct else data, offset)


def test_large_pieces_go_past_the_page_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole blocks of large pieces do; what is small, before the first block or after the last does not."""
    disk = Disk(monkeypatch)
    with written(tmp_path / "file") as file:
        file.append(bytes(2048 * KIB))
        file.append(b"odd")
        file.append(bytes(DIRECT_BYTES))
    assert disk.writes == [(True, 2048 * KIB), (False, 3), (False, 4093), (True, DIRECT_BYTES - 4096), (False, 3)]


def test_a_file_system_that_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where blocks may not go past the page cache they go through it, and are not offered again."""
    disk, data = Disk(monkeypatch, refused=errno.EINVAL), os.urandom(DIRECT_BYTES)
    with written(tmp_path / "file") as file:
        file.append(data)
        file.append(data)
    assert (tmp_path / "file").read_bytes() == data * 2
    assert disk.writes == [(True, DIRECT_BYTES), (False, DIRECT_BYTES), (False, DIRECT_BYTES)]


def test_a_file_system_without_the_flag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some refuse the flag itself."""
    fcntl_, data = fcntl.fcntl, os.urandom(DIRECT_BYTES)

    def refuse(descriptor: int, command: int, flags: int = 0) -> int:
        if command == fcntl.F_SETFL and flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, "no such flag")
        return fcntl_(descriptor, command, flags)

    monkeypatch.setattr(fcntl, "fcntl", refuse)
    with written(tmp_path / "file") as file:
        file.append(data)
        file.append(data)
    assert (tmp_path / "file").read_bytes() == data * 2


def test_a_short_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the disk did not take at once is written after it."""
    Disk(monkeypatch, bite=8192)
    data = os.urandom(2048 * KIB)
    with written(tmp_path / "file") as file:
        file.append(data)
    assert (tmp_path / "file").read_bytes() == data


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_an_error_of_the_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """No error is taken for a refusal."""
    Disk(monkeypatch, refused=number)
    with written(tmp_path / "file") as file, pytest.raises(OSError, match=os.strerror(number)):
        file.append(bytes(DIRECT_BYTES))
