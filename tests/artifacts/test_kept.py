"""A file that is taken for what was to be written is that, byte for byte, and on the disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from paglets.artifacts.kept import is_kept
from paglets.digest import Digest

_DATA = bytes(range(256)) * 5000


def test_file_is_made_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its bytes and its name are synced before it counts; no other file is touched."""
    synced = list[str]()
    for call in ("fdatasync", "fsync"):
        real = getattr(os, call)

        def note(descriptor: int, real: object = real) -> None:
            synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
            assert callable(real)
            real(descriptor)

        monkeypatch.setattr(os, call, note)
    path = tmp_path / "file"
    path.write_bytes(_DATA)
    assert not is_kept(path, Digest.of(_DATA[:-1]))
    assert not is_kept(path, Digest.of(bytes(len(_DATA))))
    assert synced == []
    assert is_kept(path, Digest.of(_DATA))
    assert synced == ["file", tmp_path.name]


def test_what_is_no_plain_file_is_none(tmp_path: Path) -> None:
    """A folder, a pipe and nothing at all are no such file, and nobody waits at a pipe."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "absent"):
        assert not is_kept(path, Digest.of(b""))
