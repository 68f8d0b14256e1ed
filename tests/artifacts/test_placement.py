"""Files on their way out of a store: what others see of them, and what a killed process leaves."""

from __future__ import annotations

import errno
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from paglets.artifacts.placement import PrivateFile
from tests.artifacts.support import names_in


@pytest.fixture(params=["nameless", "hidden"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The file system has files without names, or it has not."""
    way: str = request.param
    if way == "hidden":
        real = os.open

        def refuse(path: Path, flags: int, mode: int = 0o777) -> int:
            if flags & os.O_TMPFILE == os.O_TMPFILE:
                raise OSError(errno.EOPNOTSUPP, "no such files here")
            return real(path, flags, mode)

        monkeypatch.setattr(os, "open", refuse)
    return way


@contextmanager
def begun(target: Path, *, overwrite: bool) -> Generator[PrivateFile]:
    """A file with bytes, which is discarded in the end."""
    file = PrivateFile(target, overwrite=overwrite)
    try:
        file.open()
        file.append(b"new")
        yield file
    finally:
        file.discard()


@pytest.mark.parametrize("overwrite", [True, False])
@pytest.mark.parametrize("old", [None, b"old"])
def test_named_in_one_step(tmp_path: Path, way: str, old: bytes | None, *, overwrite: bool) -> None:
    """Until it is placed nobody sees it by a plain name; then it is there, alone, as any new file."""
    target = tmp_path / "file"
    with begun(target, overwrite=overwrite) as file:
        seen = names_in(tmp_path)
        assert all(name.startswith(".file.") for name in seen)
        assert len(seen) == (way == "hidden")
        assert file.path.read_bytes() == b"new"
        if old is not None and overwrite:
            target.write_bytes(old)
        file.place()
    assert names_in(tmp_path) == {"file"}
    assert target.read_bytes() == b"new"
    (tmp_path / "plain").touch()
    assert target.stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.usefixtures("way")
def test_discarded(tmp_path: Path) -> None:
    """What is not placed leaves nothing."""
    with begun(tmp_path / "file", overwrite=True):
        pass
    assert names_in(tmp_path) == set()


def test_relative(tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path is what it is to the process."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    for target in (Path("file"), Path("folder/file")):
        for _ in range(2):
            with begun(target, overwrite=True) as file:
                file.place()
    assert names_in(tmp_path) == {"file", "folder"}
    assert names_in(tmp_path / "folder") == {"file"}
    assert way
