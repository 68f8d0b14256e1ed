"""Files that are being received."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from paglets.artifacts.appending import STEP_BYTES
from paglets.artifacts.part import Part
from paglets.digest import Digest, Hasher

LARGE_BYTES = 256 * 1024
PIECES = (os.urandom(LARGE_BYTES * 3), b"small", os.urandom(LARGE_BYTES + 1))


def test_append(tmp_path: Path) -> None:
    """Bytes are in the file and in the digest as soon as they are accepted."""
    part, data = Part.create(tmp_path / "p"), b""
    for piece in PIECES:
        part.append(memoryview(piece))
        data += piece
        assert (tmp_path / "p").read_bytes() == data
        assert (part.size_bytes, part.digest()) == (len(data), Digest.of(data))
    part.sync()
    assert (tmp_path / "p").stat().st_mode & 0o777 == 0o444
    part.close()
    part.close()
    with pytest.raises(FileExistsError):
        Part.create(tmp_path / "p")


@pytest.mark.parametrize("synced", [False, True])
def test_reopen(tmp_path: Path, *, synced: bool) -> None:
    """What somebody left is gone on with, whether it was made durable or not, and cut to what was hashed."""
    first = Part.create(tmp_path / "p")
    first.append(PIECES[0])
    first.append(PIECES[1])
    if synced:
        first.sync()
    first.close()
    (tmp_path / "p").chmod(0o600)
    with (tmp_path / "p").open("ab") as file:
        file.write(b"half a piece")
    if synced:
        (tmp_path / "p").chmod(0o444)
    part = Part.reopen(tmp_path / "p", first.hasher)
    assert (part.size_bytes, part.digest()) == (len(PIECES[0]) + 5, Digest.of(PIECES[0] + PIECES[1]))
    part.append(PIECES[2])
    assert part.digest() == Digest.of(b"".join(PIECES))
    part.close()
    assert (tmp_path / "p").read_bytes() == b"".join(PIECES)


def test_nothing_to_reopen(tmp_path: Path) -> None:
    """A part that is not there begins anew."""
    part = Part.reopen(tmp_path / "p", Hasher())
    part.append(b"new")
    assert part.keep(3) == 3
    part.close()
    assert (tmp_path / "p").read_bytes() == b"new"


def test_nobody_waits_for_what_is_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was made durable behind the writer is not synced again; more than that is."""
    part = Part.create(tmp_path / "p")
    part.append(bytes(STEP_BYTES))
    part.settle()
    syncs: list[int] = []
    monkeypatch.setattr(os, "fdatasync", syncs.append)
    part.append(b"more")
    assert (part.keep(STEP_BYTES), len(syncs)) == (STEP_BYTES, 0)
    assert (part.keep(STEP_BYTES + 1), len(syncs)) == (STEP_BYTES + 4, 1)
    part.close()


def test_what_somebody_left_is_not_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever left it may have been killed before any sync: to keep it takes one."""
    first = Part.create(tmp_path / "p")
    first.append(b"left")
    first.close()
    part = Part.reopen(tmp_path / "p", first.hasher)
    syncs: list[int] = []
    monkeypatch.setattr(os, "fdatasync", syncs.append)
    assert (part.keep(4), len(syncs)) == (4, 1)
    part.close()


@pytest.mark.parametrize("call", ["pwrite", "fdatasync"])
def test_an_error_is_final(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """What failed once is not tried again, and whatever is asked afterwards fails as well."""
    part, calls = Part.create(tmp_path / "p"), 0
    part.append(b"before")

    def fail(*_arguments: object) -> int:
        nonlocal calls
        calls += 1
        raise OSError(errno.EIO, "no such luck")

    with monkeypatch.context() as patched:
        patched.setattr(os, call, fail)
        with pytest.raises(OSError, match="no such luck"):
            part.append(PIECES[0]) if call == "pwrite" else part.sync()
    for ask in (part.sync, lambda: part.append(b"more")):
        with pytest.raises(OSError, match="no such luck"):
            ask()
    assert calls == 1
    part.close()
